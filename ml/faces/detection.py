"""Face detection with MTCNN (Zhang et al., 2016), at a scale chosen by the frame's size."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ml.contracts import Box, FaceDetection
from ml.engines import Engine
from ml.faces.geometry import detection_scale
from ml.faces.mtcnn import Mtcnn, RawFaces

Frame = NDArray[np.uint8]

# P-Net's receptive field is 12 pixels: the image pyramid is empty below it, and facenet-pytorch raises.
SMALLEST_SIDE = 20

# The first network and the sums keep about 150 bytes for each pixel searched.
BATCH_PIXELS = 1_000_000
LARGEST_BATCH = 8


class ScaleRule(StrEnum):
    """WIDTH picks the scale by the frame's wider side; HALF always halves, as the reference does."""

    WIDTH = "width"
    HALF = "half"


class FaceDetector:
    """Finds faces in frames. Keeps its three networks in memory; not thread-safe."""

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

    @property
    def engine(self) -> Engine:
        return self._mtcnn.engine

    def scale_for(self, width: int, height: int) -> float:
        return 0.5 if self.scale_rule is ScaleRule.HALF else detection_scale(max(width, height))

    def batch_size(self, width: int, height: int) -> int:
        """How many frames of this size to hand to :meth:`detect` at once, so that it takes some 200 MB."""
        scale = self.scale_for(width, height)
        searched = max(int(width * scale) * int(height * scale), 1)
        return max(1, min(LARGEST_BATCH, BATCH_PIXELS // searched))

    def detect(self, frames: Sequence[Frame]) -> list[list[FaceDetection]]:
        """Faces of each frame, in pixels of the frame as given, most certain first.

        ``frames`` are upright RGB arrays (height, width, 3), uint8, all of one size, and go through the network as
        one batch (see :meth:`batch_size`). Boxes are scaled back and truncated to whole pixels, as the reference
        does; they may reach beyond the frame by a few pixels.
        """
        if not frames:
            return []
        height, width = frames[0].shape[:2]
        scale = self.scale_for(width, height)
        size = (int(width * scale), int(height * scale))
        if min(size) < SMALLEST_SIDE:
            return [[] for _ in frames]
        if scale == 1.0:
            pictures = np.stack(frames)
        else:
            # Pillow's filter, as the reference; it lets go of the interpreter, so that frames shrink side by side.
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                pictures = np.stack(list(pool.map(partial(_shrink, size=size), frames)))
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


def _shrink(frame: Frame, size: tuple[int, int]) -> Frame:
    return np.asarray(Image.fromarray(frame).resize(size), dtype=np.uint8)
