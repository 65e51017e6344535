"""What a change of SECRET_KEY ends, and what goes on."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.tokens import default_token_generator
from django.core.management import CommandError, call_command
from django.test import Client
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signing import BadSignature, SignedPackage

from accounts import second_factor, tokens
from accounts.models import SecondFactor, User
from accounts.token_keys import AccessToken, RefreshToken, RotatingBackend
from media_analysis import services
from media_analysis.models import Analysis
from media_analysis.queue_messages import RUN_NEXT, DatabaseBroker
from tests.accounts.calls import post
from tests.media_analysis.factories import make_analysis

pytestmark = pytest.mark.django_db

NEW_KEY = "a new key of this site that is long enough to sign with"


@pytest.fixture
def old_key(settings: Any) -> str:
    return str(settings.SECRET_KEY)


@pytest.fixture
def change_key(settings: Any, old_key: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Start the site anew with another key, keeping the old one or not."""

    def change(*, keeping: bool) -> None:
        settings.SECRET_KEY = NEW_KEY
        settings.SECRET_KEY_FALLBACKS = [old_key] if keeping else []
        backend = RotatingBackend("HS256", NEW_KEY)
        for token_class in (AccessToken, RefreshToken, tokens._UsedOrNot):
            monkeypatch.setattr(token_class, "_token_backend", backend)
        monkeypatch.setattr(Conf, "SECRET_KEY", NEW_KEY)

    return change


def opens(client: Client, access: str) -> bool:
    return client.get("/api/v1/account/", headers={"Authorization": f"Bearer {access}"}).status_code == 200


@pytest.mark.parametrize("keeping", [True, False])
def test_nobody_is_logged_out_while_the_old_key_is_kept(
    client: Client, as_owner: Client, owner: User, change_key: Any, keeping: bool
) -> None:
    pair = tokens.log_in(owner)
    reset = default_token_generator.make_token(owner)
    assert as_owner.get("/accounts/").status_code == 200
    change_key(keeping=keeping)
    assert (as_owner.get("/accounts/").status_code == 200) is keeping
    assert default_token_generator.check_token(owner, reset) is keeping
    assert opens(client, pair.access) is keeping
    answer = post(client, "/api/v1/tokens/refresh/", {"refresh": pair.refresh})
    assert (answer.status_code == 200) is keeping
    if keeping:
        # What is handed out now needs the old key no more.
        change_key(keeping=False)
        assert opens(client, answer.json()["access"])
        assert not opens(client, pair.access)


def test_a_token_of_a_kept_key_that_ran_out_is_refused_as_such(client: Client, owner: User, change_key: Any) -> None:
    token = AccessToken(tokens.log_in(owner).access)  # type: ignore[arg-type]
    token["exp"] = 1
    stale = str(token)
    change_key(keeping=True)
    assert not opens(client, stale)
    assert not opens(client, "x.y.z")


def test_a_message_of_the_queue_that_the_old_key_signed_keeps_nothing_waiting(owner: User, change_key: Any) -> None:
    """django-q reads only today's key, whatever is kept: the worker drops the message, and looks by itself next."""
    analysis = make_analysis(owner)
    services.enqueue(analysis)
    change_key(keeping=True)
    broker = DatabaseBroker("sentinel")
    [(number, message)] = broker.dequeue()
    with pytest.raises(BadSignature):
        SignedPackage.loads(message)
    broker.fail(number)
    assert not OrmQ.objects.exists()
    [(_, message)] = broker.dequeue()
    assert SignedPackage.loads(message)["func"] == RUN_NEXT
    analysis.refresh_from_db()
    assert (analysis.status, analysis.attempts) == (Analysis.Status.QUEUED, 0)


def test_the_command_makes_the_old_key_needless_and_says_what_it_could_not_read(
    owner: User, stranger: User, change_key: Any
) -> None:
    secrets = [second_factor.begin_totp(user) for user in (owner, stranger)]
    change_key(keeping=True)
    out = StringIO()
    call_command("encrypt_anew", stdout=out)
    assert out.getvalue().startswith("2 secrets are encrypted")
    change_key(keeping=False)
    assert [second_factor.begin_totp(user) for user in (owner, stranger)] == secrets
    SecondFactor.objects.filter(user=owner).update(pending_secret="of a key that is lost")
    with pytest.raises(CommandError, match="1 could not be read"):
        call_command("encrypt_anew", stdout=out)
