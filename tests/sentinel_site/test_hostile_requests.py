"""Requests that no browser and no app of ours would send: none breaks anything, and none gets more than it should."""

from __future__ import annotations

import ast
import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.core import mail
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.handlers.asgi import ASGIHandler
from django.core.validators import RegexValidator
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT
from django.urls import URLPattern, URLResolver, get_resolver

from accounts import names
from accounts.forms import ProfileForm, SignUpForm
from accounts.models import User
from accounts.texts import clean_text
from media_analysis.models import Analysis, Case, CaseNote, Media
from reports.case_report import notes_csv
from sentinel_site.guards import ReadableTypes
from sentinel_site.logs import LineFormatter
from tests.accounts.calls import send_mails
from tests.conftest import PASSWORD

ROOT = Path(__file__).resolve().parent.parent.parent
OVERRIDE = "\u202e"

pytestmark = pytest.mark.django_db


def send(client: Client, path: str, body: Any, **options: Any) -> Any:
    return client.post(path, body, content_type="application/json", **options)


@pytest.mark.parametrize("path", ["/api/v1/tokens/", "/users/login", "/api/v1/check/", "/api/v1/account/"])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_json_nested_without_end_is_the_senders_fault(client: Client, path: str, opening: str, closing: str) -> None:
    answer = send(client, path, opening * 20_000 + "1" + closing * 20_000)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_field")


@pytest.mark.parametrize(
    "body", [b"\xff\xfe{", b"NaN", b'{"username": NaN}', b'{"username": 1e999}', b"", b"null", b"[]"]
)
def test_json_that_is_no_json_is_refused(client: Client, body: bytes) -> None:
    assert send(client, "/api/v1/tokens/", body).status_code == 400


ZERO = "a\0b"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/analyses/?name=a%00b", None),
        ("GET", "/api/v1/analyses/?name=%00", None),
        ("GET", "/models/a%00b/", None),
        ("GET", "/r/%00/", None),
        ("GET", "/check/?d=%00", None),
        ("POST", "/api/v1/tokens/", {"username": ZERO, "password": ZERO}),
        ("POST", "/users/signup", {"username": ZERO, "email": f"{ZERO}@example.org", "password": PASSWORD}),
        ("PATCH", "/api/v1/account/", {"first_name": ZERO}),
        ("POST", "/api/v1/cases/", {"title": ZERO}),
        ("POST", "/api/v1/check/", {"sha256": ZERO}),
        ("POST", "/api/v1/analyses/", {"url": f"https://example.org/{ZERO}"}),
    ],
)
def test_zero_bytes_reach_no_database(as_owner: Client, method: str, path: str, body: Any) -> None:
    content = json.dumps(body) if body else ""
    answer = as_owner.generic(method, path, content, content_type="application/json")
    # A title is cleaned; everything else is refused.
    assert answer.status_code < 500
    assert (answer.status_code == 201) is (path == "/api/v1/cases/")
    stored = [*User.objects.values_list("username", "email", "first_name"), *Case.objects.values_list("title")]
    assert "\0" not in repr(stored).encode().decode("unicode_escape")


@pytest.mark.parametrize("name", [b"content-type", b"accept"])
@pytest.mark.parametrize(
    "values",
    [
        [b"a/b; x*=foo''b"],
        [b"a/b; x*=idna''%ff"],
        [b"a/b; x*=fo", b"o''b"],
        *([b"a/b; charset=" + name] for name in (b"idna", b"punycode", b"undefined", b"rot13", b"zlib")),
    ],
)
def test_types_that_cannot_be_read_count_as_absent(name: bytes, values: list[bytes]) -> None:
    """Django fails on them, and on the first even before it could answer that."""

    seen: list[Any] = []

    async def ask() -> tuple[int, bytes]:
        headers = [(b"host", b"localhost"), *((name, value) for value in values)]
        scope = {"type": "http", "method": "GET", "path": "/api/v1/live/", "query_string": b"", "headers": headers}
        line: Any = ApplicationCommunicator(ReadableTypes(around), scope)  # type: ignore[no-untyped-call]
        await line.send_input({"type": "http.request", "body": b"", "more_body": False})
        begun, body = await line.receive_output(60), await line.receive_output(60)
        return begun["status"], body["body"]

    async def around(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.extend(header for header, _value in scope["headers"])
        await ASGIHandler()(scope, receive, send)

    assert async_to_sync(ask)() == (200, b'{"alive":true}')
    assert seen == [b"host"]


@pytest.mark.parametrize(
    "value",
    [
        b'multipart/form-data; boundary="a,b"',
        b"application/json; charset=utf-8",
        b"application/json; charset=unheard-of",
        b"text/html, application/xhtml+xml;q=0.9, */*;q=0.8",
        b"",
    ],
)
def test_types_that_can_be_read_are_handed_on(value: bytes) -> None:
    seen: list[Any] = []

    async def around(scope: dict[str, Any], _receive: Any, _send: Any) -> None:
        seen.append(scope["headers"])

    headers = [(b"content-type", value), (b"accept", value)]
    async_to_sync(ReadableTypes(around))({"type": "http", "headers": headers}, None, None)  # type: ignore[arg-type]
    assert seen == [headers]


def test_a_cookie_cannot_smuggle_a_zero_byte_in() -> None:
    """In octal, as cookies are quoted: a key of a session that PostgreSQL would break on."""
    answer = Client(headers={"Cookie": 'sessionid="aaaaaaaaaaaa\\000"'}).get("/analyses/")
    assert answer.status_code == 400


def test_of_a_field_sent_twice_one_counts_and_of_files_one_is_taken(as_owner: Client, clip: Path) -> None:
    def part(name: str, content: bytes, file: str = "") -> bytes:
        named = f'; filename="{file}"' if file else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
        return head.encode() + content + b"\r\n"

    body = part("file", b"not a video", "first.mp4") + part("file", clip.read_bytes(), "second.mp4")
    body += part("caseId", b"1") + part("caseId", b"2") + f"--{BOUNDARY}--\r\n".encode()
    answer = as_owner.generic("POST", "/api/v1/analyses/", body, content_type=MULTIPART_CONTENT)
    # The last of each: the one that was looked at is the one that is kept.
    assert answer.status_code == 201
    assert Media.objects.get().original_name == "second.mp4"


@pytest.mark.parametrize("parts", [1001, 5000])
def test_a_form_of_thousands_of_fields_is_refused(as_owner: Client, parts: int) -> None:
    fields = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="f{number}"\r\n\r\nx\r\n' for number in range(parts)
    )
    body = f"{fields}--{BOUNDARY}--\r\n".encode()
    answer = as_owner.generic("POST", "/api/v1/analyses/", body, content_type=MULTIPART_CONTENT)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd",
        "..\\..\\windows\\win.ini",
        "C:\\autoexec.bat",
        f"clip{OVERRIDE}4pm.exe",
        "clip\r\nX-Evil: 1.mp4",
        "a" * 200 + ".mp4",
        "अ" * 200 + ".mp4",
        '"; rm -rf /; ".mp4',
        "=HYPERLINK(1).mp4",
        "<script>alert(1)</script>.mp4",
        ".",
        "con",
    ],
)
def test_names_of_files_lead_nowhere_and_turn_nothing_around(
    as_owner: Client, clip: Path, name: str, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    file = SimpleUploadedFile("x", clip.read_bytes())
    # Past Django's own cleaning, as a raw request would send it.
    vars(file)["_name"] = name
    answer: Any = as_owner.post("/api/v1/analyses/", {"file": file})
    if answer.status_code == 400:
        # A header cannot hold it: nothing came in.
        assert not Media.objects.exists()
        return
    media = Media.objects.get()
    shown = media.original_name
    assert not set(shown) & set(f"/\\\r\n{OVERRIDE}")
    assert media.file.name == f"media/{media.public_id}/original"
    page = as_owner.get(f"/analyses/{Analysis.objects.get().public_id}/").content.decode()
    assert "<script>alert" not in page
    sent = as_owner.get(f"/media/{media.public_id}/file?download=1")
    assert sent["Content-Disposition"].startswith("attachment")
    assert "\n" not in sent["Content-Disposition"]
    assert all("\n" not in record.getMessage() for record in caplog.records)


def test_what_somebody_sent_begins_no_line_in_the_log() -> None:
    sent = f"a\r\n2026-01-01 INFO forged: {OVERRIDE}x\u2028y\x1b[31m"
    record = logging.LogRecord("sentinel", logging.WARNING, __file__, 1, "refused %s", (sent,), None)
    line = LineFormatter().format(record)
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert "forged" in line


@pytest.mark.parametrize("name", ["аdmin", "pаypal", f"asha{OVERRIDE}", "ash\u200ba", "Ωmega", "a\u200ba"])
def test_user_names_look_like_nobody_elses(name: str) -> None:
    """A Cyrillic a among Latin letters, invisible and direction-changing characters."""
    form = SignUpForm({"username": name, "email": "x@example.org", "password1": PASSWORD, "password2": PASSWORD})
    assert "username" in form.errors


@pytest.mark.parametrize("name", ["asha", "asha.k-1", "अमर", "José", "иван"])
def test_user_names_of_one_script_are_taken(name: str) -> None:
    form = SignUpForm({"username": name, "email": "x@example.org", "password1": PASSWORD, "password2": PASSWORD})
    assert "username" not in form.errors


def test_the_same_name_in_other_clothes_is_the_same_name(owner: User) -> None:
    """Full-width letters are the same after normalising (NFKC), and so is another case."""
    for name in ("ＯＷＮＥＲ", "Owner"):
        form = SignUpForm({"username": name, "email": "x@example.org", "password1": PASSWORD, "password2": PASSWORD})
        assert "username" in form.errors, name


def test_names_of_people_turn_no_page_around(owner: User) -> None:
    fields = {"first_name": f"A{OVERRIDE}sha\r\n", "last_name": "क्‍ष", "email": owner.email, "language": ""}
    form = ProfileForm(fields, instance=owner, confirm=lambda _: True)
    assert form.is_valid(), form.errors
    assert (form.cleaned_data["first_name"], form.cleaned_data["last_name"]) == ("Asha", clean_text("क्‍ष"))


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"])
def test_spreadsheets_run_nothing_of_an_export(owner: User, formula: str) -> None:
    from media_analysis import cases

    case = cases.open_case(owner, "A case", {})
    note = CaseNote.objects.create(case=case, author=owner, text=formula)
    cell = notes_csv([note]).decode("utf-8-sig").splitlines()[1].rpartition(",")[2].strip('"')
    assert cell[:1] not in set("=+-@\t\r")


# Where answers lead


@pytest.mark.parametrize("where", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "\thttps://evil.example"])  # fmt: skip  # noqa: E501
def test_nobody_is_led_to_another_site(owner: User, where: str) -> None:
    client = Client()
    answer: Any = client.post("/accounts/login/", {"username": "owner", "password": PASSWORD, "next": where})
    assert answer.status_code == 302
    assert answer["Location"].startswith("/")
    assert not answer["Location"].startswith(("//", "/\\"))
    answer = client.post("/accounts/language/", {"language": "hi", "next": where}, headers={"Referer": where})
    assert "evil" not in answer["Location"]


def test_a_made_up_host_gets_nothing_and_a_proxys_word_is_not_believed(owner: User, client: Client) -> None:
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    lies = {
        **{"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "444"},
        **{"X-Forwarded-For": "192.0.2.1", "Forwarded": "host=evil.example", "X-Original-URL": "/admin/"},
        **{"X-Rewrite-URL": "/admin/", "X-Host": "evil.example", "X-HTTP-Method-Override": "DELETE"},
    }
    for path in ("/", "/accounts/login/", "/check/", "/api/v1/models/", "/manifest.webmanifest"):
        answer: Any = client.get(path, headers=lies)
        assert answer.status_code == 200
        assert "evil.example" not in answer.content.decode()
        assert "evil.example" not in str(answer.headers)
    client.post("/accounts/password-reset/", {"email": owner.email}, headers=lies)
    send_mails()
    (sent,) = mail.outbox
    assert "evil" not in sent.body
    assert "http://testserver/" in sent.body


# What a session and a token may be used for


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
def test_a_form_of_another_site_cannot_pass_for_json(owner: User, content_type: str) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
    body = json.dumps({"title": "Mine"})
    answer = browser.generic("POST", "/api/v1/cases/", body, content_type=content_type)
    assert answer.status_code == 403


def test_nobody_makes_themselves_more_than_they_are(owner: User, as_owner: Client) -> None:
    more = {"is_staff": True, "is_superuser": True, "daily_limit": 999, "username": "root", "public_id": "0" * 24}
    answer = as_owner.patch("/api/v1/account/", {**more, "first_name": "Asha"}, content_type="application/json")
    assert answer.status_code in {200, 400}
    fields = {"email": "n@example.org", "password": PASSWORD, "is_active": False, "id": 1}
    send(Client(), "/users/signup", {**more, **fields, "username": "newcomer"})
    send(Client(), "/api/v1/account/", {**more, **fields, "username": "second", "email": "s@example.org"})
    for user in User.objects.all():
        assert not user.is_staff
        assert not user.is_superuser
        assert user.is_active
        assert user.daily_limit is None
        assert user.public_id != "0" * 24
    assert User.objects.count() == 3


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    for found in resolver.url_patterns:
        route = prefix + str(found.pattern)
        if isinstance(found, URLResolver):
            yield from routes(found, route)
        elif isinstance(found, URLPattern):
            yield route


def test_no_address_has_a_number_that_one_could_count_on_from() -> None:
    """But for the administration, a frame of a video, and one's own account on X."""
    counted = [
        route
        for route in routes(get_resolver())
        if re.search(r"<int:|<(?:str:|slug:)?(?:pk|id)>|\(\?P<(?:pk|id)>", route) and not route.startswith("admin/")
    ]
    assert sorted(counted) == sorted(
        [
            "analyses/<public_id:public_id>/live/<public_id:stream>/<int:frame>.jpg",
            "accounts/x/<int:twitter_id>/leave/",
        ]
    )


# Our own patterns


def own_patterns() -> Iterator[tuple[str, str | bytes]]:
    """Every pattern that stands in the code as it is: `re.…("…")` and `RegexValidator("…")`."""
    for folder in ("accounts", "media_analysis", "reports", "sentinel_site", "twitterbot", "ml/media"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call) or not node.args:
                    continue
                called = node.func
                of_re = (
                    isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "re"
                )
                if not of_re and getattr(called, "id", "") != "RegexValidator":
                    continue
                if isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str | bytes):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node.args[0].value


LENGTH = 1500
FILLINGS = ("a", "1", " ", "/", ".", "-", "@", "a.", "a ", "1:", '"', "\\", "=", "(", "http://", "a@", "\n")


def test_no_text_keeps_one_of_our_patterns_busy() -> None:
    patterns = list(own_patterns())
    assert len(patterns) > 30
    for where, pattern in patterns:
        compiled = re.compile(pattern)
        for filling in FILLINGS:
            text = "x" + (filling * LENGTH)[:LENGTH] + "!"
            given: Any = text.encode() if isinstance(pattern, bytes) else text
            begun = time.process_time()
            compiled.search(given)
            compiled.fullmatch(given[1:])
            assert time.process_time() - begun < 0.25, (where, filling)


def test_patterns_made_of_parts_are_quick_too() -> None:
    from media_analysis.case_details import validate_phone
    from media_analysis.link_addresses import TRACKING
    from media_analysis.safe_http import HOST_NAME
    from sentinel_site.logs import scrub

    begun = time.process_time()
    for filling in ("1", "(1", " 1", "a.", "-a", "a-", "token=", "a:", "session"):
        text = filling * 1000 + "!"
        HOST_NAME.search(text)
        TRACKING.search(text)
        scrub(text)
        assert isinstance(validate_phone, RegexValidator)
        re.search(validate_phone.regex, text)
        names.EARLIER.fullmatch(text)
    for filling in ("क्\u200d", "a\u200d", "\u200c", "a\u0323\u0301", "ﬃ", "\u0344"):
        with suppress(ValidationError):
            names.clean((filling * names.MAX_LENGTH)[: names.MAX_LENGTH])
    assert time.process_time() - begun < 2
