"""Passkeys, with a device in software that tells the truth, and one that lies."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from accounts import passkeys, second_factor
from accounts.models import Passkey, SecurityEvent, User
from tests.accounts.software_key import PRESENT, SoftwareKey
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

SECURITY = "/accounts/security/"
ADD, OPTIONS = f"{SECURITY}passkeys/", f"{SECURITY}passkeys/options/"
LOG_IN, LOG_IN_OPTIONS = "/accounts/login/passkey/", "/accounts/login/passkey/options/"


def at_home() -> Client:
    """A browser that has the site by its name."""
    return Client(headers={"Host": "localhost"})


@pytest.fixture
def home(owner: User) -> Client:
    client = at_home()
    client.force_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
    return client


def add(client: Client, key: SoftwareKey, name: str = "My phone") -> Any:
    return client.post(ADD, {"credential": key.make(client.post(OPTIONS).json()), "name": name})


@pytest.fixture
def key(home: Client) -> SoftwareKey:
    key = SoftwareKey()
    assert add(home, key).status_code == 200
    return key


def use(client: Client, key: SoftwareKey, **fields: str) -> Any:
    return client.post(LOG_IN, {"credential": key.sign(client.post(LOG_IN_OPTIONS).json()), **fields})


def is_in(client: Client) -> bool:
    return client.get("/accounts/").status_code == 200


def events() -> list[str]:
    return list(SecurityEvent.objects.values_list("event", flat=True))


def test_a_passkey_is_asked_for_so_that_it_is_both_factors(home: Client, owner: User) -> None:
    options = home.post(OPTIONS).json()
    assert options["rp"] == {"id": "localhost", "name": "Sentinel"}
    assert options["user"]["name"] == "owner"
    wanted = options["authenticatorSelection"]
    assert (wanted["residentKey"], wanted["userVerification"]) == ("required", "required")
    answer = add(home, SoftwareKey(), "  My   phone ")
    assert len(answer.context["codes"]) == 10
    assert Passkey.objects.get().name == "My   phone"
    assert second_factor.is_on(owner)
    assert owner.web_sessions.get(ended_at=None).factor == "passkey"
    assert len(home.post(OPTIONS).json()["excludeCredentials"]) == 1
    # The second one brings no new recovery codes.
    assert add(home, SoftwareKey())["Location"] == SECURITY


def test_a_passkey_logs_in_without_name_and_password(key: SoftwareKey, owner: User) -> None:
    client = at_home()
    asked = client.post(LOG_IN_OPTIONS).json()
    assert (asked["userVerification"], asked.get("allowCredentials", [])) == ("required", [])
    before = client.session.session_key
    assert use(client, key, next="/analyses/")["Location"] == "/analyses/"
    assert is_in(client)
    assert client.session.session_key != before
    assert owner.web_sessions.filter(factor="passkey", ended_at=None).count() == 2
    assert use(at_home(), key, next="https://evil.example/")["Location"] == "/"


def test_it_is_the_second_step_after_the_password(key: SoftwareKey) -> None:
    client = at_home()
    answer = client.post("/accounts/login/", {"username": "owner", "password": PASSWORD})
    assert answer["Location"].startswith("/accounts/login/code/")
    assert not is_in(client)
    assert use(client, key)["Location"] == "/"
    assert is_in(client)


def test_after_one_password_the_passkey_of_another_is_refused(key: SoftwareKey, stranger: User) -> None:
    stranger.passkeys.create(name="Theirs", credential_digest="d")
    client = at_home()
    client.post("/accounts/login/", {"username": "stranger", "password": PASSWORD})
    assert use(client, key)["Location"].startswith("/accounts/login/code/")
    assert not is_in(client)


def no_owner_seen(key: SoftwareKey) -> None:
    key.flags = PRESENT


def for_another_site(key: SoftwareKey) -> None:
    key.rp_id = "evil.example"


def on_another_site(key: SoftwareKey) -> None:
    key.origin = "https://evil.example"


def with_another_key(key: SoftwareKey) -> None:
    key.key = SoftwareKey().key


def with_another_id(key: SoftwareKey) -> None:
    key.credential_id = b"x" * 32


def for_another_user(key: SoftwareKey) -> None:
    key.user_handle = b"x" * 12


def without_a_user(key: SoftwareKey) -> None:
    key.user_handle = b""


def as_a_copy(key: SoftwareKey) -> None:
    Passkey.objects.update(sign_count=100)


def of_a_closed_account(key: SoftwareKey) -> None:
    User.objects.update(is_active=False)


LIES = [
    *(no_owner_seen, for_another_site, on_another_site, with_another_key, with_another_id),
    *(for_another_user, without_a_user, as_a_copy, of_a_closed_account),
]


@pytest.mark.parametrize("lie", LIES)
def test_a_device_that_lies_gets_nobody_in(key: SoftwareKey, lie: Any) -> None:
    lie(key)
    client = at_home()
    answer = use(client, key, next="/analyses/")
    assert answer["Location"] == "/accounts/login/?next=%2Fanalyses%2F"
    assert "_auth_user_id" not in client.session
    assert ("wrong_passkey" in events()) is (lie is not with_another_id)
    page = client.get(answer["Location"]).content.decode()
    assert "The passkey was not accepted." in page


@pytest.mark.parametrize("lie", [no_owner_seen, for_another_site, on_another_site])
def test_a_passkey_is_not_taken_from_a_device_that_lies(home: Client, lie: Any) -> None:
    key = SoftwareKey()
    lie(key)
    assert add(home, key)["Location"] == SECURITY
    assert not Passkey.objects.exists()


def test_a_challenge_works_once_for_one_purpose_and_not_long(
    key: SoftwareKey, home: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = at_home()
    credential = key.sign(client.post(LOG_IN_OPTIONS).json())
    assert client.post(LOG_IN, {"credential": credential})["Location"] == "/"
    client.post("/accounts/logout/")
    assert client.post(LOG_IN, {"credential": credential})["Location"].startswith("/accounts/login/")
    # Somebody else's challenge, and one for adding a passkey.
    credential = key.sign(at_home().post(LOG_IN_OPTIONS).json())
    client.post(LOG_IN_OPTIONS)
    assert client.post(LOG_IN, {"credential": credential})["Location"].startswith("/accounts/login/")
    credential = key.sign(home.post(OPTIONS).json())
    assert home.post(LOG_IN, {"credential": credential})["Location"].startswith("/accounts/confirm/")
    credential = key.sign(client.post(LOG_IN_OPTIONS).json())
    now = time.time()
    later = SimpleNamespace(time=lambda: now + passkeys.CHALLENGE_SECONDS)
    monkeypatch.setattr("accounts.passkeys.time", later)
    assert client.post(LOG_IN, {"credential": credential})["Location"].startswith("/accounts/login/")
    assert not is_in(client)


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "{",
        "null",
        "[]",
        '"text"',
        "{}",
        '{"id": 5}',
        '{"id": "????"}',
        '{"id": "AAAA", "response": 5}',
        '{"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": {}}',
        "[" * 9000,
        "x" * 30_000,
    ],
)
def test_nonsense_is_refused_and_nothing_breaks(key: SoftwareKey, home: Client, credential: str) -> None:
    client = at_home()
    client.post(LOG_IN_OPTIONS)
    assert client.post(LOG_IN, {"credential": credential})["Location"].startswith("/accounts/login/")
    home.post(OPTIONS)
    assert home.post(ADD, {"credential": credential})["Location"] == SECURITY
    assert Passkey.objects.count() == 1


def test_a_broken_part_of_an_answer_is_refused_and_nothing_breaks(key: SoftwareKey) -> None:
    client = at_home()
    real = json.loads(key.sign(client.post(LOG_IN_OPTIONS).json()))
    for name in real["response"]:
        values: list[Any] = [None, 5, "", "AAAA", [], {}]
        for value in values:
            client.post(LOG_IN_OPTIONS)
            broken = {**real, "response": {**real["response"], name: value}}
            assert client.post(LOG_IN, {"credential": json.dumps(broken)})["Location"].startswith("/accounts/login/")


def test_nobody_takes_over_the_passkey_of_another(key: SoftwareKey, stranger: User) -> None:
    client = at_home()
    client.force_login(stranger, backend="accounts.backends.UsernameOrEmailBackend")
    assert add(client, key)["Location"] == SECURITY
    assert Passkey.objects.get().user.username == "owner"
    theirs = Passkey.objects.get().public_id
    assert client.post(f"{ADD}{theirs}/remove/").status_code == 404
    client.post(f"{ADD}{theirs}/rename/", {"name": "Mine now"})
    assert Passkey.objects.get().name == "My phone"


def test_a_passkey_is_renamed_and_removed_and_its_codes_go_with_it(key: SoftwareKey, home: Client, owner: User) -> None:
    path = f"{ADD}{Passkey.objects.get().public_id}/"
    home.post(f"{path}rename/", {"name": " <b>Key</b> "})
    home.post(f"{path}rename/", {"name": "  "})
    assert "&lt;b&gt;Key&lt;/b&gt;" in home.get(SECURITY).content.decode()
    assert home.post(f"{path}remove/")["Location"] == SECURITY
    assert not second_factor.is_on(owner)
    assert not owner.recovery_codes.exists()
    assert events()[:2] == ["passkey_removed", "passkey_renamed"]
    assert use(at_home(), key)["Location"].startswith("/accounts/login/")


def test_there_are_ten_at_most(home: Client, owner: User, key: SoftwareKey) -> None:
    for number in range(9):
        owner.passkeys.create(name="x", credential_digest=str(number), credential_id="AAAA")
    assert "as many passkeys as you can have" in home.get(SECURITY).content.decode()
    assert add(home, SoftwareKey())["Location"] == SECURITY
    assert Passkey.objects.count() == 10


@pytest.mark.parametrize(
    ("host", "secure", "possible"),
    [
        ("localhost", False, True),
        ("localhost:8000", False, True),
        ("127.0.0.1:8000", False, False),
        ("[::1]:8000", False, False),
        ("sentinel.example.org", True, True),
        ("sentinel.example.org", False, False),
        ("10.0.0.7", True, False),
    ],
)
def test_passkeys_are_offered_where_browsers_do_them(
    settings: Any, rf: Any, host: str, secure: bool, possible: bool
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert passkeys.are_possible(rf.get("/", headers={"Host": host}, secure=secure)) is possible


def test_asking_for_challenges_is_limited(client: Client, settings: Any) -> None:
    settings.SENTINEL_API_RATE_ANONYMOUS = "2/min"
    statuses = [client.post(LOG_IN_OPTIONS, headers={"Accept": "application/json"}).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
