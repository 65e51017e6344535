from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from ml.contracts import AnalysisError
from ml.detectors.registry import load_detector
from ml.inference import analyze
from ml.training.dfdc.prediction import Judge, predict_folder, predict_submission
from ml.training.dfdc.steps import Fate
from tests.media_factory import make_face_video, make_image, make_two_faces_video, make_video, truncate
from tests.tiny_detector import NAME, tiny_network, write_tiny_detector


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips to judge, and what can't be judged: a clip without a face, a torn one, a photo, a text."""
    found = tmp_path_factory.mktemp("videos")
    make_face_video(found / "b.mp4", count=30, size=(240, 200), zoom=1.0)
    make_two_faces_video(found / "a.mp4", count=30)
    make_video(found / "empty.mp4", count=30)
    truncate(found / "b.mp4", found / "cut.mp4", 0.3)
    make_image(found / "photo.jpg")
    (found / "notes.txt").write_text("not a video")
    (found / ".hidden.mp4").write_bytes(b"")
    return found


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("detectors")
    write_tiny_detector(directory)
    return directory


def labels(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["filename", "label"]
    return dict(lines[1:])


def judge(search: Path, **changes: object) -> Judge:
    return Judge(NAME, search=(search,), frames=8, device="cpu", **changes)  # type: ignore[arg-type]


def test_every_video_gets_a_line_and_only_judged_ones_a_number(folder: Path, search: Path, tmp_path: Path) -> None:
    report = predict_folder(folder, tmp_path / "out.csv", judge(search))
    found = labels(tmp_path / "out.csv")
    assert list(found) == ["a.mp4", "b.mp4", "cut.mp4", "empty.mp4", "notes.txt", "photo.jpg"]
    assert {name for name, label in found.items() if label} == {"a.mp4", "b.mp4"}
    detector = load_detector(NAME, search=[search], device="cpu")
    for name in ("a.mp4", "b.mp4"):
        expected = analyze(folder / name, detector, frames=8).fake_probability
        assert float(found[name]) == pytest.approx(expected, abs=1e-5)
    reasons = {skip.item: skip.reason for skip in report.skipped}
    assert reasons["cut.mp4"] == "unreadable_media"
    assert reasons["empty.mp4"] == "no_face"
    assert reasons["photo.jpg"] == "no_video_stream"
    assert set(reasons) == {"cut.mp4", "empty.mp4", "notes.txt", "photo.jpg"}
    assert report.counts == {Fate.MADE: 3, Fate.FAILED: 3}


def test_a_second_run_judges_only_what_is_new(folder: Path, search: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    first = predict_folder(folder, out, judge(search))
    text = out.read_text()
    # Half a result, as from a killed run on a full disk.
    (tmp_path / "out.csv.results/a.mp4.json").write_text('{"filename": "a.m')
    out.unlink()
    second = predict_folder(folder, out, judge(search))
    assert second.counts == {Fate.ALREADY: 2, Fate.MADE: 1, Fate.FAILED: 3}
    assert second.skipped == first.skipped
    assert out.read_text() == text
    with pytest.raises(ValueError, match="other settings"):
        predict_folder(folder, out, judge(search, parity=True))


def test_another_video_of_the_same_name_is_judged_anew(search: Path, tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    make_face_video(tmp_path / "one" / "a.mp4", count=8, size=(240, 200), zoom=1.0)
    make_video(tmp_path / "other" / "a.mp4", count=8)
    predict_folder(tmp_path / "one", tmp_path / "out.csv", judge(search))
    assert labels(tmp_path / "out.csv")["a.mp4"]
    predict_folder(tmp_path / "other", tmp_path / "out.csv", judge(search))
    assert labels(tmp_path / "out.csv") == {"a.mp4": ""}


def test_the_ensemble_is_the_mean_of_seven_in_parity(folder: Path, search: Path, tmp_path: Path) -> None:
    paths = []
    for seed in range(7):
        # As the reference's files are: no extension, a dict, and `module.` in front of each key.
        path = tmp_path / f"final_{seed}_DeepFakeClassifier_test_0_{seed}"
        state = {f"module.{name}": value for name, value in tiny_network(seed=seed).state_dict().items()}
        torch.save({"epoch": seed, "state_dict": state, "bce_best": 0.3}, path)
        paths.append(path)
    whole = judge(search, weights=tuple(paths))
    predict_submission(folder, tmp_path / "submission.csv", whole)
    found = labels(tmp_path / "submission.csv")
    singles = []
    for path in paths:
        detector = load_detector(NAME, weights=[path], search=[search], device="cpu")
        result = analyze(folder / "a.mp4", detector, frames=8, parity=True)
        assert result.fake_probability is not None
        singles.append(result.fake_probability)
    assert len(set(singles)) == 7
    assert float(found["a.mp4"]) == pytest.approx(sum(singles) / 7, abs=1e-5)
    assert found["cut.mp4"] == found["empty.mp4"] == ""
    settings = json.loads((tmp_path / "submission.csv.results/reports/predict_submission.json").read_text())["settings"]
    assert settings["parity"] is True
    assert len(settings["weights_sha256"]) == 7
    with pytest.raises(AnalysisError) as refused:
        predict_submission(folder, tmp_path / "x.csv", judge(search, weights=tuple(paths[:6])))
    assert refused.value.detail == "the ensemble has 7 networks, and there are 6 checkpoints"


def test_an_empty_folder_is_an_error(search: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no videos"):
        predict_folder(tmp_path, tmp_path / "out.csv", judge(search))
