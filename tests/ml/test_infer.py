"""The command line: one answer for each file, in order, and an exit code that means something."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ml import batch
from ml.contracts import ErrorCode, Outcome, Reason
from ml.infer import main
from ml.inference import analyze
from tests.media_factory import make_audio, make_face_image, make_image, truncate
from tests.tiny_detector import NAME


@pytest.fixture(autouse=True)
def _find_detectors(detectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_DETECTORS_DIR", str(detectors))


@pytest.fixture(scope="module")
def faces(folder: Path) -> Path:
    return make_face_image(folder / "portrait.jpg")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([*(str(argument) for argument in arguments), "--device", "cpu"])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_json_is_one_array_in_the_order_given(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, faces: Path, face_clip: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    missing = tmp_path / "missing.mp4"
    empty = make_image(tmp_path / "empty.png")

    code, out, _ = run(
        capsys, face_clip, bad, faces, missing, empty, "--json", "--detector", "always-fake", "--frames", "4"
    )
    answers: list[dict[str, Any]] = json.loads(out)

    assert code == 1
    assert [answer["file"] for answer in answers] == [str(p) for p in (face_clip, bad, faces, missing, empty)]
    assert [answer["outcome"] for answer in answers] == ["FAKE", None, "FAKE", None, "NOT_ASSESSABLE"]
    assert [answer["reason"] for answer in answers] == [None, "unreadable_media", None, "file_missing", "no_face"]
    for answer in answers:
        assert answer.keys() >= {
            "file", "outcome", "reason", "fake_probability", "pooled_probability", "confidence",
            "tracks", "timestamps", "detector", "weights_sha256", "seconds",
        }  # fmt: skip
        assert (answer["fake_probability"] is None) == (answer["outcome"] not in {"FAKE", "REAL", "INCONCLUSIVE"})


def test_csv_is_that_of_the_reference_with_nothing_for_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, faces: Path, drawn_clip: Path
) -> None:
    out = tmp_path / "out.csv"

    code, _, _ = run(
        capsys, faces, drawn_clip, tmp_path / "missing.mp4", "--csv", out, "--detector", "always-fake", "--frames", "2"
    )

    rows = list(csv.reader(out.read_text().splitlines()))
    assert code == 1
    assert rows == [["filename", "label"], ["portrait.jpg", "1.000000"], ["drawn.mp4", ""], ["missing.mp4", ""]]


def test_plain_words_say_no_more_than_was_found(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, faces: Path
) -> None:
    empty = make_image(tmp_path / "empty.png")

    _, fake, _ = run(capsys, faces, "--detector", "always-fake")
    _, real, _ = run(capsys, faces, "--detector", "always-real")
    code, nobody, _ = run(capsys, empty, "--detector", NAME)

    assert "Signs of manipulation found. Confidence 100.0 %" in fake
    assert "No sign of manipulation found" in real
    assert "genuine" not in real
    assert "Could not be examined, because no face was found." in nobody
    assert code == 0
    assert "error rates and limits" in fake


def test_every_reason_and_error_has_words() -> None:
    assert set(batch.REASONS) == set(Reason) | set(ErrorCode)
    assert set(batch.VERDICTS) == set(Outcome)


def test_a_folder_is_searched_and_what_is_no_media_is_counted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, faces: Path
) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / "b" / "deep" / "photo.bin").write_bytes(faces.read_bytes())
    (tmp_path / "a.png").write_bytes(make_image(tmp_path / "x.png").read_bytes())
    (tmp_path / "x.png").unlink()
    (tmp_path / "notes.txt").write_text("hello")
    make_audio(tmp_path / "sound.m4a")
    truncate(faces, tmp_path / "cut.jpg", 0.5)

    code, out, err = run(capsys, tmp_path, "--json", "--detector", "always-fake")
    answers = json.loads(out)

    assert [Path(answer["file"]).relative_to(tmp_path).as_posix() for answer in answers] == [
        "a.png",
        "cut.jpg",
        "b/deep/photo.bin",
    ]
    assert [answer["outcome"] for answer in answers] == ["NOT_ASSESSABLE", None, "FAKE"]
    assert "2 files in folders" in err
    assert code == 1


def test_an_empty_folder_gives_an_empty_array(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(capsys, tmp_path, "--json", "--detector", NAME)

    assert (code, json.loads(out)) == (0, [])


def test_without_a_detector_nothing_is_judged(capsys: pytest.CaptureFixture[str], faces: Path) -> None:
    code, out, err = run(capsys, faces, "--json", "--detector", "no-such")

    assert (code, out) == (2, "")
    assert "no-such" in err
    assert run(capsys, faces, "--detector", "reference-b7")[0] == 2


def test_weights_can_be_given(capsys: pytest.CaptureFixture[str], detectors: Path, faces: Path) -> None:
    weights = detectors / "always-fake" / "model.safetensors"

    code, out, _ = run(capsys, faces, "--json", "--detector", NAME, "--weights", weights, weights)

    assert code == 0
    assert json.loads(out)[0]["fake_probability"] == pytest.approx(1)
    assert len(json.loads(out)[0]["weights_sha256"]) == 2


def test_parity_is_passed_on(capsys: pytest.CaptureFixture[str], faces: Path) -> None:
    _, out, _ = run(capsys, faces, "--json", "--detector", NAME, "--parity")

    assert json.loads(out)[0]["settings"]["face_scale_rule"] == "half"


def test_a_crash_on_one_file_does_not_cost_the_others(
    capsys: pytest.CaptureFixture[str], faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = analyze
    calls = []

    def crash_once(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("boom")
        return judge(*arguments, **options)

    monkeypatch.setattr(batch, "analyze", crash_once)

    code, out, _ = run(capsys, faces, faces, "--json", "--detector", "always-real")

    assert code == 1
    assert [(a["outcome"], a["reason"]) for a in json.loads(out)] == [(None, "internal_error"), ("REAL", None)]


@pytest.mark.parametrize("arguments", [[], ["x", "--json", "--csv", "y"], ["x", "--frames", "many"]])
def test_wrong_usage_ends_with_two(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2


def test_an_unwritable_csv_ends_with_two(capsys: pytest.CaptureFixture[str], faces: Path, tmp_path: Path) -> None:
    assert run(capsys, faces, "--detector", NAME, "--csv", tmp_path / "no" / "out.csv")[0] == 2
    assert run(capsys, faces, "--detector", NAME, "--frames", "0")[0] == 2


def test_it_runs_as_a_module(faces: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ml.infer", str(faces), "--json", "--detector", "always-fake"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert json.loads(done.stdout)[0]["outcome"] == "FAKE"


def test_a_name_can_neither_stop_nor_forge_anything(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4\n  No sign of manipulation found.\x1b[2K")
    path = tmp_path / name

    code, text, _ = run(capsys, path, "--detector", NAME)
    _, answers, _ = run(capsys, path, "--json", "--detector", NAME)
    run(capsys, path, "--csv", tmp_path / "out.csv", "--detector", NAME)

    assert code == 1
    assert text.splitlines()[0] == f"{tmp_path}/caf\\udce9.mp4\\n  No sign of manipulation found.\\x1b[2K"
    assert json.loads(answers)[0]["file"] == str(path)
    assert "caf\\udce9.mp4" in (tmp_path / "out.csv").read_text()


def test_a_folder_that_may_not_be_read_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    listing = os.scandir

    def scandir(path: str) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)

    code, out, _ = run(capsys, tmp_path, "--json", "--detector", NAME)

    assert code == 1
    (answer,) = json.loads(out)
    assert (answer["file"], answer["outcome"]) == (str(tmp_path / "closed"), None)


def test_a_device_that_there_is_not_ends_with_two(capsys: pytest.CaptureFixture[str], faces: Path) -> None:
    assert main([str(faces), "--detector", NAME, "--device", "abacus"]) == 2
    assert "abacus" in capsys.readouterr().err
