"""User names: in every script, and one account for all that look alike."""

from __future__ import annotations

import unicodedata
from importlib import import_module
from types import SimpleNamespace

import pytest
from axes.models import AccessAttempt
from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client

from accounts import names
from accounts.errors import Code, SentinelError
from accounts.models import SecurityEvent, User
from media_analysis import cases
from media_analysis.models import CaseInvitation, CaseRole
from tests.accounts.calls import post
from tests.conftest import PASSWORD, make_user

ZWNJ, ZWJ = "\u200c", "\u200d"
# One in each of the scripts of the Constitution's languages, with vowel signs, viramas, nuktas and joiners.
IN_ALL_SCRIPTS = [
    *("आशा", "क्षितिज", f"शक्{ZWJ}ति", "फ़ौज़िया", "नेहा२०२४", "অর্পিতা", "ৎসারিন", "മലയാളം", f"രാജ്{ZWNJ}കുമാര്{ZWJ}"),
    *("తెలుగు", "தமிழ்ச்செல்வி", "ಕನ್ನಡ", "ગુજરાતી", "ଓଡ଼ିଆ", "ਗੁਰਪ੍ਰੀਤ", "عائشة", f"می{ZWNJ}خواهم", "ꯃꯤꯇꯩ", "ᱥᱟᱱᱛᱟᱲᱤ"),
    *("asha.k-1", "José", "Дмитрий", "+_-."),
]
NOT_ALLOWED = "Use letters, digits and . + - _ only."
ONE_SCRIPT = "Use letters and digits of one script only."


def sign_up_fields(name: str) -> dict[str, str]:
    return {"username": name, "email": "new@example.org", "password1": PASSWORD, "password2": PASSWORD}


@pytest.mark.parametrize("name", IN_ALL_SCRIPTS)
def test_names_of_every_script_are_taken_as_they_are(name: str) -> None:
    kept = names.clean(name)
    assert kept == unicodedata.normalize("NFC", name)
    assert names.clean(unicodedata.normalize("NFD", name)) == kept
    names.validate(kept)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        # Another alphabet's a; digits of another script, of which Bengali's 4 looks like an 8; a vowel sign on an a.
        *[(name, ONE_SCRIPT) for name in ("аdmin", "ravi৪", "aा", "आsha", "নেha")],
        *[(name, NOT_ALLOWED) for name in ("asha devi", "asha@x", "a/b", "<b>", "a\u200bb", "a\u202eb", "ाशा", "☺")],
        *[
            (name, NOT_ALLOWED)
            for name in (ZWJ, f"a{ZWJ}" * 75, "a\u0301\u0302\u0303\u0304\u0305\u0306", "a\0", "\ud800", "")
        ],
        ("2علي", "Where letters go from right to left, begin with a letter, and end with a letter or digit."),
    ],
)
def test_other_names_are_refused_in_words(name: str, text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        names.clean(name)
    assert refused.value.messages == [text]


def test_joiners_that_join_nothing_are_left_out() -> None:
    """Nobody sees them, and keyboards leave them behind."""
    assert names.clean(f"{ZWNJ}आ{ZWJ}शा{ZWNJ}") == "आशा"
    assert names.clean(f"ravi{ZWJ}") == "ravi"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Asha", "ａＳＨＡ"),
        ("ИВАН", "иван"),
        ("STRASSE", "straße"),
        ("José", "JOSE\u0301"),
        ("फ़ौजी", "\u095eौजी"),
        (f"शक्{ZWJ}ति", "शक्ति"),
        # Malayalam's chillus and Bengali's ta have an older spelling.
        ("അവൻ", f"അവന്{ZWJ}"),
        ("উৎস", f"উত্{ZWJ}স"),
    ],
)
def test_names_that_look_alike_have_one_key(one: str, other: str) -> None:
    assert one != other
    assert names.key_of(one) == names.key_of(other) == names.key_of(names.key_of(one))


@pytest.mark.parametrize(("one", "other"), [("asha", "aasha"), ("आशा", "अशा"), ("a.b", "ab"), ("कमल", "क़मल")])
def test_other_names_have_another(one: str, other: str) -> None:
    assert names.key_of(one) != names.key_of(other)


@pytest.mark.django_db
def test_a_name_in_an_indian_script_does_everywhere(client: Client, admin: User) -> None:
    assert client.post("/accounts/signup/", sign_up_fields("आशा")).status_code == 302
    api = {"username": "മലയാളം", "email": "m@example.org", "password": PASSWORD}
    assert post(Client(), "/api/v1/account/", api).json()["account"]["username"] == "മലയാളം"
    assert post(Client(), "/users/signup", {**api, "username": "అమ్మ", "email": "a@example.org"}).status_code == 200
    call_command("createsuperuser", username="প্রধান", email="p@example.org", interactive=False, verbosity=0)
    client.force_login(admin, backend="accounts.backends.UsernameOrEmailBackend")
    fields = {**sign_up_fields("ਸਿੰਘ"), "email": "s@example.org", "usable_password": "true"}
    assert client.post("/admin/accounts/user/add/", fields).status_code == 302
    assert {"आशा", "മലയാളം", "అమ్మ", "প্রধান", "ਸਿੰਘ"} <= set(User.objects.values_list("username", flat=True))
    answer = post(Client(), "/users/login", {"username": f"മലയാളം{ZWNJ}", "password": PASSWORD})
    assert answer.json()["user"]["username"] == "മലയാളം"


def test_a_look_alike_of_a_name_is_taken_everywhere(client: Client, admin: User) -> None:
    make_user("Élodie")
    again = "E\u0301LODIE"
    assert client.post("/accounts/signup/", sign_up_fields(again)).context["form"].errors["username"] == [
        "This user name is taken."
    ]
    fields = {"username": again, "email": "x@example.org", "password": PASSWORD}
    answer = post(Client(), "/users/signup", fields)
    assert (answer.status_code, list(answer.json()["errors"])) == (409, ["username"])
    with pytest.raises(CommandError):
        call_command("createsuperuser", username=again, email="x@example.org", interactive=False, verbosity=0)
    client.force_login(admin, backend="accounts.backends.UsernameOrEmailBackend")
    answer = client.post("/admin/accounts/user/add/", {**sign_up_fields(again), "usable_password": "true"})
    assert "This user name is taken." in answer.content.decode()
    # And whatever writes past the forms, at the same time perhaps, is stopped by the database.
    with pytest.raises(IntegrityError), transaction.atomic():
        make_user(again)


@pytest.mark.django_db
def test_one_logs_in_however_the_name_is_written_and_guesses_count_together(client: Client) -> None:
    user = make_user("അവൻ")
    for spelling in ("അവൻ", f"അവന്{ZWJ}", f"അവൻ{ZWNJ}"):
        assert client.post("/accounts/login/", {"username": spelling, "password": "guess"}).status_code == 200
    assert AccessAttempt.objects.get().failures_since_start == 3
    assert list(SecurityEvent.objects.values_list("user", flat=True)) == [user.pk] * 3
    assert client.post("/accounts/login/", {"username": f"അവന്{ZWJ}", "password": PASSWORD}).status_code == 302


def test_a_case_invites_however_the_name_is_written(owner: User) -> None:
    guest = make_user("അവൻ")
    case = cases.open_case(owner, "A case", {})
    seat = cases.take_seat(owner, case.public_id)
    for spelling in (f"അവന്{ZWJ}", "അവൻ"):
        cases.invite(seat, spelling, CaseRole.VIEWER)
    assert CaseInvitation.objects.get().user == guest
    with pytest.raises(SentinelError) as refused:
        cases.invite(seat, "OWNER", CaseRole.VIEWER)
    assert refused.value.code is Code.INVALID_FIELD


def test_a_row_of_an_older_version_gets_its_key_at_the_next_log_in(db: None) -> None:
    make_user("asha")
    for name in ("ASHA", "Devi"):
        user = make_user(f"{name}-later")
        User.objects.filter(pk=user.pk).update(username=name, username_key=None)
        User.objects.get(username=name).full_clean()
        assert Client().post("/accounts/login/", {"username": name, "password": PASSWORD}).status_code == 302
    assert set(User.objects.values_list("username_key", flat=True)) == {"asha", "=ASHA", "devi"}


def test_accounts_that_looked_alike_before_keep_their_names(client: Client, db: None) -> None:
    first, second, bot = make_user("asha"), make_user("other"), make_user("x@42")
    User.objects.update(username_key=None)
    User.objects.filter(pk=second.pk).update(username="ASHA")
    # Rows as an older version wrote them are found as they are written.
    assert User.objects.named("ASHA") == second
    fill = import_module("accounts.migrations.0006_keys_of_names").fill
    for _ in range(2):
        fill(apps, SimpleNamespace(connection=connection))
    for user in User.objects.all():
        user.full_clean(exclude=["email"])
        user.save()
    assert [User.objects.named(name) for name in ("asha", "ASHA", "Asha", "x@42")] == [first, second, first, bot]
    assert client.post("/accounts/login/", {"username": "ASHA", "password": PASSWORD}).status_code == 302
    assert client.session["_auth_user_id"] == str(second.pk)
    # A new name of one of them is looked at like any other.
    second.username = "Asha"
    with pytest.raises(ValidationError):
        second.full_clean()
