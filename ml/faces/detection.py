"""Face detection with MTCNN (Zhang et al., 2016), at a scale chosen by the frame's size."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from ml.contracts import Box, FaceDetection
from ml.engines import Engine, side_by_side
from ml.faces.geometry import detection_scale
from ml.faces.mtcnn import Mtcnn, RawFaces

Frame = NDArray[np.uint8]

# P-Net's receptive field is 12 pixels: the image pyramid is empty below it, and facenet-pytorch raises.
SMALLEST_SIDE = 20

# The first network and the sums keep about 150 bytes for each pixel searched.
BATCH_PIXELS = 1_200_000
LARGEST_BATCH = 8

# Pixels at an edge of the half-size picture for which the filter has to do with less than its eight pixels, and a
# strip of the frame that is wide enough for them.
_EDGE, _STRIP = 2, 16


class ScaleRule(StrEnum):
    """WIDTH picks the scale by the frame's wider side; HALF always halves, as the reference does."""

    WIDTH = "width"
    HALF = "half"


class FaceDetector:
    """Finds faces in frames. Keeps its three networks in memory; thread-safe."""

    def __init__(
        self,
        *,
        scale_rule: ScaleRule = ScaleRule.WIDTH,
        thresholds: tuple[float, float, float] = (0.7, 0.8, 0.8),
        device: str | torch.device = "cpu",
    ) -> None:
        self.scale_rule = scale_rule
        self.thresholds = thresholds
        self._mtcnn = Mtcnn(thresholds, device)
        # A GPU wants many frames at once; on a processor a frame a core is faster than all cores on a few small layers.
        self.batches = torch.device(device).type != "cpu"

    @property
    def engine(self) -> Engine:
        return self._mtcnn.engine

    def scale_for(self, width: int, height: int) -> float:
        return 0.5 if self.scale_rule is ScaleRule.HALF else detection_scale(max(width, height))

    def batch_size(self, width: int, height: int) -> int:
        """How many frames of this size to search at once, in one call or several, so that it takes some 200 MB."""
        scale = self.scale_for(width, height)
        searched = max(int(width * scale) * int(height * scale), 1)
        return max(1, min(LARGEST_BATCH, BATCH_PIXELS // searched))

    def threads(self, width: int, height: int) -> int:
        """How many calls of :meth:`detect` with frames of this size to make side by side."""
        return 1 if self.batches else min(side_by_side(), self.batch_size(width, height))

    def detect(self, frames: Sequence[Frame]) -> list[list[FaceDetection]]:
        """Faces of each frame, in pixels of the frame as given, most certain first.

        ``frames`` are upright RGB arrays (height, width, 3), uint8, all of one size (see :meth:`batch_size` for how
        many). Boxes are scaled back and truncated to whole pixels, as the reference does; they may reach beyond the
        frame by a few pixels.
        """
        if not frames:
            return []
        height, width = frames[0].shape[:2]
        if self.batches or len(frames) == 1:
            return self._search(frames)
        with ThreadPoolExecutor(self.threads(width, height)) as pool:
            return [faces for (faces,) in pool.map(self._search, [[frame] for frame in frames])]

    def _search(self, frames: Sequence[Frame]) -> list[list[FaceDetection]]:
        height, width = frames[0].shape[:2]
        scale = self.scale_for(width, height)
        size = (int(width * scale), int(height * scale))
        if min(size) < SMALLEST_SIDE:
            return [[] for _ in frames]
        pictures = np.stack(frames if scale == 1.0 else [shrink(frame, size) for frame in frames])
        return [self._to_detections(faces, scale, width, height) for faces in self._mtcnn.detect(pictures)]

    @staticmethod
    def _to_detections(faces: RawFaces, scale: float, width: int, height: int) -> list[FaceDetection]:
        found = []
        for box, probability, points in zip(faces.boxes, faces.probabilities, faces.landmarks, strict=True):
            x1, y1, x2, y2 = (int(value / scale) for value in box)
            # MTCNN regresses some boxes to nothing or wholly out of the picture.
            if x2 <= max(x1, 0) or y2 <= max(y1, 0) or x1 >= width or y1 >= height:
                continue
            found.append(
                FaceDetection(
                    Box(x1, y1, x2, y2),
                    float(probability),
                    tuple((float(x / scale), float(y / scale)) for x, y in points),
                )
            )
        return found


def shrink(frame: Frame, size: tuple[int, int]) -> Frame:
    """Resize to (width, height) with Pillow's default filter (bicubic), as the reference does, to the same bits.

    To exactly half that takes torch a third of Pillow's time.
    """
    height, width = frame.shape[:2]
    # Pillow filters rows before columns, as torch does, unless the picture is this narrow.
    if (width, height) == (2 * size[0], 2 * size[1]) and height <= 2 * width and min(width, height) >= 2 * _STRIP:
        return _halved(frame) if _torch_halves_like_pillow() else _resized(frame, size)
    return _resized(frame, size)


def _halved(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    # torch warns of arrays that cannot be written to, as Pillow's.
    picture = torch.from_numpy(frame if frame.flags.writeable else frame.copy()).permute(2, 0, 1)[None]
    small = functional.interpolate(picture, size=(height // 2, width // 2), mode="bicubic", antialias=True)
    half = np.ascontiguousarray(small[0].permute(1, 2, 0).numpy())
    # To half, the filter's weights are whole 256ths, so that both are exact; but not at the edges.
    for near, edge in ((slice(_STRIP), slice(_EDGE)), (slice(-_STRIP, None), slice(-_EDGE, None))):
        half[edge] = _halved_by_rows(frame[near])[edge]
        half[:, edge] = _halved_by_rows(frame[:, near])[:, edge]
    return half


def _halved_by_rows(strip: Frame) -> Frame:
    """Pillow's, rows first whatever the shape."""
    height, width = strip.shape[:2]
    return _resized(_resized(strip, (width // 2, height)), (width // 2, height // 2))


def _resized(frame: Frame, size: tuple[int, int]) -> Frame:
    return np.asarray(Image.fromarray(frame).resize(size), dtype=np.uint8)


@cache
def _torch_halves_like_pillow() -> bool:
    """Whether both libraries, as installed and on this processor, give the same; tried on noise."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)
    return np.array_equal(_halved(noise), _resized(noise, (80, 48)))
