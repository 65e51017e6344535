"""What every kind of answer tells browsers, graded: pages, JSON, files, errors, redirects, the socket's handshake."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as site_settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client

from accounts import tokens
from media_analysis import cards
from media_analysis.models import Analysis
from sentinel_site import checks
from tests.conftest import make_user
from tests.media_analysis.factories import make_done, make_media
from tests.sentinel_site.test_outages import database_away
from tests.web_sockets import open_socket

ROOT = Path(__file__).resolve().parent.parent.parent
# Browsers and whatever lies between may keep these: they are the same for everybody, or have to be.
PUBLIC = {"static", "model picture", "card picture"}
NOT_STORED = {"page", "original", "range", "log-in", "400", "403", "404", "405", "413", "429", "500", "503", "json 404"}


@dataclass(frozen=True)
class World:
    owner: Client
    nobody: Client
    access: str
    analysis: Analysis


def make_world(settings: Any) -> World:
    user = make_user("asha")
    owner = Client(raise_request_exception=False)
    owner.force_login(user, backend="accounts.backends.UsernameOrEmailBackend")
    analysis = make_done(user)
    analysis.evidence = [default_storage.save(f"analyses/{analysis.public_id}/1/frame-9.jpg", ContentFile(b"jpeg"))]
    analysis.save()
    return World(owner, Client(raise_request_exception=False), tokens.log_in(user).access, analysis)


def too_often(world: World) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site_settings, "SENTINEL_API_RATE_ANONYMOUS", "1/hour")
        world.nobody.get("/api/v1/models/", REMOTE_ADDR="192.0.2.77")
        return world.nobody.get("/api/v1/models/", REMOTE_ADDR="192.0.2.77")


def broken(world: World) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a secret")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("media_analysis.views.selectors.own_analyses", fail)
        return world.owner.get("/analyses/")


def away(world: World) -> Any:
    with database_away():
        return world.owner.get("/analyses/")


def disguised(world: World) -> Any:
    """Markup that somebody got in as a video, if the probe ever failed to notice."""
    name = default_storage.save("media/x/original", ContentFile(b"<svg onload='alert(1)'>"))
    media = make_media(
        world.analysis.media.owner, file=name, original_name="evil.svg", container="svg_pipe", codec="svg"
    )
    return world.owner.get(f"/media/{media.public_id}/file")


def card_picture(world: World) -> Any:
    card = cards.publish(world.analysis, by=world.analysis.media.owner)
    return world.nobody.get(f"/r/{card.public_id}.png")


Ask = Callable[[World], Any]
ANSWERS: dict[str, tuple[int, Ask]] = {
    "page": (200, lambda w: w.owner.get(f"/analyses/{w.analysis.public_id}/")),
    "front": (200, lambda w: w.nobody.get("/")),
    "log-in": (200, lambda w: w.nobody.get("/accounts/login/")),
    "admin": (302, lambda w: w.owner.get("/admin/")),
    "redirect": (302, lambda w: w.nobody.get("/analyses/")),
    "json": (200, lambda w: w.owner.get("/api/v1/analyses/")),
    "json by token": (
        200,
        lambda w: w.nobody.get("/api/v1/account/", headers={"Authorization": f"Bearer {w.access}"}),
    ),
    "tokens": (
        200,
        lambda w: w.nobody.post(
            "/api/v1/tokens/",
            {"username": "asha", "password": "a long and unlikely one"},
            content_type="application/json",
        ),
    ),
    "original": (200, lambda w: w.owner.get(f"/media/{w.analysis.media.public_id}/file")),
    "range": (
        206,
        lambda w: w.owner.get(f"/media/{w.analysis.media.public_id}/file", headers={"Range": "bytes=1-2"}),
    ),
    "disguised": (200, disguised),
    "picture": (200, lambda w: w.owner.get(f"/analyses/{w.analysis.public_id}/evidence/frame-9.jpg")),
    "card picture": (200, card_picture),
    "check": (200, lambda w: w.nobody.get("/check/")),
    "manifest": (200, lambda w: w.nobody.get("/manifest.webmanifest")),
    "service worker": (200, lambda w: w.nobody.get("/service-worker.js")),
    "api docs": (200, lambda w: w.nobody.get("/api/docs/")),
    "redoc": (200, lambda w: w.nobody.get("/api/docs/redoc/")),
    "schema": (200, lambda w: w.nobody.get("/api/schema/")),
    "400": (400, lambda w: w.owner.get("/analyses/", headers={"Host": "evil.example"})),
    "403": (403, lambda w: Client(enforce_csrf_checks=True).post("/accounts/login/", {})),
    "404": (404, lambda w: w.owner.get("/no/such/page/")),
    "json 404": (404, lambda w: w.owner.get("/api/v1/nothing/")),
    "405": (405, lambda w: w.owner.put("/analyses/")),
    "429": (429, too_often),
    "500": (500, broken),
    "503": (503, away),
}


@pytest.mark.django_db
def test_every_answer_protects_its_reader(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    world = make_world(settings)
    for name, (status, ask) in ANSWERS.items():
        answer = ask(world)
        headers = answer.headers
        assert answer.status_code == status, name
        policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
        assert "unsafe-inline" not in str(policy), name
        assert "unsafe-eval" not in str(policy), name
        assert "*" not in str(policy), name
        assert "http:" not in str(policy), name
        assert policy["frame-ancestors"] == "'none'", name
        assert policy["default-src"] in {"'self'", "'none'"}, name
        if policy["default-src"] == "'self'":
            assert policy["object-src"] == policy["base-uri"] == "'none'", name
            assert policy["form-action"] == "'self'", name
        assert headers["X-Content-Type-Options"] == "nosniff", name
        assert headers["X-Frame-Options"] == "DENY", name
        assert headers["Referrer-Policy"] == "same-origin", name
        assert "camera=()" in headers["Permissions-Policy"], name
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin", name
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin", name
        assert "Server" not in headers, name
        assert "X-Powered-By" not in headers, name
        kept = headers["Cache-Control"]
        if name in PUBLIC:
            assert "public" in kept, name
            assert not answer.cookies, name
        else:
            assert "public" not in kept, name
            assert "private" in kept or "no-store" in kept or "no-cache" in kept, name
        if name in NOT_STORED:
            assert "no-store" in kept, name
        for cookie in answer.cookies.values():
            assert cookie["samesite"] == "Lax", (name, cookie)
        if "text/html" not in headers.get("Content-Type", "") and name not in {"redirect", "admin", "400", "405"}:
            assert "charset" in headers["Content-Type"] or not headers["Content-Type"].startswith("text/"), name


@pytest.mark.django_db
def test_what_came_in_from_strangers_never_runs_here(settings: Any) -> None:
    answer = disguised(make_world(settings))
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer["Content-Security-Policy"].startswith("sandbox")


@pytest.mark.django_db
def test_static_files_carry_them_too(client: Client) -> None:
    """As whitenoise hands them out: middleware outside of it says what it does not."""
    from sentinel_site.headers import SecurityHeaders

    assert site_settings.MIDDLEWARE[0] == "sentinel_site.headers.SecurityHeaders"
    assert site_settings.MIDDLEWARE.index("whitenoise.middleware.WhiteNoiseMiddleware") > 0
    from django.http import HttpRequest, HttpResponse

    static = HttpResponse(b"a{}", content_type="text/css", headers={"Cache-Control": "public, immutable"})
    answer = SecurityHeaders(lambda _: static)(HttpRequest())
    assert answer["Cache-Control"] == "public, immutable"
    assert answer["Content-Security-Policy"].startswith("default-src 'none'")
    assert site_settings.WHITENOISE_ALLOW_ALL_ORIGINS is False


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", None])
def test_pages_of_other_sites_open_no_socket(origin: str | None) -> None:
    path = "/ws/analyses/" + "0" * 24 + "/"
    assert async_to_sync(open_socket)(path, origin=origin) is False
    # Nobody is logged in, and is told so through the socket.
    assert async_to_sync(open_socket)(path, origin="http://localhost") == 4401


def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Settings are made from the environment at the start: in a process of its own."""
    names = ("SENTINEL_URL", "SENTINEL_HTTPS", "SENTINEL_HSTS_SECONDS", "ALLOWED_HOSTS", "SENTINEL_BEHIND_PROXY")
    env = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", code] if code else [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**env, "DJANGO_SETTINGS_MODULE": "sentinel_site.settings", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_documented_settings_of_a_public_site_pass_djangos_check(tmp_path: Path) -> None:
    """`manage.py check --deploy` finds nothing, and cookies and HSTS follow from the address alone."""
    found = run(
        "import django; django.setup()\n"
        "from django.conf import settings as s\n"
        "from django.core.management import call_command\n"
        "call_command('check', deploy=True, fail_level='WARNING')\n"
        "print(s.SECURE_HSTS_SECONDS, s.SECURE_SSL_REDIRECT, s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE,"
        " s.LANGUAGE_COOKIE_SECURE, s.SESSION_COOKIE_HTTPONLY, s.SECURE_HSTS_INCLUDE_SUBDOMAINS,"
        " s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME)",
        SENTINEL_DATA_DIR=str(tmp_path),
        SENTINEL_URL="https://sentinel.example.org",
        ALLOWED_HOSTS="sentinel.example.org",
        SENTINEL_BEHIND_PROXY="true",
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip().endswith("31536000 True True True True True True __Host-sessionid __Host-csrftoken")


def test_settings_that_leave_a_site_open_are_told(settings: Any) -> None:
    def told(**changes: Any) -> list[str]:
        for name, value in {"ALLOWED_HOSTS": ["localhost", "127.0.0.1", "[::1]"], **changes}.items():
            setattr(settings, name, value)
        return [str(message.id) for message in checks.check_openness()]

    assert told() == []
    assert told(DEBUG=True) == []
    assert told(DEBUG=True, ALLOWED_HOSTS=["site.example"], SENTINEL_HTTPS=True) == ["sentinel_site.W001"]
    assert told(DEBUG=False, ALLOWED_HOSTS=["site.example"], SENTINEL_HTTPS=False) == ["sentinel_site.W002"]
    assert told(ALLOWED_HOSTS=["*"], SENTINEL_HTTPS=True) == ["sentinel_site.W003"]
    assert told(SENTINEL_URL="https://site.example", SENTINEL_HTTPS=False) == ["sentinel_site.W004"]


def test_the_web_server_is_started_without_its_name() -> None:
    line = next(line for line in (ROOT / "supervisord.conf").read_text().splitlines() if "uvicorn" in line)
    assert "--no-server-header" in line
    assert "--http sentinel_site.http_server:BoundedHttp" in line
