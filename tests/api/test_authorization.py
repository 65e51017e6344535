"""Who may do what: every endpoint of the API, asked by everybody there can be.

The table is complete: the resolver is walked, and an address or method without a row fails.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admindocs.views import simplify_regex
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.signals import request_finished
from django.db import close_old_connections, transaction
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from PIL import Image
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken

from accounts import services, tokens
from accounts.answers import is_api
from accounts.models import AppSession, PushDevice, User
from media_analysis import cards, cases, resumable
from media_analysis.evidence import LABELLED_NAME
from media_analysis.models import Analysis, Case, CaseRole, Media, Notification, Submission
from reports import case_documents
from reports.models import CaseDocument
from tests.conftest import PASSWORD, make_user
from tests.media_analysis.factories import make_analysis, make_done, make_feedback, make_media
from tests.web_sockets import open_socket

pytestmark = pytest.mark.django_db

CALLERS = ("anonymous", "expired", "revoked", "stranger", "staff", "owner")
METHODS = {"get", "post", "put", "patch", "delete", "head"}


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    body: Any = None
    multipart: bool = False
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class World:
    """What the owner has. Everybody else asks for exactly that."""

    owner: User
    video: Analysis
    image: Analysis
    failed: Analysis
    upload: str
    session: AppSession
    refresh: str
    device: PushDevice
    notification: Notification
    clip: bytes
    photo: bytes


def make_world(clip: Path, photo: Path) -> World:
    owner, picture = make_user("owner"), photo.read_bytes()
    video = make_done(owner)
    video.evidence = [default_storage.save(f"analyses/{video.public_id}/1/frame-9.jpg", ContentFile(picture))]
    video.save()
    image = make_done(owner, media=make_media(owner, kind=Media.Kind.IMAGE, original_name="p.jpg", container="jpeg"))
    image.evidence = [default_storage.save(f"analyses/{image.public_id}/1/{LABELLED_NAME}", ContentFile(picture))]
    image.save()
    for done in (video, image):
        Submission.objects.create(media=done.media, submitted_by=owner, source=Submission.Source.API)
    failed = make_analysis(owner, status=Analysis.Status.FAILED, error_code="internal_error", spent=False)
    pair = tokens.log_in(owner, device="Another device")
    return World(
        owner=owner,
        video=video,
        image=image,
        failed=failed,
        upload=resumable.begin_upload(owner=owner, size=5).public_id,
        session=AppSession.objects.get(user=owner),
        refresh=pair.refresh,
        device=PushDevice.objects.create(user=owner, endpoint="https://push.example.net/1", p256dh="k", auth="a"),
        notification=Notification.objects.create(
            user=owner, analysis=video, kind=Notification.Kind.DONE, finished_at=timezone.now()
        ),
        clip=clip.read_bytes(),
        photo=picture,
    )


Ask = Callable[[World], Request]
# Statuses for: nobody, an expired token, a revoked token, a stranger, an administrator, the owner.
Row = tuple[Ask, tuple[int, int, int, int, int, int]]


def everybody(ask: Ask, status: int = 200) -> Row:
    """Tokens are not even looked at."""
    return ask, (status,) * 6


def own(ask: Ask, status: int = 200) -> Row:
    """Whoever is logged in meets their own."""
    return ask, (401, 401, 401, status, status, status)


def hidden(ask: Ask, status: int = 200) -> Row:
    """Others are told that there is nothing, administrators too."""
    return ask, (401, 401, 401, 404, 404, status)


def forbidden(ask: Ask, status: int = 200) -> Row:
    """The phone apps' contract: others are told that it is not theirs."""
    return ask, (401, 401, 401, 403, 403, status)


def at(path: str, body: Any = None, **options: Any) -> Ask:
    return lambda world: Request(path, body, **options)


TUS = {"Tus-Resumable": "1.0.0"}
SIGN_UP = {"username": "newcomer", "email": "newcomer@example.org", "password": PASSWORD}
LOG_IN = {"username": "owner", "password": PASSWORD}
KEYS = {"p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4", "auth": "BTBZMqHH6r4Tts7J_aSIgg"}  # fmt: skip  # noqa: E501
PUSH_DEVICE = {"endpoint": "https://push.example.net/send/2", "keys": KEYS}


def user_of(world: World, **more: str) -> dict[str, str]:
    return {"userId": world.owner.public_id, **more}


def analysis(world: World, rest: str = "") -> str:
    return f"/api/v1/analyses/{world.video.public_id}/{rest}"


def upload(world: World) -> str:
    return f"/api/v1/uploads/{world.upload}/"


def picture_file(world: World) -> str:
    return f"image-{world.image.media.public_id}.jpg"


TABLE: dict[str, Row] = {
    # The phone apps' eleven
    "POST /users/signup": everybody(at("/users/signup", SIGN_UP)),
    "POST /users/login": everybody(at("/users/login", LOG_IN)),
    "POST /classify": forbidden(lambda w: Request("/classify", user_of(w) | {"video": w.clip}, multipart=True)),
    "POST /fetch-history": forbidden(lambda w: Request("/fetch-history", user_of(w))),
    "GET /pdf": forbidden(lambda w: Request(f"/pdf?videoId={w.video.media.public_id}")),
    "GET /pdf-image": forbidden(lambda w: Request(f"/pdf-image?imageId={w.image.media.public_id}")),
    "POST /remove": forbidden(lambda w: Request("/remove", {"videoId": w.video.media.public_id})),
    "POST /remove/image": forbidden(
        lambda w: Request("/remove/image", {"imageId": w.image.media.public_id, "imageFile": picture_file(w)})
    ),
    "POST /get-image": forbidden(lambda w: Request("/get-image", user_of(w) | {"image": w.photo}, multipart=True)),
    "GET /get-image": forbidden(lambda w: Request(f"/get-image?imageId={w.image.media.public_id}")),
    "GET /get-image/image": forbidden(lambda w: Request(f"/get-image/image?imageFile={picture_file(w)}")),
    # Tokens and devices
    "POST /api/v1/tokens/": everybody(at("/api/v1/tokens/", LOG_IN)),
    # The refresh token in the body is who asks.
    "POST /api/v1/tokens/refresh/": everybody(lambda w: Request("/api/v1/tokens/refresh/", {"refresh": w.refresh})),
    "POST /api/v1/tokens/revoke/": everybody(lambda w: Request("/api/v1/tokens/revoke/", {"refresh": w.refresh}), 204),
    "GET /api/v1/sessions/": own(at("/api/v1/sessions/")),
    "DELETE /api/v1/sessions/": own(at("/api/v1/sessions/"), 204),
    "DELETE /api/v1/sessions/<public_id>/": hidden(lambda w: Request(f"/api/v1/sessions/{w.session.public_id}/"), 204),
    # The account
    "POST /api/v1/account/": everybody(at("/api/v1/account/", SIGN_UP), 201),
    "GET /api/v1/account/": own(at("/api/v1/account/")),
    "PATCH /api/v1/account/": own(at("/api/v1/account/", {"first_name": "Asha"})),
    "PUT /api/v1/account/password/": own(
        at("/api/v1/account/password/", {"old_password": PASSWORD, "new_password": "quite another long one"})
    ),
    "POST /api/v1/account/delete/": own(at("/api/v1/account/delete/", {"password": PASSWORD}), 204),
    "GET /api/v1/push-devices/": own(at("/api/v1/push-devices/")),
    "POST /api/v1/push-devices/": own(at("/api/v1/push-devices/", PUSH_DEVICE), 201),
    "DELETE /api/v1/push-devices/<public_id>/": hidden(
        lambda w: Request(f"/api/v1/push-devices/{w.device.public_id}/"), 204
    ),
    # Analyses
    "GET /api/v1/analyses/": own(at("/api/v1/analyses/")),
    "POST /api/v1/analyses/": own(lambda w: Request("/api/v1/analyses/", {"file": w.clip}, multipart=True), 201),
    "GET /api/v1/analyses/<public_id>/": hidden(lambda w: Request(analysis(w))),
    "DELETE /api/v1/analyses/<public_id>/": hidden(lambda w: Request(analysis(w))),
    "GET /api/v1/analyses/<public_id>/progress/": hidden(lambda w: Request(analysis(w, "progress/"))),
    "POST /api/v1/analyses/<public_id>/retry/": hidden(
        lambda w: Request(f"/api/v1/analyses/{w.failed.public_id}/retry/"), 202
    ),
    "GET /api/v1/analyses/<public_id>/media/": hidden(lambda w: Request(analysis(w, "media/"))),
    "GET /api/v1/analyses/<public_id>/pictures/": hidden(lambda w: Request(analysis(w, "pictures/"))),
    "GET /api/v1/analyses/<public_id>/pictures/<name>": hidden(lambda w: Request(analysis(w, "pictures/frame-9.jpg"))),
    "GET /api/v1/analyses/<public_id>/feedback/": hidden(lambda w: Request(with_feedback(w))),
    "PUT /api/v1/analyses/<public_id>/feedback/": hidden(
        lambda w: Request(analysis(w, "feedback/"), {"opinion": "agree"})
    ),
    "GET /api/v1/analyses/<public_id>/report/": hidden(lambda w: Request(analysis(w, "report/"))),
    "GET /api/v1/analyses/<public_id>/package/": hidden(lambda w: Request(with_its_file(w))),
    "GET /api/v1/analyses/<public_id>/card/": hidden(lambda w: Request(with_card(w))),
    "POST /api/v1/analyses/<public_id>/card/": hidden(lambda w: Request(analysis(w, "card/"))),
    "DELETE /api/v1/analyses/<public_id>/card/": hidden(lambda w: Request(with_card(w)), 204),
    "POST /api/v1/check/": everybody(at("/api/v1/check/", {"sha256": "0" * 64})),
    "GET /api/v1/receipts/": own(at("/api/v1/receipts/")),
    # Cases: the stranger and the administrator are in none
    "GET /api/v1/cases/": own(at("/api/v1/cases/")),
    "POST /api/v1/cases/": own(at("/api/v1/cases/", {"title": "Mine"}), 201),
    "GET /api/v1/cases/<public_id>/": hidden(lambda w: Request(case_path(w))),
    "PATCH /api/v1/cases/<public_id>/": hidden(lambda w: Request(case_path(w), {"title": "Another"})),
    "DELETE /api/v1/cases/<public_id>/": hidden(lambda w: Request(case_path(w)), 204),
    "GET /api/v1/cases/<public_id>/media/": hidden(lambda w: Request(case_path(w, "media/"))),
    "POST /api/v1/cases/<public_id>/media/": hidden(
        lambda w: Request(case_path(w, "media/"), {"media": [w.image.media.public_id]})
    ),
    "DELETE /api/v1/cases/<public_id>/media/<media_id>/": hidden(
        lambda w: Request(case_path(w, f"media/{w.video.media.public_id}/")), 204
    ),
    "GET /api/v1/cases/<public_id>/notes/": hidden(lambda w: Request(case_path(w, "notes/"))),
    "POST /api/v1/cases/<public_id>/notes/": hidden(lambda w: Request(case_path(w, "notes/"), {"text": "Seen."}), 201),
    "GET /api/v1/cases/<public_id>/members/": hidden(lambda w: Request(case_path(w, "members/"))),
    "POST /api/v1/cases/<public_id>/members/": hidden(
        lambda w: Request(case_path(w, "members/"), {"who": "ravi", "role": "viewer"}), 202
    ),
    "PUT /api/v1/cases/<public_id>/members/<user_id>/": hidden(lambda w: Request(member_path(w), {"role": "viewer"})),
    "DELETE /api/v1/cases/<public_id>/members/<user_id>/": hidden(lambda w: Request(member_path(w)), 204),
    "GET /api/v1/cases/<public_id>/documents/": hidden(lambda w: Request(case_path(w, "documents/"))),
    "POST /api/v1/cases/<public_id>/documents/": hidden(
        lambda w: Request(case_path(w, "documents/"), {"kind": "report"}), 202
    ),
    "GET /api/v1/cases/<public_id>/documents/<document_id>/": hidden(lambda w: Request(a_document(w.owner))),
    "GET /api/v1/cases/<public_id>/documents/<document_id>/file/": hidden(
        lambda w: Request(f"{a_document(w.owner)}file/")
    ),
    "GET /api/v1/case-invitations/": own(at("/api/v1/case-invitations/")),
    "DELETE /api/v1/case-invitations/<public_id>/": hidden(
        lambda w: Request(f"/api/v1/case-invitations/{an_invitation(w)}/"), 204
    ),
    "POST /api/v1/case-invitations/<public_id>/accept/": hidden(
        lambda w: Request(f"/api/v1/case-invitations/{an_invitation(w)}/accept/")
    ),
    # Uploads
    "GET /api/v1/uploads/": own(at("/api/v1/uploads/")),
    "POST /api/v1/uploads/": own(at("/api/v1/uploads/", headers={**TUS, "Upload-Length": "5"}), 201),
    "GET /api/v1/uploads/<public_id>/": hidden(lambda w: Request(upload(w))),
    "HEAD /api/v1/uploads/<public_id>/": hidden(lambda w: Request(upload(w), headers=TUS)),
    "PATCH /api/v1/uploads/<public_id>/": hidden(
        lambda w: Request(
            upload(w),
            b"bytes",
            headers={**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"},
        ),
        204,
    ),
    "DELETE /api/v1/uploads/<public_id>/": hidden(lambda w: Request(upload(w), headers=TUS), 204),
    # Notifications
    "GET /api/v1/notifications/": own(at("/api/v1/notifications/")),
    "GET /api/v1/notifications/state/": own(at("/api/v1/notifications/state/")),
    "POST /api/v1/notifications/read/": own(at("/api/v1/notifications/read/"), 204),
    "POST /api/v1/notifications/<public_id>/read/": hidden(
        lambda w: Request(f"/api/v1/notifications/{w.notification.public_id}/read/"), 204
    ),
    # For everybody
    "GET /api/v1/live/": everybody(at("/api/v1/live/")),
    "GET /api/v1/ready/": everybody(at("/api/v1/ready/")),
    # No worker runs here, which it says with the same body.
    "GET /api/v1/health/": everybody(at("/api/v1/health/"), 503),
    "GET /api/v1/models/": everybody(at("/api/v1/models/")),
    "GET /api/v1/models/<name>/": everybody(at("/api/v1/models/sentinel-lite/")),
    "GET /api/schema/": everybody(at("/api/schema/")),
    "GET /api/docs/": everybody(at("/api/docs/")),
    "GET /api/docs/redoc/": everybody(at("/api/docs/redoc/")),
}


def case_path(world: World, rest: str = "") -> str:
    """A case of the owner with a file in it."""
    case = cases.open_case(world.owner, "A case", {})
    cases.add_media(cases.take_seat(world.owner, case.public_id), [world.video.media.public_id])
    return f"/api/v1/cases/{case.public_id}/{rest}"


def a_document(user: User, case: Case | None = None) -> str:
    """The address of a report that was made for somebody in a case."""
    seat = cases.take_seat(user, (case or cases.open_case(user, "A case", {})).public_id)
    made, _is_new = case_documents.ask_for(seat, "report", "en")
    stored = default_storage.save(f"documents/{made.public_id}/1.pdf", ContentFile(b"%PDF-"))
    CaseDocument.objects.filter(pk=made.pk).update(
        state="ready", slot=made.public_id, file=stored, sha256="0" * 64, size=5, finished_at=timezone.now()
    )
    return f"/api/v1/cases/{seat.case.public_id}/documents/{made.public_id}/"


def member_path(world: World) -> str:
    """Somebody who is in a case of the owner."""
    case = cases.open_case(world.owner, "A case", {})
    seat, member = cases.take_seat(world.owner, case.public_id), make_user("member")
    cases.accept_invitation(member, cases.invite(seat, "member", CaseRole.EXAMINER).public_id)
    return f"/api/v1/cases/{case.public_id}/members/{member.public_id}/"


def an_invitation(world: World) -> str:
    """To the owner, from somebody else."""
    case = cases.open_case(make_user("colleague"), "Theirs", {})
    return cases.invite(cases.take_seat(case.owner, case.public_id), "owner", CaseRole.VIEWER).public_id


def with_feedback(world: World) -> str:
    make_feedback(world.video)
    return analysis(world, "feedback/")


def with_card(world: World) -> str:
    cards.publish(world.video, by=world.owner)
    return analysis(world, "card/")


def with_its_file(world: World) -> str:
    """What is handed out as evidence must be what was received."""
    world.video.media.sha256 = hashlib.sha256(b"bytes").hexdigest()
    world.video.media.save(update_fields=["sha256"])
    return analysis(world, "package/")


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for found in resolver.url_patterns:
        route = prefix + str(found.pattern)
        if isinstance(found, URLResolver):
            yield from routes(found, route)
        elif isinstance(found, URLPattern):
            yield readable(route), found.callback


def readable(route: str) -> str:
    """The route with its variables in angle brackets; of one that a slash may end, the way without."""
    route = re.sub(r"<\w+:(\w+)>", r"<\1>", route)
    return simplify_regex(route.removesuffix("/?$")) if "^" in route else f"/{route}"


def endpoints() -> set[str]:
    """ "METHOD /path" of everything that programs may call."""
    found: set[str] = set()
    for route, callback in routes(get_resolver()):
        if not is_api(route):
            continue
        if actions := getattr(callback, "actions", None):
            methods = set(actions) - {"head"}
        else:
            view = getattr(callback, "cls", None) or getattr(callback, "view_class", None)
            assert view is not None, f"{route}: not a class-based view"
            methods = {name for name in METHODS if hasattr(view, name) and name in view.http_method_names}
            # A view with its own idea of HEAD is asked for it, Django's own copy of GET is not.
            if "head" in methods and "head" not in vars(view):
                methods.discard("head")
        found |= {f"{method.upper()} {route}" for method in methods}
    return found


def test_every_endpoint_has_a_row() -> None:
    assert endpoints() - set(TABLE) == set(), "say in TABLE who may call it"
    assert set(TABLE) - endpoints() == set(), "these are gone"


def bearer(access: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {access}"}


def expired_token(user: User) -> str:
    access = AccessToken(tokens.log_in(user).access)  # type: ignore[arg-type]
    access.set_exp(from_time=timezone.now() - timedelta(days=1), lifetime=timedelta(hours=1))
    assert api_settings.USER_ID_CLAIM in access
    return str(access)


def revoked_token(user: User) -> str:
    pair = tokens.log_in(user)
    tokens.end_session(AccessToken(pair.access)[tokens.SESSION_CLAIM])  # type: ignore[arg-type]
    return pair.access


def headers_of(caller: str, world: World) -> dict[str, str]:
    match caller:
        case "anonymous":
            return {}
        case "expired":
            return bearer(expired_token(world.owner))
        case "revoked":
            return bearer(revoked_token(world.owner))
        case "owner":
            return bearer(tokens.log_in(world.owner).access)
    return bearer(tokens.log_in(User.objects.get(username=caller)).access)


def send(method: str, asked: Request, headers: dict[str, str]) -> Any:
    headers = {**headers, **asked.headers}
    content_type = headers.pop("Content-Type", "application/json")
    body: Any = b""
    if isinstance(asked.body, bytes):
        body = asked.body
    elif asked.multipart:
        content_type = MULTIPART_CONTENT
        fields = {
            name: ContentFile(value, name="sent.bin") if isinstance(value, bytes) else value
            for name, value in asked.body.items()
        }
        body = encode_multipart(BOUNDARY, fields)
    elif asked.body is not None:
        body = json.dumps(asked.body)
    client = Client(raise_request_exception=False)
    return client.generic(method, asked.path, body, content_type=content_type, headers=headers)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_everybody_is_answered_as_the_table_says(name: str, clip: Path, photo: Path) -> None:
    ask, statuses = TABLE[name]
    world = make_world(clip, photo)
    make_user("stranger")
    make_user("staff", is_staff=True, is_superuser=True)
    asked = ask(world)
    expected = dict(zip(CALLERS, statuses, strict=True))
    got = {}
    for caller in CALLERS:
        # What one does is undone before the next; the owner comes last, since files stay deleted.
        with transaction.atomic():
            answer = send(name.split(maxsplit=1)[0], asked, headers_of(caller, world))
            got[caller] = answer.status_code
            if 400 <= answer.status_code < 500 and not name.startswith("HEAD"):
                assert set(answer.json()) >= {"code", "message", "success", "error"}, caller
            if answer.status_code == 401:
                assert re.match(r'Bearer realm="api"', answer["WWW-Authenticate"]), caller
            transaction.set_rollback(True)
    assert got == expected


# Files, pictures, papers and the live view: who sees them of those whom a case connects, and who does not any more


@dataclass(slots=True)
class Shared:
    """A finished and a waiting analysis of a file in a case: the file of an examiner, the case of somebody else."""

    done: Analysis
    waiting: Analysis
    case: str
    document: str
    card: str
    withdrawn: str
    callers: dict[str, Client]
    bearers: dict[str, str]


ROLES = (
    *("anonymous", "stranger", "owner", "viewer", "examiner", "case owner", "staff"),
    *("put out", "inactive", "deleted", "timed out", "ended"),
)
NOBODY = {"anonymous", "inactive", "deleted", "timed out", "ended"}
MEMBERS = {"owner", "viewer", "examiner", "case owner"}
# What was made for one member is not there for the others.
ITS_MAKER = {"viewer"}
LOG_IN_FIRST, NOT_THERE, ONLY_LOOK = {"page": 302, "api": 401, "socket": 4401}, 404, 403

# Address → statuses of those who may; where only some of the members may, of the others too.
SHARED: dict[str, tuple[Callable[[Shared], str], int, set[str]]] = {
    "original": (lambda s: f"/media/{s.done.media.public_id}/file", 200, MEMBERS),
    "original, taken away": (lambda s: f"/media/{s.done.media.public_id}/file?download=1", 200, MEMBERS),
    "range": (lambda s: f"/media/{s.done.media.public_id}/file#bytes=1-2", 206, MEMBERS),
    "range beyond": (lambda s: f"/media/{s.done.media.public_id}/file#bytes=99-", 416, MEMBERS),
    "original by API": (lambda s: f"/api/v1/analyses/{s.done.public_id}/media/", 200, MEMBERS),
    "range by API": (lambda s: f"/api/v1/analyses/{s.done.public_id}/media/#bytes=0-1", 206, MEMBERS),
    "picture": (lambda s: f"/analyses/{s.done.public_id}/evidence/frame-9.jpg", 200, MEMBERS),
    "picture by API": (lambda s: f"/api/v1/analyses/{s.done.public_id}/pictures/frame-9.jpg", 200, MEMBERS),
    "sampled frame": (lambda s: f"/analyses/{s.waiting.public_id}/live/{'1' * 24}/0.jpg", 200, MEMBERS),
    "result": (lambda s: f"/analyses/{s.done.public_id}/", 200, MEMBERS),
    "result by API": (lambda s: f"/api/v1/analyses/{s.done.public_id}/", 200, MEMBERS),
    "custody log": (lambda s: f"/media/{s.done.media.public_id}/custody/", 200, MEMBERS),
    "polling": (lambda s: f"/api/v1/analyses/{s.waiting.public_id}/progress/", 200, MEMBERS),
    "case": (lambda s: f"/cases/{s.case}/", 200, MEMBERS),
    "documents of the case": (lambda s: f"/cases/{s.case}/documents/", 200, MEMBERS),
    "documents by API": (lambda s: f"/api/v1/cases/{s.case}/documents/", 200, MEMBERS),
    "somebody's report of the case": (lambda s: f"{s.document.removeprefix('/api/v1')}file", 200, ITS_MAKER),
    "the same by API": (lambda s: f"{s.document}file/", 200, ITS_MAKER),
    "deletion": (lambda s: f"/media/{s.done.media.public_id}/delete/", 200, {"owner"}),
}
# These are made, which takes a second each.
PAPERS: dict[str, tuple[Callable[[Shared], str], int, set[str]]] = {
    "report": (lambda s: f"/analyses/{s.done.public_id}/report.pdf", 200, MEMBERS),
    "report by API": (lambda s: f"/api/v1/analyses/{s.done.public_id}/report/", 200, MEMBERS),
    "package": (lambda s: f"/analyses/{s.done.public_id}/package.zip", 200, MEMBERS),
    "package by API": (lambda s: f"/api/v1/analyses/{s.done.public_id}/package/", 200, MEMBERS),
}


def make_shared() -> Shared:
    people = {
        name: make_user(name.replace(" ", "-"), is_staff=name == "staff", is_superuser=name == "staff")
        for name in ROLES
        if name not in {"anonymous", "timed out", "ended"}
    }
    people["timed out"] = people["ended"] = people["owner"]
    clients = {name: Client(raise_request_exception=False) for name in ROLES}
    for name, user in people.items():
        clients[name].force_login(user, backend="accounts.backends.UsernameOrEmailBackend")
    bearers = {name: tokens.log_in(user).access for name, user in people.items() if name != "timed out"}
    bearers["timed out"] = expired_token(people["owner"])

    case = cases.open_case(people["case owner"], "A case", {})
    seat = cases.take_seat(people["case owner"], case.public_id)
    roles = {"owner": CaseRole.EXAMINER, "examiner": CaseRole.EXAMINER, "viewer": CaseRole.VIEWER}
    for name in ("owner", "viewer", "examiner", "put out", "inactive", "deleted"):
        invited = cases.invite(seat, people[name].username, roles.get(name, CaseRole.EXAMINER))
        cases.accept_invitation(people[name], invited.public_id)

    media = make_media(people["owner"], sha256=hashlib.sha256(b"bytes").hexdigest())
    done = make_done(people["owner"], media=media)
    done.evidence = [default_storage.save(f"analyses/{done.public_id}/1/frame-9.jpg", ContentFile(a_picture()))]
    done.save()
    Submission.objects.create(media=media, submitted_by=people["owner"], source=Submission.Source.WEB)
    waiting = make_analysis(people["owner"], spent=False)
    default_storage.save(f"analyses/{waiting.public_id}/{'1' * 24}/preview-0.jpg", ContentFile(a_picture()))
    cases.add_media(cases.take_seat(people["owner"], case.public_id), [media.public_id, waiting.media.public_id])

    document = a_document(people["viewer"], case)
    first = cards.publish(done, by=people["owner"])
    cards.withdraw(first, by=people["owner"])
    second = cards.publish(done, by=people["owner"])

    cases.remove_member(seat, people["put out"].public_id)
    User.objects.filter(pk=people["inactive"].pk).update(is_active=False)
    services.close_account(people["deleted"])
    session = clients["timed out"].session
    session.set_expiry(-1)
    session.save()
    clients["ended"].get("/accounts/logout/")
    clients["ended"].session.flush()
    tokens.end_session(AccessToken(bearers["ended"])[tokens.SESSION_CLAIM])  # type: ignore[arg-type]
    return Shared(done, waiting, case.public_id, document, second.public_id, first.public_id, clients, bearers)


def a_picture() -> bytes:
    picture = io.BytesIO()
    Image.new("RGB", (32, 32), "teal").save(picture, "JPEG")
    return picture.getvalue()


def expected_of(role: str, kind: str, status: int, may: set[str]) -> int:
    if role in NOBODY:
        return LOG_IN_FIRST[kind]
    if role in may:
        return status
    return ONLY_LOOK if role in MEMBERS and may is not ITS_MAKER else NOT_THERE


def ask_as(shared: Shared, role: str, address: str, *, by_token: bool, method: str = "GET") -> int:
    path, _, byte_range = address.partition("#")
    headers = {"Range": byte_range} if byte_range else {}
    client = shared.callers[role]
    if by_token:
        client = Client(raise_request_exception=False)
        headers |= bearer(shared.bearers[role]) if role in shared.bearers else {}
    answer = client.generic(method, path, headers=headers)
    if answer.streaming:
        # As Django's own test client closes one: else the connection to the database would be closed with it.
        request_finished.disconnect(close_old_connections)
        try:
            answer.close()
        finally:
            request_finished.connect(close_old_connections)
    return int(answer.status_code)


def check_table(shared: Shared, table: dict[str, tuple[Callable[[Shared], str], int, set[str]]]) -> None:
    wrong = []
    for name, (address_of, status, may) in table.items():
        address = address_of(shared)
        kind = "api" if is_api(address) else "page"
        for role in ROLES:
            for by_token in (False, True) if kind == "api" else (False,):
                got = ask_as(shared, role, address, by_token=by_token)
                if got != (wanted := expected_of(role, kind, status, may)):
                    wrong.append((name, role, "token" if by_token else "session", got, wanted))
    assert wrong == []


def test_files_and_pictures_are_for_those_whom_a_case_connects() -> None:
    shared = make_shared()
    check_table(shared, SHARED)
    for role in ROLES:
        # Asking how large it is tells no more than asking for it.
        path = SHARED["original"][0](shared)
        got = ask_as(shared, role, path, by_token=False, method="HEAD")
        assert got == expected_of(role, "page", 200, MEMBERS), role


def test_what_was_made_public_is_everybodys_until_it_is_taken_back() -> None:
    shared = make_shared()
    for role in ROLES:
        for end in ("/", ".png"):
            assert ask_as(shared, role, f"/r/{shared.card}{end}", by_token=False) == 200, role
            assert ask_as(shared, role, f"/r/{shared.withdrawn}{end}", by_token=False) == 404, role


@pytest.mark.slow
def test_papers_are_for_those_whom_a_case_connects() -> None:
    check_table(make_shared(), PAPERS)


@pytest.mark.django_db(transaction=True)
def test_the_live_view_is_for_those_whom_a_case_connects() -> None:
    shared = make_shared()
    path = f"/ws/analyses/{shared.waiting.public_id}/"
    for role in ROLES:
        answer = async_to_sync(open_socket)(path, shared.callers[role])
        if role in MEMBERS:
            assert isinstance(answer, dict), (role, answer)
            assert (answer["type"], answer["status"]) == ("begin", "queued"), role
        else:
            assert answer == (4401 if role in NOBODY else 4404), role
    # There is no other socket, for notifications or anything else.
    assert async_to_sync(open_socket)("/ws/notifications/", shared.callers["owner"]) is False


def test_news_are_ones_own() -> None:
    """Pages ask for them again and again; what is new of others is not in the answer."""
    shared = make_shared()
    owner = shared.done.media.owner
    Notification.objects.create(
        user=owner, analysis=shared.done, kind=Notification.Kind.DONE, finished_at=timezone.now()
    )
    for role in ROLES:
        for by_token in (False, True):
            client, headers = shared.callers[role], {}
            if by_token:
                client, headers = Client(), bearer(shared.bearers[role]) if role in shared.bearers else {}
            answer = client.get("/api/v1/notifications/", headers=headers)
            if role in NOBODY:
                assert answer.status_code == 401, role
            else:
                assert answer.json()["count"] == (1 if role == "owner" else 0), role
