from __future__ import annotations

from django.test import Client


def test_a_browser_that_asks_for_an_icon_is_led_to_it(client: Client) -> None:
    answer = client.get("/favicon.ico")
    assert answer.status_code == 302
    assert answer["Location"].endswith("/img/logo.svg")
