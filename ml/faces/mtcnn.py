"""MTCNN (Zhang et al., 2016) with the networks of facenet-pytorch and a pipeline of our own around them.

The arithmetic is that of facenet-pytorch 2.5.3: the same pyramid, the same thresholds, the same order of suppression,
so the same boxes up to rounding. What differs is the cost: each picture is summed up once (an integral image), and
all scales and all candidates are cut out of the sums in a few array operations, instead of pooling the whole picture
for every scale and every candidate by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import batched_nms

from ml.engines import Engine, Function, accelerate, chosen_engine, keep_float32, torch_network

# What the first network sees of the picture for one of its outputs, and the step from one to the next.
_CELL, _STRIDE = 12, 2
_PYRAMID_FACTOR = 0.709
# Candidates go through the second and third network in groups, so that memory stays bounded. On processors each group
# is filled up to one size: for any other number OpenVINO would first build the network anew, which takes longer than
# running it.
_GROUP_ON_GPU = 512
_GROUP_BY_SIZE = {24: 32, 48: 8}


# Sums over all pixels above and to the left: (n, height + 1, width + 1, 3) int32. Beyond 2³¹ they wrap round, which
# their differences do not feel.
Sums = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class RawFaces:
    """Faces of one picture, most certain first: boxes (n, 4), probabilities (n,), landmarks (n, 5, 2), float32."""

    boxes: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    landmarks: NDArray[np.float32]


class Mtcnn:
    """Three networks in a cascade. Thread-safe."""

    def __init__(
        self, thresholds: tuple[float, float, float], device: torch.device | str = "cpu", smallest_face: int = 20
    ) -> None:
        self._device = torch.device(device)
        self._thresholds = thresholds
        self._smallest = smallest_face
        (self._pnet, self._rnet, self._onet), self.engine = _networks(self._device)

    def detect(self, pictures: NDArray[np.uint8]) -> list[RawFaces]:
        """Faces in each of RGB uint8 (n, height, width, 3), in pixels of the pictures; boxes may reach beyond them."""
        count, height, width = pictures.shape[:3]
        with torch.inference_mode():
            sums = np.stack([cv2.integral(picture) for picture in pictures])
            boxes, owner = self._propose(sums, height, width)
            boxes, owner = self._refine(sums, boxes, owner)
            boxes, owner, points = self._conclude(sums, boxes, owner)
        found, owners, marks = boxes.cpu().numpy(), owner.cpu().numpy(), points.cpu().numpy()
        faces = []
        for number in range(count):
            own = np.flatnonzero(owners == number)
            own = own[np.argsort(-found[own, 4], kind="stable")]
            faces.append(RawFaces(found[own, :4], found[own, 4], marks[own]))
        return faces

    def _propose(self, sums: Sums, height: int, width: int) -> tuple[Tensor, Tensor]:
        """First stage: the convolutional network over the pyramid → boxes (n, 5) with scores, and their pictures."""
        found: list[Tensor] = []
        owners: list[Tensor] = []
        scale = _CELL / self._smallest
        shorter = min(height, width) * scale
        while shorter >= _CELL:
            level = _shrink(sums, int(height * scale + 1), int(width * scale + 1))
            shifts, probabilities = self._pnet(_normalised(level, self._device))
            boxes, owner = _candidates(shifts, probabilities[:, 1], scale, self._thresholds[0])
            keep = batched_nms(boxes[:, :4], boxes[:, 4], owner, 0.5)
            found.append(boxes[keep])
            owners.append(owner[keep])
            scale *= _PYRAMID_FACTOR
            shorter *= _PYRAMID_FACTOR
        if not found:
            return torch.zeros(0, 5, device=self._device), torch.zeros(0, dtype=torch.int64, device=self._device)
        boxes, owner = torch.cat(found), torch.cat(owners)
        keep = batched_nms(boxes[:, :4], boxes[:, 4], owner, 0.7)
        boxes, owner = boxes[keep], owner[keep]
        size = (boxes[:, 2:4] - boxes[:, :2]).repeat(1, 2)
        return _squared(torch.cat([boxes[:, :4] + boxes[:, 5:9] * size, boxes[:, 4:5]], dim=1)), owner

    def _refine(self, sums: Sums, boxes: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        """Second stage: drop most candidates, move the rest → boxes (n, 5), and their pictures."""
        boxes, owner, (shifts, probabilities) = self._look(self._rnet, 24, sums, boxes, owner)
        boxes, owner, shifts = _passing(boxes, owner, shifts, probabilities[:, 1], self._thresholds[1])
        keep = batched_nms(boxes[:, :4], boxes[:, 4], owner, 0.7)
        return _squared(_shifted(boxes[keep], shifts[keep])), owner[keep]

    def _conclude(self, sums: Sums, boxes: Tensor, owner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Third stage → boxes (n, 5), their pictures, and landmarks (n, 5, 2)."""
        boxes, owner, (shifts, marks, probabilities) = self._look(self._onet, 48, sums, boxes, owner)
        boxes, owner, both = _passing(
            boxes, owner, torch.cat([shifts, marks], dim=1), probabilities[:, 1], self._thresholds[2]
        )
        corner, extent = boxes[:, None, :2], boxes[:, None, 2:4] - boxes[:, None, :2] + 1
        # Five x, then five y, as shares of the box.
        points = extent * both[:, 4:].reshape(-1, 2, 5).permute(0, 2, 1) + corner - 1
        boxes = _shifted(boxes, both[:, :4])
        keep = _nms_of_smaller(boxes, owner, 0.7)
        return boxes[keep], owner[keep], points[keep]

    def _look(
        self, network: Function, size: int, sums: Sums, boxes: Tensor, owner: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Show candidates to a network → those that have pixels in their picture, and its outputs for them."""
        boxes, owner, windows = _inside(boxes, owner, sums.shape[2] - 1, sums.shape[1] - 1)
        cuts = _cut(sums, owner.cpu().numpy(), windows.cpu().numpy(), size)
        group, filled = (_GROUP_BY_SIZE[size],) * 2 if self._device.type == "cpu" else (_GROUP_ON_GPU, 1)
        # Without any candidate the networks still say how many outputs they have.
        starts = range(0, max(len(cuts), 1), group)
        answers = [network(_normalised(_padded(cuts[start : start + group], filled), self._device)) for start in starts]
        return boxes, owner, [torch.cat(parts)[: len(boxes)] for parts in zip(*answers, strict=True)]


def _networks(device: torch.device) -> tuple[list[Function], Engine]:
    if device.type == "cpu":
        return _networks_for_processor(torch.get_num_threads(), chosen_engine())
    keep_float32()
    networks = MTCNN(device=device)
    return [torch_network(each) for each in (networks.pnet, networks.rnet, networks.onet)], Engine.TORCH


@cache
def _networks_for_processor(threads: int, wanted: Engine) -> tuple[list[Function], Engine]:
    """Converted once a process, for these arguments."""
    networks = MTCNN(device="cpu")
    functions: list[Function] = []
    engines: set[Engine] = set()
    for name, size in (("pnet", (96, 128)), ("rnet", (24, 24)), ("onet", (48, 48))):
        example = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
        function, engine = accelerate(
            getattr(networks, name), example, key=f"mtcnn-{name}-{version('facenet-pytorch')}"
        )
        functions.append(function)
        engines.add(engine)
    return functions, Engine.OPENVINO if engines == {Engine.OPENVINO} else Engine.TORCH


def _bins(size: Any, parts: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the `parts` areas of an adaptive average over `size` pixels start and end: (…, parts) for sizes (…)."""
    place = np.arange(parts)
    size = np.asarray(size)[..., None]
    return place * size // parts, -(-(place + 1) * size // parts)


def _shrink(sums: Sums, height: int, width: int) -> NDArray[np.float32]:
    """Pictures averaged to (n, height, width, 3) in [0, 255]; parts smaller than a pixel repeat it."""
    top, bottom = _bins(sums.shape[1] - 1, height)
    left, right = _bins(sums.shape[2] - 1, width)
    # np.take is several times faster than indexing here.
    rows = sums.take(bottom, axis=1) - sums.take(top, axis=1)
    total = (rows.take(right, axis=2) - rows.take(left, axis=2)).astype(np.float32)
    total /= (bottom - top).astype(np.float32)[:, None, None]
    total /= (right - left).astype(np.float32)[:, None]
    return total


def _cut(sums: Sums, owner: NDArray[np.int64], windows: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """Windows (n, 4) of pixels of their pictures, each averaged to (n, size, size, 3) in [0, 255]."""
    left, right = (edge + windows[:, 0, None] for edge in _bins(windows[:, 2] - windows[:, 0], size))
    top, bottom = (edge + windows[:, 1, None] for edge in _bins(windows[:, 3] - windows[:, 1], size))
    _, height, width, _ = sums.shape
    flat = sums.reshape(-1, 3)

    def at(row: NDArray[np.int64], column: NDArray[np.int64]) -> Sums:
        found: Sums = flat.take(((owner * height)[:, None, None] + row[:, :, None]) * width + column[:, None], axis=0)
        return found

    total = (at(bottom, right) - at(bottom, left) - at(top, right) + at(top, left)).astype(np.float32)
    total /= (bottom - top).astype(np.float32)[:, :, None, None]
    total /= (right - left).astype(np.float32)[:, None, :, None]
    return total


def _normalised(pixels: NDArray[np.float32], device: torch.device) -> Tensor:
    """(n, height, width, 3) in [0, 255] → (n, 3, height, width) as the networks take it."""
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    planes -= 127.5
    planes *= 0.0078125
    return torch.from_numpy(planes).to(device)


def _padded(cuts: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """At least `count` of them, black ones behind the given."""
    if len(cuts) >= count:
        return cuts
    full = np.zeros((count, *cuts.shape[1:]), dtype=np.float32)
    full[: len(cuts)] = cuts
    return full


def _passing(
    boxes: Tensor, owner: Tensor, outputs: Tensor, scores: Tensor, threshold: float
) -> tuple[Tensor, Tensor, Tensor]:
    """What scores above the threshold, the score in its box."""
    passed = scores > threshold
    return torch.cat([boxes[passed, :4], scores[passed, None]], dim=1), owner[passed], outputs[passed]


def _candidates(shifts: Tensor, probabilities: Tensor, scale: float, threshold: float) -> tuple[Tensor, Tensor]:
    """Cells above the threshold → (n, 9): box, score, four shifts; and the picture of each."""
    chosen = probabilities >= threshold
    places = chosen.nonzero()
    cells = places[:, 1:].flip(1).to(shifts.dtype) * _STRIDE
    near, far = ((cells + 1) / scale).floor(), ((cells + _CELL) / scale).floor()
    moved = shifts.permute(0, 2, 3, 1)[chosen]
    return torch.cat([near, far, probabilities[chosen][:, None], moved], dim=1), places[:, 0]


def _shifted(boxes: Tensor, shifts: Tensor) -> Tensor:
    extent = (boxes[:, 2:4] - boxes[:, :2] + 1).repeat(1, 2)
    return torch.cat([boxes[:, :4] + shifts * extent, boxes[:, 4:5]], dim=1)


def _squared(boxes: Tensor) -> Tensor:
    """Squares of the longer side around the same centres."""
    extent = boxes[:, 2:4] - boxes[:, :2]
    longer = extent.amax(dim=1, keepdim=True)
    corner = boxes[:, :2] + extent * 0.5 - longer * 0.5
    return torch.cat([corner, corner + longer, boxes[:, 4:5]], dim=1)


def _inside(boxes: Tensor, owner: Tensor, width: int, height: int) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes that have pixels in the picture, and those pixels as (left, top, right, bottom), int64."""
    whole = boxes[:, :4].trunc().long()
    # MTCNN counts pixels from 1.
    corner = whole[:, :2].clamp(min=1) - 1
    end = torch.minimum(whole[:, 2:], torch.tensor([width, height], device=boxes.device))
    there = (end > corner).all(dim=1)
    return boxes[there], owner[there], torch.cat([corner, end], dim=1)[there]


def _nms_of_smaller(boxes: Tensor, owner: Tensor, threshold: float) -> Tensor:
    """Drop boxes that overlap a more certain one by more than a share of the smaller of the two; most certain first."""
    values, owners = boxes.cpu().numpy(), owner.cpu().numpy()
    corner, end = values[:, :2], values[:, 2:4]
    area = np.prod(end - corner + 1, axis=1)
    left = np.argsort(values[:, 4])
    kept = []
    while left.size:
        best, others = left[-1], left[:-1]
        kept.append(int(best))
        sides = np.minimum(end[best], end[others]) - np.maximum(corner[best], corner[others]) + 1
        common = np.prod(np.maximum(sides, 0), axis=1) / np.minimum(area[best], area[others])
        left = others[(common <= threshold) | (owners[others] != owners[best])]
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device)
