from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import ml
from ml.contracts import AnalysisError, AnalysisResult, ErrorCode, Outcome, Reason
from ml.detectors.registry import Detector, load_detector
from ml.detectors.spec import Thresholds
from ml.faces.detection import FaceDetector
from ml.inference import analyze
from ml.training import scoring
from ml.training.robustness import Harm, Recoding
from ml.training.scoring import LabelledFile, ScoreCache, Scorer, deciding_face_size, scoring_settings, verdict_at
from tests.media_factory import make_face_video
from tests.tiny_detector import write_tiny_detector


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> LabelledFile:
    path = tmp_path_factory.mktemp("clips") / "real" / "clip.mp4"
    path.parent.mkdir()
    return LabelledFile(make_face_video(path, count=16, zoom=0.9), "real", "all", "")


def load(folder: Path, **detector: object) -> Detector:
    write_tiny_detector(folder, **detector)  # type: ignore[arg-type]
    return load_detector("tiny-test", search=[folder], device="cpu")


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that the pipeline was run on."""
    seen: list[Path] = []

    def counting(path: Path, detector: Detector, *, face_detector: FaceDetector) -> AnalysisResult:
        seen.append(path)
        return analyze(path, detector, face_detector=face_detector)

    monkeypatch.setattr(scoring, "analyze", counting)
    return seen


def test_nothing_is_examined_twice_with_the_same_weights(
    clip: LabelledFile, tmp_path: Path, examined: list[Path]
) -> None:
    root = clip.path.parents[1]
    first = Scorer(load(tmp_path / "a"), tmp_path / "scores").score(clip, root)
    again = Scorer(load(tmp_path / "a"), tmp_path / "scores").score(clip, root)
    assert first == again
    assert len(examined) == 1
    Scorer(load(tmp_path / "b", seed=8), tmp_path / "scores").score(clip, root)
    assert len(examined) == 2


@pytest.mark.slow
def test_other_thresholds_cost_little_and_give_the_pipelines_own_verdict(
    clip: LabelledFile, tmp_path: Path, examined: list[Path]
) -> None:
    root = clip.path.parents[1]
    probability = analyze(clip.path, load(tmp_path / "first")).fake_probability
    assert probability is not None
    # No verdict, again none, FAKE, for which copies have to be judged, and REAL from what is there by then.
    for fake, real, times in ((0.1, -0.1, 1), (0.2, -0.2, 1), (-0.1, -0.2, 2), (0.2, 0.1, 2)):
        thresholds = Thresholds(round(probability + fake, 3), round(probability + real, 3))
        detector = load(tmp_path / str(thresholds.fake), thresholds=thresholds)
        score = Scorer(detector, tmp_path / "scores").score(clip, root)
        assert score is not None
        result = analyze(clip.path, detector)
        assert score.outcome == result.outcome
        assert score.reason == result.reason
        assert verdict_at(result.to_dict(), thresholds) == (result.outcome, result.reason)
        assert len(examined) == times
        assert score.fake_probability == pytest.approx(result.fake_probability, abs=1e-6)


@pytest.mark.parametrize(("code", "times"), [(ErrorCode.UNREADABLE_MEDIA, 1), (ErrorCode.INTERNAL_ERROR, 2)])
def test_only_a_files_own_faults_are_kept(
    clip: LabelledFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: ErrorCode, times: int
) -> None:
    tried = []

    def fail(*_: object, **__: object) -> None:
        tried.append(1)
        raise AnalysisError(code, "no memory")

    monkeypatch.setattr(scoring, "analyze", fail)
    scorer = Scorer(load(tmp_path), tmp_path / "scores")
    for _ in range(2):
        score = scorer.score(clip, clip.path.parents[1])
        assert score is not None
        assert score.outcome == f"error:{code}"
    assert len(tried) == times


def test_worse_copies_are_kept_apart_and_gone_afterwards(
    clip: LabelledFile, tmp_path: Path, examined: list[Path]
) -> None:
    scorer = Scorer(load(tmp_path), tmp_path / "scores")
    root = clip.path.parents[1]
    plain = scorer.score(clip, root)
    worse = scorer.score(clip, root, Recoding(Harm.CRF, 45))
    assert plain is not None
    assert worse is not None
    assert worse.fake_probability != plain.fake_probability
    assert (worse.path, worse.sha256) == (plain.path, plain.sha256)
    assert scorer.score(clip, root, Recoding(Harm.CRF, 45)) == worse
    assert len(examined) == 2
    assert not examined[1].exists()
    assert scorer.score(clip, root, Recoding(Harm.JPEG_QUALITY, 50)) is None


def test_the_key_holds_what_decides_scores_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = load(tmp_path)
    settings = scoring_settings(detector)
    detector.spec = replace(detector.spec, title="Another", thresholds=Thresholds(0.9, 0.1), version="2")
    assert scoring_settings(detector) == settings
    preprocessing = replace(detector.spec.preprocessing, padding_divisor=2.0)
    detector.spec = replace(detector.spec, preprocessing=preprocessing)
    other = scoring_settings(detector)
    assert other != settings
    monkeypatch.setenv("SENTINEL_PRECISION", "bfloat16")
    assert scoring_settings(detector) != other


def test_the_pipelines_code_is_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = scoring.pipeline_digest()
    (tmp_path / "ml").mkdir()
    (tmp_path / "ml" / "verdict.py").write_text("other = 1\n", encoding="utf-8")
    monkeypatch.setattr(ml, "__file__", str(tmp_path / "ml" / "__init__.py"))
    scoring.pipeline_digest.cache_clear()
    try:
        assert scoring.pipeline_digest() != before
    finally:
        scoring.pipeline_digest.cache_clear()


def test_entries_of_the_cache_appear_whole(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path / "scores")
    assert cache.get("abc") is None
    cache.put("abc", {"error": "no_face"})
    assert cache.get("abc") == {"error": "no_face"}
    assert [path.name for path in (tmp_path / "scores").rglob("*") if path.is_file()] == ["abc.json"]


def test_the_deciding_persons_face_counts() -> None:
    def track(probability: float, side: int) -> dict[str, object]:
        return {"fake_probability": probability, "faces": [{"box": [0, 0, side, side + 10]}] * 3}

    assert deciding_face_size({"tracks": [track(0.2, 300), track(0.8, 50)]}) == 60.0
    assert deciding_face_size({"tracks": []}) is None


def test_a_result_without_a_score_keeps_its_outcome() -> None:
    result = {"fake_probability": None, "outcome": "NOT_ASSESSABLE", "reason": "no_face"}
    assert verdict_at(result, Thresholds(0.6, 0.4)) == (Outcome.NOT_ASSESSABLE, Reason.NO_FACE)
