"""Does the verdict survive what happens to files on their way? A few faces are judged again on worse copies.

Messengers and sites compress and shrink what they pass on. If that turns FAKE into REAL or the reverse, the verdict
hangs on the compression rather than on the face, and must not be given. The cost is bounded: at most FACES faces in
five copies each, whatever the length of the clip.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ml.contracts import Copy, CopyScore, Stability
from ml.detectors.registry import Detector
from ml.evidence import from_jpeg
from ml.faces.geometry import fit_face

Crop = NDArray[np.uint8]

# Faces judged again.
FACES = 4
_H264_QUALITY = {Copy.H264_MEDIUM: 28, Copy.H264_STRONG: 36}
_JPEG_QUALITY = {Copy.JPEG_90: 90, Copy.JPEG_60: 60}


def check_stability(
    detector: Detector,
    crops: Sequence[Crop],
    scores: NDArray[np.float32],
    probability: float,
    *,
    photo: bool = False,
) -> Stability:
    """Judge copies of some of a person's faces: those whose scores lie nearest to the person's, `probability`.

    `scores` are those of `crops`, (networks, faces); `photo` says that they are from a photo. Raises AnalysisError as
    :meth:`Detector.score` does.
    """
    started = time.monotonic()
    means = scores.mean(axis=0)
    chosen = np.sort(np.argsort(np.abs(means - probability), kind="stable")[:FACES])
    faces = [crops[place] for place in chosen]
    size = detector.spec.preprocessing.input_size
    copies = [copy for kind in Copy for copy in make_copies(faces, kind, size)]
    rescored = detector.score(copies, photo=photo).mean(axis=0).reshape(len(Copy), len(faces))
    return Stability(
        faces=len(faces),
        original=float(means[chosen].mean()),
        copies=tuple(CopyScore(kind, float(row.mean())) for kind, row in zip(Copy, rescored, strict=True)),
        seconds=time.monotonic() - started,
    )


def make_copies(crops: Sequence[Crop], kind: Copy, size: int) -> list[Crop]:
    """The crops, RGB uint8, after one round of compression or shrinking. `size`: side of video frames, pixels."""
    if kind in _JPEG_QUALITY:
        return [_jpeg(crop, _JPEG_QUALITY[kind]) for crop in crops]
    if kind is Copy.HALF_SIZE:
        return [_half(crop) for crop in crops]
    return _h264(crops, _H264_QUALITY[kind], size)


def _jpeg(crop: Crop, quality: int) -> Crop:
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(crop[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"no JPEG of a crop of shape {crop.shape}")
    return from_jpeg(data.tobytes())


def _half(crop: Crop) -> Crop:
    height, width = crop.shape[:2]
    smaller = cv2.resize(crop, (max(width // 2, 1), max(height // 2, 1)), interpolation=cv2.INTER_AREA)
    return np.asarray(smaller, dtype=np.uint8)


def _h264(crops: Sequence[Crop], quality: int, size: int) -> list[Crop]:
    """Each crop as a key frame of a clip: they lie seconds apart, so that no frame could borrow from another."""
    side = size + size % 2
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        options = {"crf": str(quality), "preset": "veryfast", "g": "1"}
        stream: Any = output.add_stream("libx264", rate=25, options=options)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for crop in crops:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(fit_face(crop, side), format="rgb24")))
        output.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as container:
        frames = container.decode(video=0)
        return [np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8) for frame in frames]
