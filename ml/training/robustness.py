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
from av.container import OutputContainer
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
    WEBP_QUALITY = "webp_quality"
    HEVC_CRF = "hevc_crf"
    FACE_SIZE = "face_size"


# Suffix by harm; photos of which only the size is to change are written without loss.
PHOTO_FORMATS = {Harm.JPEG_QUALITY: "jpg", Harm.WEBP_QUALITY: "webp"}
# One thread each, so that the bits repeat.
X264, X265 = "libx264", "libx265"
ENCODERS = {
    X264: {"preset": "veryfast"},
    X265: {"preset": "veryfast", "x265-params": "pools=1:frame-threads=1:log-level=none"},
}


@dataclass(frozen=True, slots=True)
class Recoding:
    """``harm`` to the degree ``value``.

    JPEG_QUALITY, WEBP_QUALITY: photos saved anew with that quality (1 to 100). CRF, HEVC_CRF: videos encoded anew with
    that constant rate factor of x264 or x265 (larger is worse). FACE_SIZE: scaled down until the deciding face is that
    many pixels on its wider side.
    """

    harm: Harm
    value: int

    @property
    def name(self) -> str:
        return f"{self.harm}={self.value}"


RECODINGS = (
    *(Recoding(Harm.JPEG_QUALITY, quality) for quality in (90, 70, 50, 30)),
    *(Recoding(Harm.CRF, crf) for crf in (23, 28, 33, 38)),
    # Training makes pictures worse with JPEG and H.264 only.
    *(Recoding(Harm.WEBP_QUALITY, quality) for quality in (70, 30)),
    *(Recoding(Harm.HEVC_CRF, crf) for crf in (28, 36)),
    *(Recoding(Harm.FACE_SIZE, pixels) for pixels in (128, 96, 64, 48)),
)


def changes(recoding: Recoding, kind: MediaKind, face_size: float | None) -> bool:
    """Whether the recoding would change such a file: a face that is small enough already stays as it is."""
    if recoding.harm is Harm.FACE_SIZE:
        return face_size is not None and face_size > recoding.value
    return kind is (MediaKind.IMAGE if recoding.harm in PHOTO_FORMATS else MediaKind.VIDEO)


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
    crf = TRANSPARENT_CRF if recoding.harm is Harm.FACE_SIZE else recoding.value
    encoder = X265 if recoding.harm is Harm.HEVC_CRF else X264
    rate = Fraction(info.frame_rate).limit_denominator(1001)
    with av.open(os.fspath(folder / "copy.mp4"), "w") as output:
        stream = output.add_stream(encoder, rate=rate, options={"crf": str(crf), **ENCODERS[encoder]})
        if not isinstance(stream, VideoStream):
            raise TypeError(f"{encoder} encodes no videos")
        _encode(path, output, stream, scale)
    return folder / "copy.mp4"


def _recode_photo(path: Path, folder: Path, recoding: Recoding, scale: float) -> Path:
    picture = Image.fromarray(_scaled(read_photo(path), scale, multiple=1))
    target = folder / f"copy.{PHOTO_FORMATS.get(recoding.harm, 'png')}"
    if recoding.harm in PHOTO_FORMATS:
        picture.save(target, quality=recoding.value)
    else:
        picture.save(target)
    return target


def _encode(path: Path, output: OutputContainer, stream: VideoStream, scale: float) -> None:
    stream.pix_fmt = "yuv420p"
    stream.thread_count = 1
    # Every frame.
    pictures: Iterator[Pixels] = (picture.pixels for picture in FrameReader(path, range(sys.maxsize)))
    for number, pixels in enumerate(pictures):
        frame_pixels = _scaled(pixels, scale, multiple=2)
        if number == 0:
            stream.width, stream.height = frame_pixels.shape[1], frame_pixels.shape[0]
        # A clip may change its size midway; an MP4 keeps that of its first frame.
        frame = av.VideoFrame.from_ndarray(_fit(frame_pixels, (stream.width, stream.height)), format="rgb24")
        frame.pts = number
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def _scaled(pixels: Pixels, scale: float, *, multiple: int) -> Pixels:
    """Smaller by `scale` (at most 1), with sides that are multiples of `multiple`, at least 16 pixels."""
    height, width = pixels.shape[:2]
    sides = [max(round(side * scale) // multiple * multiple, 16) for side in (width, height)]
    return _fit(pixels, (sides[0], sides[1]))


def _fit(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    if (pixels.shape[1], pixels.shape[0]) == size:
        return np.ascontiguousarray(pixels)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
