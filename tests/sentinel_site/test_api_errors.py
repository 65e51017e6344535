"""Programs never get HTML, whatever goes wrong and wherever it does."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import SuspiciousOperation
from django.test import Client

from accounts.models import User
from media_analysis.api import AnalysisViewSet

pytestmark = pytest.mark.django_db


def assert_error(answer: Any, status: int, name: str) -> None:
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/json"
    body = answer.json()
    assert body == {**body, "code": status, "success": False, "error": name}
    assert body["message"]


@pytest.mark.parametrize("path", ["/api/v1/nothing/", "/api/", "/users/nobody", "/get-image/nothing", "/pdf-nothing"])
def test_an_unknown_address_is_answered_in_json(client: Client, path: str) -> None:
    assert_error(client.get(path, headers={"Accept": "text/html"}), 404, "not_found")


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [(RuntimeError("a secret"), 500, "internal_error"), (SuspiciousOperation("a secret"), 400, "invalid_field")],
)
def test_what_nobody_expected_is_told_to_nobody(
    as_owner: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, name: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(AnalysisViewSet, "get_queryset", fail)
    answer = as_owner.get("/api/v1/analyses/")
    assert_error(answer, status, name)
    assert "secret" not in answer.content.decode()


def test_an_error_outside_of_the_views_is_answered_in_json_too(
    as_owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("media_analysis.middleware.OversizedBodyMiddleware.__call__", fail)
    as_owner.raise_request_exception = False
    answer = as_owner.get("/api/v1/analyses/")
    assert_error(answer, 500, "internal_error")
    assert "secret" not in answer.content.decode()


def test_a_forged_request_of_a_session_is_refused_in_json(owner: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
    answer = browser.delete("/api/v1/analyses/" + "0" * 24 + "/")
    assert_error(answer, 403, "forbidden")
    # Whoever really sits there is not told that they may not.
    assert "Reload it and try again." in answer.json()["message"]


def test_a_verb_that_an_address_does_not_take_is_named_with_those_it_does(as_owner: Client) -> None:
    answer = as_owner.put("/api/v1/analyses/")
    assert_error(answer, 405, "method_not_allowed")
    assert "POST" in answer["Allow"]


def test_a_format_that_does_not_exist_is_refused_in_json(as_owner: Client) -> None:
    assert_error(as_owner.get("/api/v1/analyses/", headers={"Accept": "application/xml"}), 406, "not_acceptable")


def test_a_body_that_is_not_json_is_refused(as_owner: Client) -> None:
    url = "/api/v1/analyses/" + "0" * 24 + "/feedback/"
    assert as_owner.put(url, b"{", content_type="application/json").status_code in {400, 404}


def test_other_sites_scripts_are_let_in_only_where_a_setting_says_so(client: Client, settings: Any) -> None:
    asked = {"Origin": "https://app.example.org"}
    assert "Access-Control-Allow-Origin" not in client.get("/api/v1/models/", headers=asked).headers
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.org"]
    assert client.get("/api/v1/models/", headers=asked)["Access-Control-Allow-Origin"] == "https://app.example.org"
    assert "Access-Control-Allow-Origin" not in client.get("/", headers=asked).headers
