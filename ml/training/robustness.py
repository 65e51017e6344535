"""Re-encoding whole files for the robustness curves: how figures fall as media gets worse.

A file is decoded, made worse in one way and written anew, and the copy goes through the same analysis as any file. What
the network sees is therefore compressed twice, as it is when somebody passes a file on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from ml.contracts import MediaInfo, MediaKind
from ml.media.frames import FrameReader
from ml.media.photos import read_photo

Pixels = NDArray[np.uint8]

# Hardly visible, for videos of which only the size is to change; photos get PNG then.
TRANSPARENT_CRF = 17


class Harm(StrEnum):
    """One way of making media worse; each value names an axis of the robustness curves."""

    JPEG_QUALITY = "jpeg_quality"
    CRF = "crf"
    FACE_SIZE = "face_size"


@dataclass(frozen=True, slots=True)
class Recoding:
    """``harm`` to the degree ``value``.

    JPEG_QUALITY: photos saved anew with that quality (1 to 100). CRF: videos encoded anew with that constant rate
    factor of x264 (larger is worse). FACE_SIZE: scaled down until the deciding face is that many pixels on its wider
    side.
    """

    harm: Harm
    value: int

    @property
    def name(self) -> str:
        return f"{self.harm}={self.value}"


RECODINGS = (
    *(Recoding(Harm.JPEG_QUALITY, quality) for quality in (90, 70, 50, 30)),
    *(Recoding(Harm.CRF, crf) for crf in (23, 28, 33, 38)),
    *(Recoding(Harm.FACE_SIZE, pixels) for pixels in (128, 96, 64, 48)),
)


def changes(recoding: Recoding, kind: MediaKind, face_size: float | None) -> bool:
    """Whether the recoding would change such a file: a face that is small enough already stays as it is."""
    if recoding.harm is Harm.FACE_SIZE:
        return face_size is not None and face_size > recoding.value
    return kind is (MediaKind.IMAGE if recoding.harm is Harm.JPEG_QUALITY else MediaKind.VIDEO)


def recode(path: Path, folder: Path, recoding: Recoding, info: MediaInfo, face_size: float | None) -> Path:
    """Write the worse copy of a file into `folder` and return its path. `face_size` in pixels of the wider side.

    Deterministic: the encoders run in one thread. Raises AnalysisError for a file that can't be decoded, and ValueError
    for one that the recoding would not change.
    """
    if not changes(recoding, info.kind, face_size):
        raise ValueError(f"{recoding.name} changes nothing in {path}")
    scale = recoding.value / face_size if recoding.harm is Harm.FACE_SIZE and face_size else 1.0
    if info.kind is MediaKind.IMAGE:
        return _recode_photo(path, folder, recoding, scale)
    crf = recoding.value if recoding.harm is Harm.CRF else TRANSPARENT_CRF
    return _recode_video(path, folder, crf, scale, info.frame_rate)


def _recode_photo(path: Path, folder: Path, recoding: Recoding, scale: float) -> Path:
    picture = Image.fromarray(_scaled(read_photo(path), scale, multiple=1))
    if recoding.harm is Harm.JPEG_QUALITY:
        target = folder / "copy.jpg"
        picture.save(target, quality=recoding.value)
    else:
        target = folder / "copy.png"
        picture.save(target)
    return target


def _recode_video(path: Path, folder: Path, crf: int, scale: float, frame_rate: float) -> Path:
    target = folder / "copy.mp4"
    # Every frame.
    pictures: Iterator[Pixels] = (picture.pixels for picture in FrameReader(path, range(sys.maxsize)))
    with av.open(os.fspath(target), "w") as output:
        stream: VideoStream | None = None
        for number, pixels in enumerate(pictures):
            frame_pixels = _scaled(pixels, scale, multiple=2)
            if stream is None:
                # A clip may change its size midway; an MP4 keeps that of its first frame.
                size = frame_pixels.shape[1], frame_pixels.shape[0]
                rate = Fraction(frame_rate).limit_denominator(1001)
                stream = output.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast"})
                stream.width, stream.height = size
                stream.pix_fmt = "yuv420p"
                stream.thread_count = 1
            frame = av.VideoFrame.from_ndarray(_fit(frame_pixels, size), format="rgb24")
            frame.pts = number
            output.mux(stream.encode(frame))
        if stream is not None:
            output.mux(stream.encode(None))
    return target


def _scaled(pixels: Pixels, scale: float, *, multiple: int) -> Pixels:
    """Smaller by `scale` (at most 1), with sides that are multiples of `multiple`, at least 16 pixels."""
    height, width = pixels.shape[:2]
    sides = [max(round(side * scale) // multiple * multiple, 16) for side in (width, height)]
    return _fit(pixels, (sides[0], sides[1]))


def _fit(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    if (pixels.shape[1], pixels.shape[0]) == size:
        return np.ascontiguousarray(pixels)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
