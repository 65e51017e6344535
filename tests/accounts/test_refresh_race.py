"""A phone that sends the same refresh several times at once, against a running site."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import requests

from tests.site_process import PASSWORD, SiteProcess, running_site

pytestmark = pytest.mark.slow

AT_ONCE = 6


@pytest.fixture
def site(prepared: Path, tmp_path: Path) -> Iterator[SiteProcess]:
    with running_site(prepared, tmp_path / "data") as site:
        yield site


def test_parallel_refreshes_give_exactly_one_pair_and_it_holds(site: SiteProcess) -> None:
    account = {"username": "phone", "email": "phone@example.org", "password": PASSWORD}
    signed_up = requests.post(f"{site.url}/api/v1/account/", json=account, timeout=30).json()
    ready = Barrier(AT_ONCE)

    def refresh(token: str) -> requests.Response:
        ready.wait()
        return requests.post(f"{site.url}/api/v1/tokens/refresh/", json={"refresh": token}, timeout=30)

    token = signed_up["refresh"]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(5):
            answers = list(pool.map(refresh, [token] * AT_ONCE))
            assert sorted(answer.status_code for answer in answers) == [200] + [401] * (AT_ONCE - 1)
            pair = next(answer.json() for answer in answers if answer.ok)
            header = {"Authorization": f"Bearer {pair['access']}"}
            assert requests.get(f"{site.url}/api/v1/account/", headers=header, timeout=30).status_code == 200
            token = pair["refresh"]


def test_parallel_sign_ups_make_exactly_one_account(site: SiteProcess) -> None:
    ready = Barrier(AT_ONCE)

    def sign_up(number: int) -> requests.Response:
        account = {"username": "racer", "email": f"racer{number}@example.org", "password": PASSWORD}
        ready.wait()
        return requests.post(f"{site.url}/users/signup", json=account, timeout=30)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(sign_up, range(AT_ONCE)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * (AT_ONCE - 1)
    assert {answer.json()["error"] for answer in answers if not answer.ok} == {"already_exists"}
