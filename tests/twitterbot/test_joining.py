"""Joining an account on X with one here."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import limits
from accounts.errors import Code, SentinelError
from accounts.models import User
from accounts.services import remove_account
from media_analysis.account_deletion import erase_closed_accounts
from media_analysis.models import Media
from tests.twitterbot.conftest import SITE, finish_all, statuses
from tests.twitterbot.fake_x import KEYS, FakeX
from twitterbot import linking, people
from twitterbot.bot import Bot
from twitterbot.models import LinkAttempt, Mention, Reply, XAccount

pytestmark = pytest.mark.django_db


def asked(x: FakeX, bot: Bot, *, by: str = "asha") -> str:
    """The code that somebody gets who asks the bot for one."""
    x.mention(by=by, text="@sentinelcheck link")
    bot.round()
    found = re.search(r"[A-Z2-9]{4}-[A-Z2-9]{4}", x.messages[-1]["text"])
    assert found is not None
    return found[0]


def test_files_and_what_was_spent_move_and_later_mentions_go_to_the_same_account(
    x: FakeX, bot: Bot, owner: User, as_owner: Client
) -> None:
    x.mention(by="asha", media=[x.add_video()])
    bot.round()
    made = Media.objects.get().owner
    code = asked(x, bot)
    page = as_owner.post(reverse("twitterbot:accounts"), {"code": code.lower().replace("-", " ")}, follow=True)
    assert "@asha on X is joined with this account." in page.content.decode()
    assert Media.objects.get().owner == owner
    assert limits.used(owner) == 1
    x.mention(by="asha", media=[x.add_video()])
    bot.round()
    assert Media.objects.filter(owner=owner).count() == 2
    erase_closed_accounts()
    assert not User.objects.filter(pk=made.pk).exists()
    finish_all()
    bot.round()
    assert len(x.replies) == 2
    assert "8 of 10 examinations are left." in x.messages[-1]["text"]


def test_no_code_and_no_key_is_in_the_log_at_any_level(x: FakeX, bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        code = asked(x, bot)
    assert code not in caplog.text
    for name in ("TWITTER_API_KEY", "TWITTER_ACCESS_TOKEN"):
        assert KEYS[name] not in caplog.text


def test_the_message_holds_code_page_and_warning_and_is_kept_nowhere(x: FakeX, bot: Bot) -> None:
    code = asked(x, bot)
    text = x.messages[0]["text"]
    assert f"within 30 minutes: {SITE}{reverse('twitterbot:accounts')}" in text
    assert "Show it to nobody." in text
    assert Reply.objects.get().text == ""
    assert code not in str(list(XAccount.objects.values()))
    assert statuses() == ["answered"]
    assert User.objects.count() == 0


def test_a_code_holds_once(x: FakeX, bot: Bot, owner: User, stranger: User) -> None:
    code = asked(x, bot)
    linking.join(owner, code)
    with pytest.raises(SentinelError):
        linking.join(stranger, code)
    assert XAccount.objects.get().user == owner


def test_a_code_holds_for_half_an_hour_and_until_the_next_one(x: FakeX, bot: Bot, owner: User) -> None:
    first, second = asked(x, bot), asked(x, bot)
    with pytest.raises(SentinelError):
        linking.join(owner, first)
    XAccount.objects.update(code_expires_at=timezone.now())
    with pytest.raises(SentinelError):
        linking.join(owner, second)
    assert XAccount.objects.get().user is None


def test_guessing_is_stopped_for_an_hour(x: FakeX, bot: Bot, owner: User, as_owner: Client) -> None:
    code = asked(x, bot)
    address = reverse("twitterbot:accounts")
    answers = [as_owner.post(address, {"code": f"AAAA-AAA{number}"}).status_code for number in range(2, 8)]
    assert answers == [400] * 5 + [429]
    assert as_owner.post(address, {"code": code}).status_code == 429
    assert XAccount.objects.get().user is None
    LinkAttempt.objects.update(created_at=timezone.now() - timedelta(hours=1))
    assert as_owner.post(address, {"code": code}).status_code == 302


def test_somebody_elses_web_account_keeps_its_files_when_theirs_on_x_is_joined_anew(
    x: FakeX, bot: Bot, owner: User, stranger: User
) -> None:
    linking.join(owner, asked(x, bot))
    x.mention(by="asha", media=[x.add_video()])
    bot.round()
    linking.join(stranger, asked(x, bot))
    bot.round()
    assert Media.objects.get().owner == owner
    assert owner.deleted_at is None
    assert list(linking.accounts_of(stranger)) == [XAccount.objects.get()]


def test_taking_apart_is_for_its_own_account_only(
    x: FakeX, bot: Bot, owner: User, as_owner: Client, as_stranger: Client
) -> None:
    linking.join(owner, asked(x, bot))
    address = reverse("twitterbot:leave", args=[XAccount.objects.get().twitter_id])
    assert as_stranger.post(address).status_code == 404
    assert as_owner.get(address).status_code == 405
    assert Client().post(address).status_code == 302
    assert XAccount.objects.get().user == owner
    assert "@asha" in as_owner.get(reverse("twitterbot:accounts")).content.decode()
    assert as_owner.post(address).status_code == 302
    assert XAccount.objects.get().user is None


def test_an_interrupted_move_is_completed_by_the_bot(x: FakeX, bot: Bot, owner: User, monkeypatch: Any) -> None:
    x.mention(by="asha", media=[x.add_video()])
    bot.round()
    code = asked(x, bot)
    monkeypatch.setattr(linking, "move_media", lambda giver, taker: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        linking.join(owner, code)
    monkeypatch.undo()
    assert Media.objects.get().owner != owner
    bot.round()
    assert Media.objects.get().owner == owner
    assert XAccount.objects.get().former_user is None


def test_the_bots_own_accounts_can_be_made_twice_and_are_one(x: FakeX, bot: Bot) -> None:
    x.mention(by="asha")
    bot.round()
    account = XAccount.objects.get()
    first = people.user_of(account)
    XAccount.objects.update(user=None)
    account.refresh_from_db()
    assert people.user_of(account) == first


def test_who_on_x_it_was_goes_with_the_account_but_not_that_they_want_no_answers(
    x: FakeX, bot: Bot, owner: User, stranger: User
) -> None:
    linking.join(owner, asked(x, bot))
    linking.join(stranger, asked(x, bot, by="ravi"))
    x.mention(by="ravi", text="@sentinelcheck stop")
    bot.round()
    for user in (owner, stranger):
        remove_account(user)
    [left] = XAccount.objects.all()
    assert (left.handle, left.user) == ("", None)
    assert left.opted_out_at
    assert Mention.objects.count() == 0


def test_nobody_signs_up_with_the_name_of_an_account_of_the_bots(client: Client, db: None) -> None:
    fields = {
        "username": "x@1001",
        "email": "a@example.org",
        "password1": "long enough 1",
        "password2": "long enough 1",
    }
    assert client.post(reverse("accounts:signup"), fields).status_code == 200
    assert User.objects.count() == 0


def test_too_often_is_said_in_plain_words(owner: User) -> None:
    for _ in range(linking.TRIES_AN_HOUR):
        with pytest.raises(SentinelError) as wrong:
            linking.join(owner, "AAAA-AAAA")
        assert wrong.value.code is Code.INVALID_FIELD
    with pytest.raises(SentinelError, match="too_often") as often:
        linking.join(owner, "AAAA-AAAA")
    assert "Try again in an hour." in often.value.text


def test_the_account_page_leads_here_where_there_is_a_bot(as_owner: Client, settings: Any) -> None:
    address = reverse("twitterbot:accounts")
    assert address not in as_owner.get(reverse("accounts:account")).content.decode()
    settings.TWITTER_HANDLE = "sentinelcheck"
    assert address in as_owner.get(reverse("accounts:account")).content.decode()
    assert "https://x.com/sentinelcheck" in as_owner.get(address).content.decode()
