from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ml.contracts import (
    Box,
    Compression,
    ErrorRates,
    FaceScore,
    FaceSize,
    MediaInfo,
    MediaKind,
    NotMeasured,
    NotMeasuredReason,
    TrackResult,
)
from ml.detectors.catalog import DEFAULT_DETECTOR, DETECTORS_VARIABLE, find_detector
from ml.detectors.registry import load_detector
from ml.detectors.spec import DetectorSpec, Thresholds
from ml.error_rates import (
    FILE,
    MediaFacts,
    broader,
    compression_of,
    error_rates_for,
    face_size_of,
    facts_of,
    lookup,
    read,
)
from ml.infer import main as infer
from ml.inference import analyze
from ml.media.photos import jpeg_quality, probe_photo
from ml.training.measured_rates import count_error_rates, write_json
from ml.training.scoring import FileScore
from tests.media_factory import make_face_image, make_image, portrait
from tests.tiny_detector import write_tiny_detector

VIDEO = MediaInfo(MediaKind.VIDEO, "mp4", "h264", 1000, 500, duration=10.0, frame_rate=20.0, frame_count=200)
PHOTO = MediaInfo(MediaKind.IMAGE, "jpeg", "jpeg", 100, 100)


def scores(
    label: str, outcome: str, count: int, *, compression: str = "strong", face_size: float = 150
) -> list[FileScore]:
    return [
        FileScore(
            path=f"videos/{label}/{outcome}{compression}{face_size}{number}.mp4",
            label=label,
            group="videos",
            method="",
            sha256=f"{outcome}{number}",
            outcome=outcome,
            fake_probability=None if outcome == "NOT_ASSESSABLE" else 0.5,
            kind="video",
            compression=compression,
            face_size=None if outcome == "NOT_ASSESSABLE" else face_size,
        )
        for number in range(count)
    ]


MEASURED = [
    *scores("real", "FAKE", 1),
    *scores("real", "REAL", 10),
    *scores("real", "INCONCLUSIVE", 2),
    *scores("real", "NOT_ASSESSABLE", 4),
    *scores("fake", "FAKE", 5),
    *scores("fake", "REAL", 2),
    *scores("fake", "INCONCLUSIVE", 5),
    *scores("real", "REAL", 9, compression="light", face_size=300),
    *scores("fake", "FAKE", 11, compression="light", face_size=300),
]


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DetectorSpec:
    """The tiny detector where it can be found by name."""
    monkeypatch.setenv(DETECTORS_VARIABLE, str(tmp_path))
    return DetectorSpec.load(write_tiny_detector(tmp_path) / "detector.json")


def document(spec: DetectorSpec, measured: list[FileScore] = MEASURED) -> dict[str, Any]:
    return count_error_rates(
        measured,
        spec,
        [spec.weights_sha256],
        frames=32,
        precision="float32",
        used_for_choosing=True,
        measured_on=date(2026, 11, 23),
        software={"torch": "2"},
    )


def test_verdicts_are_counted_by_kind_with_exact_intervals(spec: DetectorSpec) -> None:
    cells = {(c["kind"], c["compression"], c["face_size"]): c for c in document(spec)["cells"]}
    strong = cells["video", "strong", "medium"]
    assert strong["reals"] == {"called_fake": 1, "inconclusive": 2, "called_real": 10}
    assert strong["fakes"] == {"called_fake": 5, "inconclusive": 5, "called_real": 2}
    alarms = strong["false_alarms"]
    assert (alarms["count"], alarms["files"], alarms["share"]) == (1, 13, pytest.approx(1 / 13))
    # Clopper-Pearson, 1 of 13.
    assert (alarms["low"], alarms["high"]) == (pytest.approx(0.0019, abs=1e-4), pytest.approx(0.3603, abs=1e-4))
    assert (strong["misses"]["count"], strong["found"]["count"]) == (2, 5)
    # Without a face there is no size, and no verdict to err.
    assert cells["video", "strong", None]["not_assessable"] == {"reals": 4, "fakes": 0}
    assert cells["video", None, None]["false_alarms"]["files"] == 22
    assert ("image", None, None) not in cells


def test_the_narrowest_kind_with_enough_files_is_taken(spec: DetectorSpec) -> None:
    measured = document(spec)
    found = lookup(measured, MediaFacts(MediaKind.VIDEO, Compression.STRONG, FaceSize.MEDIUM))
    assert isinstance(found, ErrorRates)
    assert (found.compression, found.face_size, found.false_alarms.files) == (Compression.STRONG, FaceSize.MEDIUM, 13)
    # Nine reals are too few, so all videos together.
    for facts in (
        MediaFacts(MediaKind.VIDEO, Compression.LIGHT, FaceSize.LARGE),
        MediaFacts(MediaKind.VIDEO, None, None),
        MediaFacts(MediaKind.VIDEO, Compression.MEDIUM, FaceSize.SMALL),
    ):
        found = lookup(measured, facts)
        assert isinstance(found, ErrorRates)
        assert (found.compression, found.face_size, found.false_alarms.files) == (None, None, 22)
    # By compression where the size has too few.
    found = lookup(measured, MediaFacts(MediaKind.VIDEO, Compression.STRONG, FaceSize.SMALL))
    assert isinstance(found, ErrorRates)
    assert (found.compression, found.face_size) == (Compression.STRONG, None)
    assert lookup(measured, MediaFacts(MediaKind.IMAGE, None, None)) == NotMeasured(NotMeasuredReason.TOO_FEW_FILES)


def test_cells_get_broader_step_by_step() -> None:
    steps = broader(MediaFacts(MediaKind.VIDEO, Compression.LIGHT, FaceSize.SMALL))
    assert [(step.compression, step.face_size) for step in steps] == [
        (Compression.LIGHT, FaceSize.SMALL), (Compression.LIGHT, None), (None, FaceSize.SMALL), (None, None)
    ]  # fmt: skip
    assert len(broader(MediaFacts(MediaKind.IMAGE, None, None))) == 1


def measure(measured: DetectorSpec, **changes: Any) -> ErrorRates | NotMeasured:
    settings = {"parity": False, "frames_requested": 32}
    facts = MediaFacts(MediaKind.VIDEO, Compression.STRONG, FaceSize.MEDIUM)
    return error_rates_for(
        changes.get("spec", measured),
        changes.get("weights", (measured.weights_sha256,)),
        facts,
        {**settings, **changes.get("settings", {})},
    )


def test_rates_count_only_for_what_they_were_measured_with(spec: DetectorSpec, tmp_path: Path) -> None:
    assert measure(spec) == NotMeasured(NotMeasuredReason.NO_MEASUREMENT)
    path = tmp_path / spec.name / FILE
    write_json(path, document(spec))
    found = measure(spec)
    assert isinstance(found, ErrorRates)
    assert (found.measured_on, found.used_for_choosing) == ("2026-11-23", True)
    assert measure(spec, weights=("0" * 64,)) == NotMeasured(NotMeasuredReason.OTHER_WEIGHTS)
    other = replace(spec, thresholds=Thresholds(0.7, 0.4))
    assert measure(spec, spec=other) == NotMeasured(NotMeasuredReason.OTHER_SETTINGS)
    assert measure(spec, settings={"parity": True}) == NotMeasured(NotMeasuredReason.OTHER_SETTINGS)
    assert measure(spec, settings={"stability": False}) == NotMeasured(NotMeasuredReason.OTHER_SETTINGS)
    assert measure(spec, settings={"frames_requested": 8}) == NotMeasured(NotMeasuredReason.OTHER_SETTINGS)
    assert measure(spec, settings={"precision": "bfloat16"}) == NotMeasured(NotMeasuredReason.OTHER_SETTINGS)
    assert measure(spec, settings={"precision": "float32"}) == found
    unknown = replace(spec, name="nobody")
    assert measure(spec, spec=unknown) == NotMeasured(NotMeasuredReason.NO_MEASUREMENT)


def test_a_file_changed_by_hand_or_broken_gives_no_number(spec: DetectorSpec, tmp_path: Path) -> None:
    path = tmp_path / spec.name / FILE
    touched = document(spec)
    touched["cells"][0]["false_alarms"]["share"] = 0.001
    counted = document(spec)
    counted["cells"][0]["false_alarms"]["count"] = 0
    without_cells = {key: value for key, value in document(spec).items() if key != "cells"}
    contents: list[Any] = [touched, counted, without_cells, {**document(spec), "schema": 2}, []]
    for content in contents:
        path.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(ValueError, match=r"."):
            read(path)
        assert measure(spec) == NotMeasured(NotMeasuredReason.UNREADABLE)
    path.write_text("{", encoding="utf-8")
    assert measure(spec) == NotMeasured(NotMeasuredReason.UNREADABLE)


def test_what_was_written_reads_back_whole(spec: DetectorSpec, tmp_path: Path) -> None:
    write_json(tmp_path / "out" / FILE, document(spec))
    assert read(tmp_path / "out" / FILE) == document(spec)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [FILE]


@pytest.mark.parametrize(
    ("bit_rate", "compression"),
    # Ten million pixels a second.
    [(90_000, Compression.STRONG), (200_000, Compression.MEDIUM), (999_000, Compression.MEDIUM),
     (1_000_000, Compression.LIGHT), (0, None)],
)  # fmt: skip
def test_videos_by_bits_a_pixel(bit_rate: int, compression: Compression | None) -> None:
    assert compression_of(replace(VIDEO, bit_rate=bit_rate)) is compression


@pytest.mark.parametrize(
    ("quality", "compression"),
    [(30, Compression.STRONG), (60, Compression.MEDIUM), (84, Compression.MEDIUM), (85, Compression.LIGHT), (0, None)],
)
def test_photos_by_quality(quality: int, compression: Compression | None) -> None:
    assert compression_of(replace(PHOTO, jpeg_quality=quality)) is compression


@pytest.mark.parametrize(
    ("pixels", "size"), [(127.9, FaceSize.SMALL), (128, FaceSize.MEDIUM), (255, FaceSize.MEDIUM), (256, FaceSize.LARGE)]
)
def test_sizes_of_faces(pixels: float, size: FaceSize) -> None:
    assert face_size_of(pixels) is size


def test_the_deciding_persons_face_tells_the_kind() -> None:
    def track(index: int, probability: float, side: int) -> TrackResult:
        face = FaceScore(0, 0.0, Box(0, 0, side - 20, side), 1.0, probability)
        return TrackResult(index, probability, (face, face))

    facts = facts_of(replace(VIDEO, bit_rate=90_000), [track(0, 0.2, 300), track(1, 0.8, 100)])
    assert facts == MediaFacts(MediaKind.VIDEO, Compression.STRONG, FaceSize.SMALL)
    assert facts_of(PHOTO, []) == MediaFacts(MediaKind.IMAGE, None, None)


@pytest.mark.parametrize("quality", [5, 30, 50, 75, 92, 100])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(tmp_path: Path, quality: int) -> None:
    path = make_image(tmp_path / "photo.jpg", picture=portrait(), quality=quality)
    assert probe_photo(path, "JPEG").jpeg_quality == quality


def test_only_a_jpeg_has_a_quality(tmp_path: Path) -> None:
    assert probe_photo(make_image(tmp_path / "photo.png"), "PNG").jpeg_quality == 0
    assert jpeg_quality({}) == 0
    Image.new("L", (64, 64), 90).save(tmp_path / "grey.jpg", quality=40)
    assert probe_photo(tmp_path / "grey.jpg", "JPEG").jpeg_quality == 40


def test_rates_are_plain_json_values() -> None:
    assert asdict(NotMeasured(NotMeasuredReason.OTHER_WEIGHTS)) == {"reason": "other_weights", "measured": False}


def test_an_analysis_carries_them_and_says_so_in_words(
    spec: DetectorSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = make_face_image(tmp_path / "photo.jpg", quality=70)
    detector = load_detector(spec.name, device="cpu")
    assert analyze(photo, detector).error_rates == NotMeasured(NotMeasuredReason.NO_MEASUREMENT)
    assert infer(["--detector", spec.name, str(photo)]) == 0
    assert "How often the detector errs on such files was not measured." in capsys.readouterr().out

    measured = [replace(score, kind="image", compression="medium") for score in MEASURED]
    write_json(tmp_path / spec.name / FILE, document(spec, measured))
    found = analyze(photo, detector)
    assert isinstance(found.error_rates, ErrorRates)
    assert (found.error_rates.kind, found.error_rates.compression) == (MediaKind.IMAGE, Compression.MEDIUM)
    as_stored = json.loads(json.dumps(found.to_dict()))["error_rates"]
    assert as_stored["measured"] is True
    assert set(as_stored["misses"]) == {"count", "files", "share", "low", "high"}
    assert infer(["--detector", spec.name, str(photo)]) == 0
    assert f"real photos of this kind, {found.error_rates.false_alarms.count} were called" in capsys.readouterr().out


def test_without_anybody_to_judge_there_are_none(spec: DetectorSpec, tmp_path: Path) -> None:
    result = analyze(make_image(tmp_path / "nobody.jpg"), load_detector(spec.name, device="cpu"))
    assert result.error_rates is None
    assert result.to_dict()["error_rates"] is None


def test_the_shipped_detectors_figures_are_its_own() -> None:
    """Whoever changes weights or thresholds measures again: python -m ml.training evaluate MEDIA --install."""
    listed = find_detector(DEFAULT_DETECTOR)
    assert listed.folder is not None
    weights = [listed.spec.weights_sha256]
    rates = error_rates_for(listed.spec, weights, MediaFacts(MediaKind.VIDEO, None, None), {})
    if not (listed.folder / FILE).is_file():
        assert rates == NotMeasured(NotMeasuredReason.NO_MEASUREMENT)
        return
    assert isinstance(rates, ErrorRates)
    measured = read(listed.folder / FILE)
    assert (measured["detector"], measured["detector_version"]) == (listed.spec.name, listed.spec.version)
    figures = json.loads((listed.folder / "evaluation.json").read_text(encoding="utf-8"))
    assert (figures["weights_sha256"], figures["thresholds"]) == (weights, asdict(listed.spec.thresholds))
    assert "scores" not in figures
