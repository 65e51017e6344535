"""Tiny photos and clips of many kinds, each of other bytes, whose examination is cheap."""

from __future__ import annotations

from pathlib import Path

from tests.media_factory import counter_frame, face_frame, make_face_video, make_image, make_video

# Of ten files: so many photos of a face, photos without one, clips without one, clips of a face.
FACE_PHOTOS, PHOTOS, CLIPS = 5, 7, 9


def make_clips(folder: Path, count: int) -> list[Path]:
    """Write `count` of them into an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return [make_clip(folder, number) for number in range(count)]


def make_clip(folder: Path, number: int) -> Path:
    stem, kind = folder / f"{number:03d}", number % 10
    if kind < FACE_PHOTOS:
        return make_image(stem.with_suffix(".jpg"), picture=face_frame(7 * number, (128, 128), zoom=0.7))
    if kind < PHOTOS:
        return make_image(stem.with_suffix(".png"), picture=counter_frame(number, (96, 64)))
    if kind < CLIPS:
        return make_video(
            stem.with_suffix(".mp4"), count=6, size=(96, 64), frames=lambda i: counter_frame(number + i, (96, 64))
        )
    return make_face_video(stem.with_suffix(".mp4"), count=3 + number % 4, size=(128, 128), zoom=0.7 + number / 1000)
