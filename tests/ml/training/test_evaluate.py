from __future__ import annotations

import json
from pathlib import Path

import pytest

from ml.contracts import AnalysisError, AnalysisResult, ErrorCode, MediaInfo, MediaKind, Outcome
from ml.training.commands import DEFAULT_CONFIG
from ml.training.config import TrainingConfig
from ml.training.evaluate import as_text, find_labelled, score_files, summarise, write_report


def result(probability: float | None) -> AnalysisResult:
    outcome = Outcome.NOT_ASSESSABLE
    if probability is not None:
        outcome = Outcome.FAKE if probability >= 0.7 else Outcome.REAL if probability <= 0.3 else Outcome.INCONCLUSIVE
    media = MediaInfo(MediaKind.VIDEO, "mp4", "h264", 64, 64)
    return AnalysisResult(
        outcome=outcome, reason=None, fake_probability=probability, pooled_probability=probability, confidence=None,
        tracks=(), timestamps=(), frames=(), real_frames=0, fake_frames=0, media=media, detector="tiny",
        detector_version="1", weights_sha256=("",), seconds=0.0,
    )  # fmt: skip


SCORES: dict[str, float | None] = {
    "videos/c40/real/original/a.mp4": 0.1,
    "videos/c40/real/original/b.mp4": 0.5,
    "videos/c40/real/original/c.mp4": 0.8,
    "videos/c40/fake/Swap/a.mp4": 0.9,
    "videos/c40/fake/Swap/b.mp4": 0.6,
    "videos/c40/fake/Mouth/a.mp4": None,
    "images/real/a.jpg": 0.2,
    "images/fake/a.jpg": 0.3,
}


@pytest.fixture
def media(tmp_path: Path) -> Path:
    for name in (*SCORES, "videos/c40/real/original/broken.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def analyse(path: Path) -> AnalysisResult:
    if path.stem == "broken":
        raise AnalysisError(ErrorCode.UNREADABLE_MEDIA)
    return result(next(score for name, score in SCORES.items() if path.as_posix().endswith(name)))


def test_labels_groups_and_methods_come_from_the_folders(media: Path) -> None:
    files = {file.path.relative_to(media).as_posix(): file for file in find_labelled(media)}
    assert len(files) == 9
    swap = files["videos/c40/fake/Swap/a.mp4"]
    assert (swap.label, swap.group, swap.method) == ("fake", "videos/c40", "Swap")
    assert (files["images/real/a.jpg"].group, files["images/real/a.jpg"].method) == ("images", "")


def test_an_unlabelled_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(FileNotFoundError, match="nothing labelled"):
        find_labelled(tmp_path)


def test_a_file_that_cannot_be_judged_is_counted_and_never_scored(media: Path) -> None:
    summary = summarise(score_files(find_labelled(media), media, analyse), seed=1, draws=50)
    c40 = summary["videos/c40"]
    assert c40["auc"]["Swap"]["value"] == pytest.approx(5 / 6)
    assert (c40["auc"]["Swap"]["fakes"], c40["auc"]["Swap"]["reals"]) == (2, 3)
    assert "Mouth" not in c40["auc"]
    assert c40["fake"]["Mouth"] == {"NOT_ASSESSABLE": 1}
    assert c40["real"] == {"FAKE": 1, "INCONCLUSIVE": 1, "REAL": 1, "error:unreadable_media": 1}
    assert summary["images"]["auc"]["all"]["value"] == 1.0


def test_the_report_names_false_alarms_and_is_json(media: Path, tmp_path: Path) -> None:
    scores = score_files(find_labelled(media), media, analyse)
    summary = summarise(scores, seed=1, draws=50)
    assert "reals called fake: 1 of 4" in as_text(summary)
    write_report(tmp_path / "out" / "report.json", summary, scores, facts={"seed": 1})
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["seed"] == 1
    assert len(report["scores"]) == 9
    assert {score["fake_probability"] for score in report["scores"] if "broken" in score["path"]} == {None}


def test_the_default_configuration_is_whole_and_misspellings_are_refused() -> None:
    config = TrainingConfig.load(DEFAULT_CONFIG)
    assert config.name == "sentinel-lite0"
    assert sum(config.kind_shares.values()) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="learnin_rate"):
        TrainingConfig.from_dict({"learnin_rate": 1.0})
