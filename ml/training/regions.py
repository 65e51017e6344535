"""Face regions as soft masks, built from MTCNN's five points.

Dense landmark models with a clear licence are hard to come by; five points fix position, size, roll and, through
the nose, roughly the yaw of a face. The shapes below are an average face outline in those coordinates, and the
random deformation makes up for what five points can't tell.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
Mask = NDArray[np.float32]

# Shapes in face coordinates: u in eye distances from the line between the eyes' and the mouth's centre, to the
# right of the picture; v in eye-to-mouth distances downwards from the eyes.
_WHOLE = [(-0.95, -0.3), (-0.6, -0.45), (0.0, -0.4), (0.6, -0.45), (0.95, -0.3), (1.08, 0.1), (1.02, 0.7)]
_WHOLE += [(0.8, 1.2), (0.45, 1.55), (0.0, 1.68), (-0.45, 1.55), (-0.8, 1.2), (-1.02, 0.7), (-1.08, 0.1)]
_TALL = [(-0.9, -0.7), (-0.5, -1.0), (0.0, -1.1), (0.5, -1.0), (0.9, -0.7), *_WHOLE[5:]]
_INNER = [(-0.8, -0.3), (0.8, -0.3), (0.85, 0.5), (0.7, 1.15), (0.4, 1.35), (-0.4, 1.35), (-0.7, 1.15), (-0.85, 0.5)]
_SQUARE = [(-0.95, -0.5), (0.95, -0.5), (0.95, 1.45), (-0.95, 1.45)]
_LOWER = [(-0.95, 0.5), (-0.4, 0.4), (0.4, 0.4), (0.95, 0.5), *_WHOLE[7:12]]
_EYES = [(-0.95, -0.25), (0.0, -0.3), (0.95, -0.25), (0.95, 0.2), (0.0, 0.15), (-0.95, 0.2)]
_NOSE_MOUTH = [(-0.25, 0.1), (0.25, 0.1), (0.6, 0.75), (0.6, 1.2), (0.3, 1.35), (-0.3, 1.35), (-0.6, 1.2), (-0.6, 0.75)]


class Region(StrEnum):
    WHOLE = "whole"
    TALL = "tall"
    INNER = "inner"
    SQUARE = "square"
    LOWER = "lower"
    MOUTH = "mouth"
    NOSE = "nose"
    NOSE_MOUTH = "nose_mouth"
    EYES = "eyes"


def _ellipse(centre_v: float, radius_u: float, radius_v: float) -> list[tuple[float, float]]:
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    return [(radius_u * float(np.cos(a)), centre_v + radius_v * float(np.sin(a))) for a in angles]


_SHAPES: dict[Region, list[tuple[float, float]]] = {
    Region.WHOLE: _WHOLE,
    Region.TALL: _TALL,
    Region.INNER: _INNER,
    Region.SQUARE: _SQUARE,
    Region.LOWER: _LOWER,
    Region.MOUTH: _ellipse(1.0, 0.6, 0.36),
    Region.NOSE: _ellipse(0.45, 0.32, 0.42),
    Region.NOSE_MOUTH: _NOSE_MOUTH,
    Region.EYES: _EYES,
}


def face_axes(landmarks: Points) -> tuple[Points, Points, Points]:
    """Origin between the eyes, the vector of one eye distance and that of one eye-to-mouth distance, in pixels.

    On a profile the eye distance vanishes, so it is kept at 0.6 of the eye-to-mouth distance or more.
    """
    left_eye, right_eye, _, left_mouth, right_mouth = landmarks
    origin = (left_eye + right_eye) / 2
    across = right_eye - left_eye
    down = (left_mouth + right_mouth) / 2 - origin
    length, least = float(np.linalg.norm(across)), 0.6 * float(np.linalg.norm(down))
    if 0 < length < least:
        across = across * (least / length)
    return origin.astype(np.float32), across.astype(np.float32), down.astype(np.float32)


def outline(landmarks: Points, region: Region) -> Points:
    """The region's corners in pixels, (n, 2). The side that the nose points to is foreshortened."""
    origin, across, down = face_axes(landmarks)
    nose = landmarks[2] - origin
    turn = float(np.clip(nose @ across / max(float(across @ across), 1e-6), -0.45, 0.45))
    corners = []
    for u, v in _SHAPES[region]:
        foreshortened = u * (1.0 - turn) if u > 0 else u * (1.0 + turn)
        # Below the eyes the face's middle line follows the nose a little.
        corners.append(origin + (foreshortened + 0.3 * turn * min(max(v, 0.0), 1.0)) * across + v * down)
    return np.asarray(corners, dtype=np.float32)


def eye_distance(landmarks: Points) -> float:
    """Pixels between the eyes (never less than on a moderately turned head)."""
    return float(np.linalg.norm(face_axes(landmarks)[1]))


def draw_mask(landmarks: Points, region: Region, height: int, width: int, rng: np.random.Generator) -> Mask:
    """A deformed, softened mask of a region: (height, width) float32 in [0, 1], 1 inside.

    Follows the idea of self-blended images (Shiohara and Yamasaki, 2022): the outline is deformed elastically,
    grown or shrunk, and its edge softened by a random amount, so that no one boundary can be learnt by heart.
    """
    corners = outline(landmarks, region)
    unit = eye_distance(landmarks)
    corners = corners + rng.normal(0.0, 0.05 * unit, corners.shape).astype(np.float32)
    mask = np.zeros((height, width), dtype=np.float32)
    cv2.fillPoly(mask, [_rounded(corners)], 1.0)
    mask = warp(mask, smooth_field(height, width, 0.12 * unit, max(unit * 0.6, 4.0), rng))
    # Growing or shrinking by blurring and cutting at another level than one half keeps the outline round.
    grown = blur(mask, unit * rng.uniform(0.05, 0.2))
    mask = (grown > rng.uniform(0.2, 0.75)).astype(np.float32)
    soft = blur(mask, unit * rng.uniform(0.01, 0.16))
    return np.clip(soft, 0.0, 1.0)


def _rounded(corners: Points) -> NDArray[np.int32]:
    """Chaikin's corner cutting, once: faces have no corners."""
    ring = [*corners, corners[0]]
    cut = [point for a, b in pairwise(ring) for point in (0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b)]
    return np.round(np.asarray(cut)).astype(np.int32)


def smooth_field(
    height: int, width: int, amplitude: float, wavelength: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """A random displacement field (height, width, 2) in pixels, smooth over about ``wavelength`` pixels."""
    rows, columns = max(int(height / wavelength), 2), max(int(width / wavelength), 2)
    coarse = rng.uniform(-amplitude, amplitude, (rows, columns, 2)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def warp(image: NDArray[np.float32], field: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take each pixel from where ``field`` points, relative to it; borders are mirrored."""
    height, width = image.shape[:2]
    grid_x, grid_y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(image, grid_x + field[..., 0], grid_y + field[..., 1], cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT)
    return np.asarray(moved, dtype=np.float32)


def blur(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian blur; below a quarter pixel it does nothing."""
    if sigma < 0.25:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.float32)
