"""Face detection with MTCNN (Zhang et al., 2016), at a scale chosen by the frame's size."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray
from PIL import Image

from ml.contracts import Box, FaceDetection
from ml.faces.geometry import detection_scale

Frame = NDArray[np.uint8]

# P-Net's receptive field is 12 pixels: the image pyramid is empty below it, and facenet-pytorch raises.
SMALLEST_SIDE = 20


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
        self._mtcnn = MTCNN(margin=0, thresholds=list(thresholds), keep_all=True, device=torch.device(device))

    def scale_for(self, width: int, height: int) -> float:
        return 0.5 if self.scale_rule is ScaleRule.HALF else detection_scale(max(width, height))

    def detect(self, frames: Sequence[Frame]) -> list[list[FaceDetection]]:
        """Faces of each frame, in pixels of the frame as given, most certain first.

        ``frames`` are upright RGB arrays (height, width, 3), uint8, all of one size. Boxes are scaled back and
        truncated to whole pixels, as the reference does; they may reach beyond the frame by a few pixels.
        """
        if not frames:
            return []
        height, width = frames[0].shape[:2]
        scale = self.scale_for(width, height)
        size = (int(width * scale), int(height * scale))
        if min(size) < SMALLEST_SIDE:
            return [[] for _ in frames]
        images = [Image.fromarray(frame) for frame in frames]
        if scale != 1.0:
            images = [image.resize(size) for image in images]
        boxes, probabilities, landmarks = self._mtcnn.detect(images, landmarks=True)
        return [self._to_detections(boxes[i], probabilities[i], landmarks[i], scale) for i in range(len(images))]

    @staticmethod
    def _to_detections(
        boxes: NDArray[np.float32] | None,
        probabilities: NDArray[np.float32],
        landmarks: NDArray[np.float32],
        scale: float,
    ) -> list[FaceDetection]:
        if boxes is None:
            return []
        found = []
        for box, probability, points in zip(boxes, probabilities, landmarks, strict=True):
            x1, y1, x2, y2 = (int(value / scale) for value in box)
            if x2 <= x1 or y2 <= y1:
                continue
            found.append(
                FaceDetection(
                    Box(x1, y1, x2, y2),
                    float(probability),
                    tuple((float(x / scale), float(y / scale)) for x, y in points),
                )
            )
        return sorted(found, key=lambda face: -face.probability)
