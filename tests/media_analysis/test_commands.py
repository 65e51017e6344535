from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.media_factory import make_face_video, make_image
from tests.tiny_detector import NAME


def classify(*arguments: str) -> tuple[str, int]:
    output = io.StringIO()
    try:
        call_command("classify", *arguments, stdout=output)
    except SystemExit as stopped:
        return output.getvalue(), int(str(stopped.code))
    return output.getvalue(), 0


def test_classify_uses_the_detector_of_the_settings_and_goes_on_after_a_bad_file(
    detector: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    good = make_face_video(tmp_path / "good.mp4", seconds=1)
    printed, code = classify("--json", str(bad), str(good))
    assert code == 1
    first, second = json.loads(printed)
    assert (first["file"], first["outcome"], first["reason"]) == (str(bad), None, "unreadable_media")
    assert (second["file"], second["detector"]) == (str(good), NAME)
    assert len(second["tracks"]) == 1
    assert 0 <= second["fake_probability"] <= 1


def test_classify_writes_the_references_csv_without_a_number_where_there_is_none(
    detector: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    make_face_video(folder / "face.mp4", seconds=1)
    make_image(folder / "nobody.png")
    _, code = classify(str(folder), "--csv", str(tmp_path / "out.csv"))
    assert code == 0
    rows = list(csv.reader((tmp_path / "out.csv").open()))
    assert rows[0] == ["filename", "label"]
    assert [name for name, _ in rows[1:]] == ["face.mp4", "nobody.png"]
    assert 0 <= float(rows[1][1]) <= 1
    assert rows[2][1] == ""


def test_classify_with_an_unknown_detector_judges_nothing(detector: Path, clip: Path) -> None:
    printed, code = classify("--detector", "nonesuch", str(clip))
    assert (printed, code) == ("", 2)


def test_fetched_weights_are_recorded_and_a_changed_file_is_refused(
    detector: Path, tmp_path: Path, settings: Any
) -> None:
    settings.SENTINEL_WEIGHTS_DIR = tmp_path / "weights"
    source = tmp_path / "checkpoint"
    source.write_bytes(b"one")
    output = io.StringIO()
    call_command("fetch_weights", str(source), "--detector", NAME, stdout=output)
    assert Path(output.getvalue().strip()).read_bytes() == b"one"
    source.write_bytes(b"two")
    (tmp_path / "weights" / NAME / "checkpoint").unlink()
    with pytest.raises(CommandError, match="SHA-256"):
        call_command("fetch_weights", str(source), "--detector", NAME)
    assert not (tmp_path / "weights" / NAME / "checkpoint").exists()


def test_fetching_for_an_unknown_detector_is_refused(detector: Path) -> None:
    with pytest.raises(CommandError, match="nonesuch"):
        call_command("fetch_weights", "somewhere", "--detector", "nonesuch")
