"""Damaged and disguised files through the real upload: `python -m tests.hostile_files` sends hundreds of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile_files import ENVIRONMENT, attack, mutated, tricks
from tests.media_factory import make_face_video
from tests.site_process import running_site
from tests.tiny_detector import NAME, write_tiny_detector

pytestmark = pytest.mark.slow


def test_no_file_brings_down_anything_or_leaves_anything_behind(prepared: Path, tmp_path: Path) -> None:
    write_tiny_detector(tmp_path / "detectors")
    made = tmp_path / "made"
    made.mkdir()
    environment = {"SENTINEL_DETECTOR": NAME, "SENTINEL_DETECTORS_DIR": str(tmp_path / "detectors"), **ENVIRONMENT}
    with running_site(prepared, tmp_path / "data", **environment) as site:
        site.start_worker()
        member = site.member("attacker")
        # The worker has all its processes once it has examined something.
        member.wait_for(member.upload(make_face_video(tmp_path / "first.mp4", count=6)).json()["id"])
        outcome = attack(site, member, iter([*tricks(made), *mutated(made, 12, seed=1)]), tmp_path)
    assert outcome.passed, outcome
    assert outcome.statuses[422] >= 10
    assert outcome.statuses[201] >= 10
