"""A whole site on MongoDB, in processes of its own: from signing up to a result, with a worker killed on the way."""

from __future__ import annotations

import os
import re
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pymongo
import pytest
import requests
from django.db import connection

from tests.media_factory import make_face_video
from tests.site_process import PASSWORD, SiteProcess, wait_until
from tests.tiny_detector import NAME, write_tiny_detector

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(connection.vendor != "mongodb", reason="about MongoDB: make test-mongodb"),
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SiteProcess]:
    write_tiny_detector(tmp_path / "detectors")
    server = urlsplit(os.environ["DATABASE_URL"])
    url = server._replace(path=f"/site_{uuid.uuid4().hex[:8]}").geturl()
    environment = {
        "DATABASE_URL": url,
        "SENTINEL_DETECTOR": NAME,
        "SENTINEL_DETECTORS_DIR": str(tmp_path / "detectors"),
        "SENTINEL_HEARTBEAT_SECONDS": "0.5",
        "SENTINEL_STALLED_AFTER_SECONDS": "4",
    }
    (tmp_path / "data").mkdir()
    site = SiteProcess(tmp_path / "data", **environment)
    site.prepare()
    site.start_web()
    try:
        yield site
    finally:
        site.stop()
        with pymongo.MongoClient[Any](url) as client:
            client.drop_database(urlsplit(url).path.lstrip("/"))


def admin_page(site: SiteProcess, path: str) -> requests.Response:
    """A page of the administration, as somebody sees it who logs in there."""
    environment = {**site.environment, "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    site.environment = environment
    site.manage("createsuperuser", "--no-input", "--username", "chief", "--email", "chief@example.org")
    browser = requests.Session()
    form = browser.get(f"{site.url}/admin/login/?next={path}", timeout=30)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text)
    assert token is not None
    fields = {"csrfmiddlewaretoken": token[1], "username": "chief", "password": PASSWORD, "next": path}
    return browser.post(form.url, fields, timeout=30)


def test_from_signing_up_to_a_result_though_the_worker_is_killed(site: SiteProcess, tmp_path: Path) -> None:
    clip = make_face_video(tmp_path / "long.mp4", seconds=15, size=(800, 600))
    member = site.member("asha")
    site.start_worker()
    public_id = member.upload(clip).json()["id"]
    with pymongo.MongoClient[Any](site.environment["DATABASE_URL"]) as client:
        analyses = client.get_default_database()["media_analysis_analysis"]
        running: list[Any] = []

        def runs() -> bool:
            running[:] = analyses.find({"status": "running", "progress": {"$gte": 5}})
            return bool(running)

        wait_until(runs, seconds=90, what=lambda: f"a running analysis\n{site.log('worker')}")
    psutil.Process(int(running[0]["worker"].rpartition("/")[2])).send_signal(signal.SIGKILL)
    done = member.wait_for(public_id)
    assert (done["status"], done["attempts"]) == ("done", 2), site.log("worker")
    page = member.session.get(f"{site.url}/analyses/{public_id}/", timeout=60)
    assert page.ok
    assert "long.mp4" in page.text
    assert site.manage("check_custody_log").returncode == 0
    listed = admin_page(site, "/admin/media_analysis/analysis/")
    assert listed.ok
    assert public_id in listed.text
