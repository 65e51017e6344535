"""kill -9 at each step of the real command, then a new start: one reply and one message for each mention, never two."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.site_process import ROOT, SiteProcess, wait_until
from tests.twitterbot.conftest import SITE
from tests.twitterbot.fake_x import KEYS, FakeX, fake_x

pytestmark = pytest.mark.slow

# In the order in which the bot comes to them: see killed_bot. Up to here nothing is examined yet.
INTAKE = [
    "twitterbot.services.add_mention:after:2",
    "twitterbot.services.take_in_mentions:after:1",
    "twitterbot.people._made_for:after:1",
    "media_analysis.links.submit_link:after:2",
]
# The last of each while X has carried the request out and not answered yet.
ANSWERS = [
    "media_analysis.cards.publish:after:1",
    "twitterbot.services._write:after:1",
    "twitterbot.services._close:before:1",
    "twitterbot.outbox.claim_due:after:1",
    "twitterbot.client.XClient.reply:before:1",
    "twitterbot.client.XClient.reply:after:1",
    "reply",
    "twitterbot.outbox._finish:after:1",
    "twitterbot.client.XClient.direct_message:before:1",
    "twitterbot.client.XClient.direct_message:after:1",
    "dm",
]
PEOPLE = 12


class BotProcess:
    """The command with a data folder of its own."""

    def __init__(self, data: Path, x: FakeX) -> None:
        self.data = data
        self.environment = {
            **os.environ,
            **KEYS,
            "SENTINEL_DATA_DIR": str(data),
            "DJANGO_SETTINGS_MODULE": "sentinel_site.settings",
            "SENTINEL_URL": SITE,
            "TWITTER_API_URL": x.url,
            "TWITTER_POLL_SECONDS": "0.5",
            "TWITTER_TIMEOUT_SECONDS": "1",
            "TWITTER_RETRY_SECONDS": "0.1",
            "TWITTER_DOUBT_SECONDS": "0",
        }

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.twitterbot.killed_bot", *arguments]
        with (self.data / "bot.log").open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)

    def run(self, *arguments: str) -> int:
        return self.start(*arguments).wait(timeout=120)

    def log(self) -> str:
        return (self.data / "bot.log").read_text()

    def rows(self, query: str) -> list[tuple[str, int]]:
        with closing(sqlite3.connect(self.data / "sentinel.sqlite3", timeout=20)) as database:
            return list(database.execute(query))


@pytest.fixture
def x() -> Iterator[FakeX]:
    with fake_x() as running:
        yield running


@pytest.fixture
def bot(prepared: Path, tmp_path: Path, x: FakeX) -> BotProcess:
    data = tmp_path / "data"
    shutil.copytree(prepared, data)
    return BotProcess(data, x)


def kill_while_on_x(bot: BotProcess, x: FakeX, route: str) -> int:
    """Start the bot and kill it when X has done what it asked but not said so."""
    processes: list[subprocess.Popen[bytes]] = []

    def kill(asked: str) -> None:
        if asked == route:
            processes[0].kill()
            processes[0].wait()
            x.on_answer = lambda route: None

    x.on_answer = kill
    processes.append(bot.start("--once"))
    return processes[0].wait(timeout=120)


def test_a_kill_at_each_step_gives_each_mention_one_reply_and_one_message(bot: BotProcess, x: FakeX) -> None:
    tags = [x.mention(by=f"user{number}", media=[x.add_video()]) for number in range(PEOPLE)]
    for point in INTAKE:
        assert bot.run(point, "--once") == -signal.SIGKILL, f"{point} was not reached:\n{bot.log()}"
    # What is left is taken in, but nothing is examined.
    assert bot.run("--once") == 0, bot.log()
    for point in ANSWERS:
        ended = bot.run("--worker", point, "--once") if "." in point else kill_while_on_x(bot, x, point)
        assert ended == -signal.SIGKILL, f"{point} was not reached:\n{bot.log()}"
    process = bot.start()
    try:
        open_rows = "SELECT status, count(*) FROM twitterbot_reply WHERE status != 'sent' GROUP BY status"
        done = "SELECT kind, count(*) FROM twitterbot_reply WHERE status = 'sent' GROUP BY kind"
        wait_until(
            lambda: dict(bot.rows(done)) == {"reply": PEOPLE, "direct": PEOPLE},
            seconds=60,
            what=lambda: f"all to be sent: {bot.rows(open_rows)}\n{bot.log()}",
        )
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    assert Counter(reply["to"] for reply in x.replies) == Counter(tags)
    authors = [int(x.posts[tag]["author_id"]) for tag in tags]
    assert Counter(message["to"] for message in x.messages) == Counter(authors)
    assert dict(bot.rows("SELECT status, count(*) FROM twitterbot_mention GROUP BY status")) == {"answered": PEOPLE}
    made = (
        "SELECT 'files', count(*) FROM media_analysis_media UNION SELECT 'users', count(*) FROM accounts_user "
        "UNION SELECT 'cards', count(*) FROM media_analysis_resultcard"
    )
    assert dict(bot.rows(made)) == {"files": PEOPLE, "users": PEOPLE, "cards": PEOPLE}
    assert "health: " in bot.log()


def test_a_stop_is_heard_within_seconds_even_while_x_hangs(bot: BotProcess, x: FakeX) -> None:
    x.mention()
    stopped = threading.Event()

    def hang(route: str) -> None:
        stopped.wait(20)

    x.on_answer = hang
    process = bot.start()
    try:
        wait_until(lambda: x.count("mentions") > 0, seconds=60, what=bot.log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=8) == 0
    finally:
        stopped.set()
        process.kill()
        process.wait()


def test_from_the_tag_to_the_answer_with_a_worker_that_fetches_and_examines(
    bot: BotProcess, x: FakeX, clip: Path
) -> None:
    host = x.url.removeprefix("http://")
    site = SiteProcess(bot.data, SENTINEL_LINK_ALLOW_PRIVATE=host)
    bot.environment |= {"TWITTER_MEDIA_ORIGINS": x.url, "SENTINEL_LINK_ALLOW_PRIVATE": host}
    gone = x.add_video(file=b"")
    x.files.clear()
    video = x.mention(by="poster", text="look", media=[x.add_video(file=clip.read_bytes())])
    good = x.mention(by="asha", text="@poster @sentinelcheck real?", replies_to=video)
    x.mention(by="ravi", media=[gone])
    site.start_worker()
    process = bot.start()
    try:
        wait_until(
            lambda: (len(x.replies), len(x.messages)) == (1, 2),
            seconds=180,
            what=lambda: f"the answers: {x.replies} {x.messages}\n{bot.log()}\n{site.log('worker')}",
        )
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        site.stop()
    [reply] = x.replies
    assert reply["to"] == good
    assert reply["text"].startswith("Could not be examined, because no human face was found")
    texts = {x.users[message["to"]]["username"]: message["text"] for message in x.messages}
    assert "Could not be examined" in texts["asha"]
    assert "is gone" in texts["ravi"]
