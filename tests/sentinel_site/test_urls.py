from __future__ import annotations

import pytest
from django.test import Client


def test_a_browser_that_asks_for_an_icon_is_led_to_it(client: Client) -> None:
    answer = client.get("/favicon.ico")
    assert answer.status_code == 302
    assert answer["Location"].endswith("/img/logo.svg")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path",
    [
        *("/", "/models/", "/models/sentinel-lite/", "/check/", "/check/certificates.pem", "/developers/", "/offline/"),
        *("/manifest.webmanifest", "/service-worker.js", "/accounts/login/"),
    ],
)
def test_what_everybody_may_see_can_be_asked_for_its_head(client: Client, path: str) -> None:
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head["Content-Type"] == client.get(path)["Content-Type"]
