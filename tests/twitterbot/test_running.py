"""The command, the settings and the admin of the bot, and how X counts letters."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import translation

from media_analysis.models import Analysis
from tests.twitterbot.conftest import finish_all
from tests.twitterbot.fake_x import KEYS, FakeX, Fault
from twitterbot import bot as bot_module
from twitterbot import reading, wording
from twitterbot.bot import Bot
from twitterbot.checks import check_bot_settings
from twitterbot.length import weighted_length
from twitterbot.models import BotState, Mention, Reply, XAccount
from twitterbot.wording import result_reply


def test_without_keys_it_says_which_are_missing_and_ends_with_2(
    settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in KEYS:
        setattr(settings, name, "")
    settings.TWITTER_API_KEY = "a-key"
    with pytest.raises(SystemExit) as ended:
        call_command("run_twitterbot")
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "TWITTER_API_SECRET, TWITTER_ACCESS_TOKEN, TWITTER_ACCESS_TOKEN_SECRET" in said
    assert "TWITTER_API_KEY" not in said


@pytest.mark.django_db
def test_one_round_tells_how_it_went(x: FakeX, capsys: pytest.CaptureFixture[str]) -> None:
    x.mention()
    call_command("run_twitterbot", "--once")
    said = capsys.readouterr().out
    assert "mentions: 1 refused; reply: none; direct: 1 sent; " in said
    assert "1 of 20000 reads, 1 of 5000 posts" in said
    x.faults.append(Fault("mentions", 503))
    with pytest.raises(SystemExit) as ended:
        call_command("run_twitterbot", "--once")
    assert ended.value.code == 1


@pytest.mark.django_db
def test_a_trial_run_prints_a_line_for_each_mention(x: FakeX, capsys: pytest.CaptureFixture[str]) -> None:
    x.mention(by="asha")
    call_command("run_twitterbot", "--dry-run")
    assert "by @asha: refused (no_media), by direct message in en" in capsys.readouterr().out
    x.faults.append(Fault("mentions", 503))
    with pytest.raises(SystemExit):
        call_command("run_twitterbot", "--dry-run")
    assert "status_503" in capsys.readouterr().err
    assert not x.messages


@pytest.mark.django_db
def test_it_goes_on_round_after_round_until_it_is_stopped(
    x: FakeX, bot: Bot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bot_module, "TICK_SECONDS", 0.0)
    monkeypatch.setattr("django.db.connections.close_all", lambda: None)

    def stop_after_three(route: str) -> None:
        if x.count("mentions") == 3:
            bot.stop()

    x.on_request = stop_after_three
    with caplog.at_level("INFO", logger="twitterbot.bot"):
        bot.run()
    assert 3 <= x.count("mentions") <= 4
    assert "health: running; mentions: none" in caplog.text


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"TWITTER_API_KEY": "a"}, ["twitterbot.E001", "twitterbot.W002"]),
        ({**KEYS, "SENTINEL_URL": "https://sentinel.example.org"}, []),
        (KEYS, ["twitterbot.W002"]),
        ({**KEYS, "SENTINEL_URL": "https://s.example.org", "TWITTER_API_URL": "http://x"}, ["twitterbot.W001"]),
        ({"TWITTER_MEDIA_ORIGINS": ["https://video.twimg.com/", "pbs.twimg.com"]}, ["twitterbot.E002"]),
    ],
)
def test_settings_that_would_never_work_are_found(settings: Any, changes: dict[str, Any], found: list[str]) -> None:
    for name in KEYS:
        setattr(settings, name, "")
    for name, value in changes.items():
        setattr(settings, name, value)
    assert [message.id for message in check_bot_settings()] == found


@pytest.mark.django_db
def test_administrators_see_how_it_is_pause_it_and_block_people(x: FakeX, bot: Bot, as_admin: Client) -> None:
    x.mention(by="asha", media=[x.add_video()])
    x.mention(by="ravi", text="@sentinelcheck link")
    bot.round()
    finish_all()
    bot.round()
    for name in ("botstate", "monthlyuse", "xaccount", "mention", "reply"):
        assert as_admin.get(reverse(f"admin:twitterbot_{name}_changelist")).status_code == 200
    state = BotState.objects.get()
    page = as_admin.get(reverse("admin:twitterbot_botstate_change", args=[state.pk])).content.decode()
    assert "answered: 2" in page
    assert "of 5000 sent" in page
    as_admin.post(reverse("admin:twitterbot_botstate_change", args=[state.pk]), {"paused": "on"})
    after = BotState.objects.get()
    assert (after.paused, after.since_id) == (True, state.since_id)
    chosen = XAccount.objects.get(handle="asha")
    action = {"action": "block", "_selected_action": [chosen.pk]}
    as_admin.post(reverse("admin:twitterbot_xaccount_changelist"), action)
    assert XAccount.objects.get(handle="asha").blocked
    mention = Mention.objects.get(account=chosen)
    shown = as_admin.get(reverse("admin:twitterbot_mention_change", args=[mention.pk])).content.decode()
    assert "Signs of manipulation found" in shown


@pytest.mark.django_db
def test_a_code_that_is_still_to_be_sent_is_shown_to_no_administrator(x: FakeX, bot: Bot, as_admin: Client) -> None:
    BotState.objects.create(message_after="2027-01-01T00:00:00Z")
    x.mention(text="@sentinelcheck link")
    bot.round()
    reply = Reply.objects.get()
    assert "Your code" in reply.text
    for address in (
        reverse("admin:twitterbot_reply_change", args=[reply.pk]),
        reverse("admin:twitterbot_mention_change", args=[reply.mention_id]),
    ):
        assert "Your code" not in as_admin.get(address).content.decode()


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", 0),
        ("plain", 5),
        ("é", 1),
        (unicodedata.normalize("NFD", "é"), 1),
        ("हेरफेर", 6),
        ("തെളിവ്", 6),
        ("日本", 4),
        ("–", 1),
        ("…", 2),
        ("see https://example.org/a/very/long/address/indeed/longer/than/that now", 4 + 23 + 4),
    ],
)
def test_letters_count_as_x_counts_them(text: str, length: int) -> None:
    assert weighted_length(text) == length


def test_a_reply_shows_as_many_stretches_as_fit_and_how_many_more_there_are() -> None:
    stretches = [[float(second), second + 0.5] for second in range(30)]
    analysis = Analysis(status="done", outcome="FAKE", confidence=91.2, timestamps=stretches)
    text = result_reply(analysis, link="https://sentinel.example.org/r/0123456789abcdef01234567/", claims={})
    assert 255 < weighted_length(text) <= 280
    assert "0.0–0.5 s, 1.0–1.5 s" in text
    assert " more. Examined by a machine, which can be wrong. https://" in text


@pytest.mark.parametrize("language", ["en", "mr", "hi", "bn", "ml", "te"])
def test_the_words_that_people_are_told_to_write_are_understood(language: str) -> None:
    with translation.override(language):
        texts = {
            Mention.Command.STOP: [wording.started_text(), wording.footer(user=None, reference="0a1b2c3d")],
            Mention.Command.START: [wording.stopped_text()],
        }
    words = {Mention.Command.STOP: reading.STOP_WORDS, Mention.Command.START: reading.START_WORDS}
    for command, said in texts.items():
        for text in said:
            named = [word for word in words[command] if word in text.casefold()]
            assert named, text
            assert all(reading.command_in(f"@sentinelcheck {word}!") == command for word in named)
