"""What is compressed on its way, and what is not."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import Client, RequestFactory

from accounts.models import User
from sentinel_site.compression import CompressPages
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db
ZIPPED = {"Accept-Encoding": "gzip, deflate, br"}


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/service-worker.js", "/manifest.webmanifest"])
def test_pages_come_compressed_to_those_who_can_read_that(client: Client, path: str) -> None:
    plain = client.get(path)
    zipped = client.get(path, headers=ZIPPED)
    assert "Content-Encoding" not in plain
    assert zipped["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in zipped["Vary"]
    assert len(zipped.content) < len(plain.content)
    # The CSRF token differs from page to page.
    assert abs(len(gzip.decompress(zipped.content)) - len(plain.content)) < 10


def test_what_is_unchanged_is_not_sent_again(as_owner: Client) -> None:
    path = "/api/v1/models/"
    first = as_owner.get(path, headers=ZIPPED)
    assert first["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(first.content))
    assert as_owner.get(path, headers={**ZIPPED, "If-None-Match": first["ETag"]}).status_code == 304


def test_secrets_that_are_handed_out_are_never_compressed(client: Client, owner: User) -> None:
    body = {"username": owner.username, "password": PASSWORD}
    answer = client.post("/api/v1/tokens/", body, content_type="application/json", headers=ZIPPED)
    assert answer.status_code == 200
    assert len(answer.content) > 200
    assert "Content-Encoding" not in answer


def test_a_form_that_comes_back_with_what_was_typed_is_not_compressed(client: Client) -> None:
    answer = client.post("/accounts/login/", {"username": "guess" * 20, "password": "x"}, headers=ZIPPED)
    assert answer.status_code == 200
    assert "guess" in answer.content.decode()
    assert "Content-Encoding" not in answer


@pytest.mark.parametrize(
    "answer",
    [
        HttpResponse(b"a" * 1000, content_type="image/jpeg"),
        HttpResponse(b"a" * 1000, content_type="application/pdf"),
        # Parts of files are asked for by their place in the file as it is.
        StreamingHttpResponse([b"a" * 1000], content_type="text/html"),
    ],
)
def test_pictures_and_files_are_sent_as_they_are(answer: HttpResponseBase) -> None:
    request = RequestFactory(headers=ZIPPED).get("/")
    compressed: Any = CompressPages(lambda _: answer)(request)
    assert "Content-Encoding" not in compressed
