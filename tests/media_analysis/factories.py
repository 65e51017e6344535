"""Rows for tests that do not care how they came about."""

from __future__ import annotations

from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from accounts import limits
from accounts.ids import new_public_id
from accounts.models import User
from media_analysis import feedback
from media_analysis.models import Analysis, Feedback, Media

FACE = {"frame": 9, "time": 0.36, "box": [40, 30, 120, 140], "detection_probability": 0.999, "fake_probability": 0.91}


def make_media(owner: User, **fields: Any) -> Media:
    public_id = new_public_id()
    facts: dict[str, Any] = {
        "public_id": public_id,
        "kind": Media.Kind.VIDEO,
        "original_name": "clip.mp4",
        "file": default_storage.save(f"media/{public_id}/original", ContentFile(b"bytes")),
        "size": 5,
        "sha256": "a" * 64,
        "md5": "b" * 32,
        "container": "mp4",
        "codec": "h264",
        "width": 320,
        "height": 240,
        "duration": 2.0,
        "frame_rate": 25.0,
        "frame_count": 50,
    }
    return Media.objects.create(owner=owner, **{**facts, **fields})


def make_analysis(owner: User, *, spent: bool = True, media: Media | None = None, **fields: Any) -> Analysis:
    """A waiting analysis, with what it cost on the ledger."""
    analysis = Analysis.objects.create(media=media or make_media(owner), **fields)
    if spent:
        limits.spend(owner, analysis.public_id)
    return analysis


def a_result(**changes: Any) -> dict[str, Any]:
    """What a detector found: one person, one face, called fake."""
    return {
        "schema": 1,
        "outcome": "FAKE",
        "reason": None,
        "fake_probability": 0.91,
        "pooled_probability": 0.91,
        "confidence": 91.0,
        "tracks": [
            {"index": 0, "fake_probability": 0.91, "faces": [FACE], "timestamps": [[0.2, 0.6]], "best_frame": 9}
        ],
        "timestamps": [[0.2, 0.6]],
        "frames": [{"index": 0, "time": 0.0}, {"index": 9, "time": 0.36}],
        "real_frames": 0,
        "fake_frames": 1,
        "real_to_fake_ratio": 0.0,
        "detector": "tiny-test",
        "detector_version": "1",
        "weights_sha256": ["c" * 64],
        "seconds": 1.5,
        "settings": {"thresholds": {"fake": 0.7, "real": 0.3, "frame": 0.5}},
        **changes,
    }


def make_done(owner: User, *, media: Media | None = None, **fields: Any) -> Analysis:
    """A finished analysis; what it found unless said otherwise: a fake."""
    found = a_result()
    facts: dict[str, Any] = {
        "status": Analysis.Status.DONE,
        "outcome": "FAKE",
        "fake_probability": 0.91,
        "pooled_probability": 0.91,
        "confidence": 91.0,
        "real_frames": 0,
        "fake_frames": 1,
        "detector": found["detector"],
        "detector_version": found["detector_version"],
        "weights_sha256": found["weights_sha256"],
        "result": found,
        "finished_at": timezone.now(),
    }
    return make_analysis(owner, spent=False, media=media, **{**facts, **fields})


def make_feedback(
    analysis: Analysis,
    *,
    opinion: Feedback.Opinion = Feedback.Opinion.DISAGREE,
    comment: str = "",
    consent: bool = True,
    reviewer: User | None = None,
    decision: Feedback.Review = Feedback.Review.REAL,
    method: Feedback.Method | None = None,
) -> Feedback:
    """Feedback of the file's owner, reviewed if there is a reviewer."""
    owner = analysis.media.owner
    given = feedback.give_feedback(user=owner, analysis=analysis, opinion=opinion, comment=comment, consent=consent)
    if reviewer is not None:
        feedback.review_feedback(given, reviewer=reviewer, decision=decision, method=method)
        given.refresh_from_db()
    return given
