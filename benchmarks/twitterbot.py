"""How many mentions one process of the bot handles a minute, and how many requests to X each takes.

    python -m benchmarks.twitterbot [--mentions 200]

X is the one of the tests, in a process of its own, and answers at once. Handled is everything that the bot does:
reading, finding the media, accounts, accepting the examination, publishing the card, writing and sending reply and
message, on SQLite as it is set up by default. Not counted is the examination, which is the worker's. Beside it, in the
same run: the same requests by tweepy alone, without an account, a row or a crash in mind.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.site_process import prepare_data
from tests.twitterbot.fake_x import KEYS, fake_x


def serve(mentions: int, commands: Any, results: Any) -> None:
    """X. Each command is answered by the requests since the one before, counted by route."""
    with fake_x() as x:
        for number in range(mentions):
            x.mention(by=f"user{number}", text="@poster @sentinelcheck is this real?", replies_to=x.video_post())
        results.put((x.url, [post for post in x.posts if "is this real" in x.posts[post]["text"]]))
        while commands.get():
            results.put(dict(Counter(route for route, _query in x.requests)))
            x.requests.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mentions", type=int, default=200)
    number = parser.parse_args().mentions
    start = multiprocessing.get_context("spawn")
    commands, results = start.Queue(), start.Queue()
    x = start.Process(target=serve, args=(number, commands, results), daemon=True)
    x.start()
    url, tags = results.get()
    with tempfile.TemporaryDirectory() as folder:
        prepare_data(Path(folder))
        os.environ |= {
            **KEYS,
            "SENTINEL_DATA_DIR": folder,
            "DJANGO_SETTINGS_MODULE": "sentinel_site.settings",
            "SENTINEL_URL": "https://sentinel.example.org",
            "TWITTER_API_URL": url,
            "TWITTER_HOURLY_ANSWERS": "0",
        }
        taken, answered = run_bot()
        commands.put(True)
        asked = results.get()
        alone = run_tweepy(url, tags, pages=asked["mentions"])
        commands.put(True)
        results.get()
        commands.put(None)
    x.join()
    seconds = taken + answered
    calls = sum(asked.values())
    print(f"{number} mentions: {taken:.1f} s to accept them, {answered:.1f} s to answer them")
    print(f"{60 * number / seconds:.0f} mentions a minute; requests: {asked}, {calls / number:.2f} a mention")
    print(f"the same requests by tweepy alone: {alone:.1f} s; the bot takes {seconds / alone:.2f} times as long")


def run_bot() -> tuple[float, float]:
    """Seconds to accept all mentions, and to answer them once they are examined."""
    import django

    django.setup()
    from tests.twitterbot.conftest import finish_all
    from twitterbot.bot import Bot, make_client
    from twitterbot.models import Reply

    bot = Bot(make_client())
    begin = time.perf_counter()
    assert bot.round()
    taken = time.perf_counter() - begin
    finish_all()
    begin = time.perf_counter()
    # What is answered in a round is sent in it; the mentions are read again only after a minute.
    assert bot.round()
    answered = time.perf_counter() - begin
    assert not Reply.objects.exclude(status=Reply.Status.SENT).exists()
    return taken, answered


def run_tweepy(url: str, tags: list[int], *, pages: int) -> float:
    """Seconds that as many requests take."""
    from tests.twitterbot.fake_x import BOT
    from twitterbot.client import Keys, XClient

    client = XClient(
        Keys(
            KEYS["TWITTER_API_KEY"],
            KEYS["TWITTER_API_SECRET"],
            KEYS["TWITTER_ACCESS_TOKEN"],
            KEYS["TWITTER_ACCESS_TOKEN_SECRET"],
        ),
        host=url,
    )
    begin = time.perf_counter()
    token = ""
    for _ in range(pages):
        token = client.mentions(BOT, token=token).next_token
    for index, tag in enumerate(tags):
        client.reply(f"Signs of manipulation found. Number {index}.", to=tag)
        client.direct_message(f"Signs of manipulation found. Number {index}.", to=1001 + index)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
