"""The files that make the site an app: the same for everybody, and new when what they name is new."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from accounts.models import User
from media_analysis.checks import check_push_settings
from sentinel_site import pwa
from sentinel_site.environment import new_vapid_key, read_secret, vapid_public_key
from tests.push_service import decode


def service_worker_config(client: Client) -> dict[str, Any]:
    text = client.get("/service-worker.js").content.decode()
    found = re.match(r"const SENTINEL = (\{.*\});\nimportScripts\(\"(.+)\"\);\n$", text)
    assert found is not None
    return {**json.loads(found[1]), "code": found[2]}


def test_the_service_worker_is_at_the_root_and_always_asked_for_anew(client: Client) -> None:
    answer = client.get("/service-worker.js")
    assert answer["Content-Type"].startswith("text/javascript")
    assert answer["Cache-Control"] == "no-cache"
    # Its scope is the folder that it lies in: the whole site.
    assert service_worker_config(client)["offline"] == "/offline/"


def test_what_is_kept_has_a_new_name_with_a_new_version_or_language(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = service_worker_config(client)["version"]
    assert service_worker_config(client)["version"] == before
    monkeypatch.setattr(pwa, "__version__", "999")
    assert service_worker_config(client)["version"] != before
    monkeypatch.undo()
    monkeypatch.setattr(pwa, "static", lambda name: f"/static/{name}?changed")
    assert service_worker_config(client)["version"] != before
    monkeypatch.undo()
    monkeypatch.setattr(pwa, "get_language", lambda: "ml")
    assert service_worker_config(client)["version"] != before


def test_only_parts_that_all_see_alike_are_kept(client: Client) -> None:
    config = service_worker_config(client)
    assert all(path.startswith("/static/") for path in config["shell"])


@pytest.mark.django_db
def test_the_page_without_network_says_nothing_of_who_is_logged_in(
    owner: User, as_owner: Client, client: Client
) -> None:
    theirs = as_owner.get("/offline/").content
    assert theirs == client.get("/offline/").content
    assert owner.username.encode() not in theirs


def test_the_manifest_names_files_that_are_there(client: Client) -> None:
    manifest = client.get("/manifest.webmanifest").json()
    folder = Path(__file__).resolve().parent.parent.parent
    for icon in manifest["icons"]:
        assert (folder / icon["src"].lstrip("/")).is_file()
    assert {icon["purpose"] for icon in manifest["icons"]} == {"any", "maskable"}
    assert manifest["share_target"]["params"]["files"][0]["name"] == "file"
    assert manifest["lang"] == "en"


def test_the_key_for_push_messages_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAPID_PRIVATE_KEY", raising=False)
    file = tmp_path / "vapid_private_key"
    key = read_secret("VAPID_PRIVATE_KEY", fallback_file=file, make=new_vapid_key)
    assert read_secret("VAPID_PRIVATE_KEY", fallback_file=file, make=new_vapid_key) == key
    assert len(decode(key)) == 32
    assert len(decode(vapid_public_key(key))) == 65


@pytest.mark.parametrize("key", ["", "short", "A" * 43, "!" * 43, "_" * 43])
def test_a_key_that_is_none_stops_the_start(key: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        vapid_public_key(key)


@pytest.mark.parametrize(
    ("allow_private", "contact", "ids"),
    [
        (False, "mailto:admin@example.org", set()),
        (False, "https://example.org/contact", set()),
        (True, "mailto:admin@example.org", {"media_analysis.W001"}),
        (False, "mailto:", {"media_analysis.E001"}),
        (False, "admin@example.org", {"media_analysis.E001"}),
    ],
)
def test_settings_for_push_that_do_harm_or_never_work_are_told_of(
    settings: Any, allow_private: bool, contact: str, ids: set[str]
) -> None:
    settings.SENTINEL_PUSH_ALLOW_PRIVATE = allow_private
    settings.VAPID_CONTACT = contact
    assert {message.id for message in check_push_settings()} == ids
