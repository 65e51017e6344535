"""Finished analyses with pictures, for reports."""

from __future__ import annotations

from copy import deepcopy
from io import BytesIO
from typing import Any

import numpy as np
from django.utils import timezone
from PIL import Image
from skimage import data

from accounts.models import User
from media_analysis import evidence
from media_analysis.models import Analysis, CaseDetails, Submission
from tests.media_analysis.factories import a_result, make_analysis, make_media

WIDTH, HEIGHT = 640, 480
THRESHOLDS = {"fake": 0.8, "real": 0.25, "frame": 0.8}
SETTINGS = {
    "thresholds": THRESHOLDS,
    "engine": "openvino",
    "precision": "float32",
    "device": "cpu",
    "versions": {"torch": "9.9.9"},
}
RATES = {
    "measured": True,
    "kind": "video",
    "compression": None,
    "face_size": "large",
    "false_alarms": {"count": 3, "files": 60, "share": 0.05, "low": 0.01, "high": 0.14},
    "misses": {"count": 11, "files": 70, "share": 0.157143, "low": 0.08, "high": 0.26},
    "found": {"count": 50, "files": 70, "share": 0.714286, "low": 0.59, "high": 0.82},
    "measured_on": "2026-11-20",
    "used_for_choosing": True,
}
FACTS = {
    "encoders": ["Lavf62.12.100"],
    "created": "",
    "has_location": False,
    "camera": "Apple iPhone 15",
    "software_tags": [],
    "known_software": [],
    "credentials": {"status": "none"},
    "problems": [],
}
STABILITY = {
    "faces": 4,
    "original": 0.9,
    "copies": [{"copy": "jpeg_60", "fake_probability": 0.7211}, {"copy": "h264_crf_36", "fake_probability": 0.66}],
    "seconds": 0.1,
}
PROBABILITIES = {"FAKE": 0.934, "REAL": 0.121, "INCONCLUSIVE": 0.517}
REASONS = {"INCONCLUSIVE": "weak_evidence", "NOT_ASSESSABLE": "no_face"}
CONFIDENCES = {"FAKE": 93.4, "REAL": 87.9}


def picture(seed: int, size: tuple[int, int] = (WIDTH, HEIGHT), *, noisy: bool = False) -> bytes:
    """A JPEG of one colour, or of noise: then it has more bytes than any frame of a video."""
    target = BytesIO()
    if noisy:
        pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
    else:
        image = Image.new("RGB", size, (seed % 256, 120, 160))
    image.save(target, "JPEG", quality=88)
    return target.getvalue()


def portrait(size: tuple[int, int], *, whole: bool) -> bytes:
    """The face of NASA's public-domain portrait, or all of it, as JPEG: what a report looks like with people in it."""
    astronaut = Image.fromarray(data.astronaut())  # type: ignore[no-untyped-call]
    image = astronaut if whole else astronaut.crop((160, 40, 290, 200))
    target = BytesIO()
    image.resize(size).save(target, "JPEG", quality=88)
    return target.getvalue()


def make_reportable(
    owner: User,
    outcome: str = "FAKE",
    *,
    people: int = 1,
    faces: int = 8,
    photo: bool = False,
    noisy: bool = False,
    portraits: bool = False,
    case: dict[str, Any] | None = None,
    media: dict[str, Any] | None = None,
    **found: Any,
) -> Analysis:
    """A finished analysis of `people`, each seen `faces` times, with crops, six key frames and their heat maps."""
    probability = PROBABILITIES.get(outcome)
    facts: dict[str, Any] = {"width": WIDTH, "height": HEIGHT, "duration": 8.0, "codec": "h264", "container": "mp4"}
    if photo:
        facts |= {"kind": "image", "duration": 0.0, "frame_rate": 0.0, "frame_count": 1}
        facts |= {"codec": "jpeg", "container": "jpeg", "original_name": "photo.jpg"}
    stretches = [[0.0, 3.2]] if outcome == "FAKE" and not photo else []
    frames = 1 if photo else faces
    tracks = []
    for index in range(people if probability is not None else 0):
        own = (probability or 0) - 0.05 * index
        seen = [
            {
                "frame": number * 10,
                "time": number * 0.4,
                "box": [40 + 90 * index, 60, 120 + 90 * index, 160],
                "detection_probability": 0.99,
                "fake_probability": round(own + 0.001 * number, 6),
            }
            for number in range(frames)
        ]
        voting = {"branches": ["all"], "plain_mean": own, "faces": len(seen), "confident": 0, "clearly_real": 0}
        tracks.append(
            {
                "index": index,
                "fake_probability": own,
                "best_frame": seen[-1]["frame"],
                "timestamps": stretches,
                "voting": voting,
                "faces": seen,
            }
        )
    result = deepcopy(
        a_result(
            outcome=outcome,
            tracks=tracks,
            timestamps=stretches,
            frames=[{"index": number * 10, "time": number * 0.4} for number in range(frames)],
            **{
                "settings": SETTINGS,
                "facts": FACTS,
                "stability": STABILITY if outcome in CONFIDENCES else None,
                "error_rates": RATES if tracks else None,
                **found,
            },
        )
    )
    analysis = make_analysis(
        owner,
        spent=False,
        media=make_media(owner, **{**facts, **(media or {})}),
        status=Analysis.Status.DONE,
        claim_token="d" * 24,
        outcome=outcome,
        reason=REASONS.get(outcome, ""),
        fake_probability=probability,
        pooled_probability=probability,
        confidence=CONFIDENCES.get(outcome),
        real_frames=6 if tracks else None,
        fake_frames=2 if tracks else None,
        detector="tiny-test",
        detector_version="1",
        weights_sha256=["c" * 64],
        software_version="7.7.7",
        seconds=1.5,
        result=result,
        finished_at=timezone.now(),
    )
    analysis.evidence = evidence.store(analysis, _pictures(tracks, noisy=noisy, portraits=portraits))
    analysis.save(update_fields=["evidence"])
    submission = Submission.objects.create(media=analysis.media, submitted_by=owner, source=Submission.Source.API)
    if case:
        CaseDetails.objects.create(submission=submission, **case)
    return analysis


def _pictures(tracks: list[dict[str, Any]], *, noisy: bool, portraits: bool) -> dict[str, bytes]:
    def draw(seed: int, size: tuple[int, int]) -> bytes:
        return portrait(size, whole=size == (WIDTH, HEIGHT)) if portraits else picture(seed, size, noisy=noisy)

    found = {}
    for track in tracks:
        for face in track["faces"]:
            found[evidence.crop_name(track["index"], face["frame"])] = draw(face["frame"], (130, 160))
    for face in tracks[0]["faces"][:6] if tracks else []:
        found[evidence.frame_name(face["frame"])] = draw(face["frame"], (WIDTH, HEIGHT))
        found[evidence.heat_name(0, face["frame"])] = draw(face["frame"], (300, 320))
    return found
