"""Turning a real portrait into a fake one, without any face generator.

What such fakes teach is what every manipulation leaves: a boundary inside the face across which colour, sharpness,
noise or geometry don't agree. The main kind is the self-blended image of Shiohara and Yamasaki, "Detecting Deepfakes
with Self-Blended Images" (CVPR 2022), written anew from the paper. The others imitate what leaves no boundary around
the whole face: re-enacted expressions, regenerated mouths, true swaps between two similar people, and faces that an
autoencoder decoded.

Images are float32 RGB in [0, 255], (height, width, 3); landmarks five (x, y) in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.training.regions import Mask, Points, Region, blur, draw_mask, eye_distance, face_axes, smooth_field, warp

Picture = NDArray[np.float32]

WHOLE_FACE = (Region.WHOLE, Region.TALL, Region.INNER, Region.SQUARE)
FACE_PARTS = (Region.LOWER, Region.MOUTH, Region.NOSE_MOUTH, Region.EYES, Region.NOSE)
SPEAKING_PARTS = (Region.LOWER, Region.MOUTH, Region.NOSE_MOUTH)


class FakeKind(StrEnum):
    SELF_BLEND = "self_blend"
    PART_BLEND = "part_blend"
    REENACT = "reenact"
    RECONSTRUCT = "reconstruct"
    SWAP = "swap"
    AUTOENCODE = "autoencode"


@dataclass(frozen=True, slots=True)
class FakeStyle:
    """How plain self-blended fakes are.

    ``blending_ratios``: how much of the source shows, drawn evenly; the paper's by default. ``colour_strength``:
    bounds of a factor on colour changes, at 1 of which a channel moves by up to 20 levels.
    """

    blending_ratios: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
    colour_strength: tuple[float, float] = (0.15, 1.0)


@dataclass(frozen=True, slots=True)
class FakePair:
    """``fake`` equals ``real`` wherever ``mask`` (height, width) is 0."""

    real: Picture
    fake: Picture
    mask: Mask


@dataclass(frozen=True, slots=True)
class Donor:
    """Another person's portrait whose face may be pasted in."""

    picture: Picture
    landmarks: Points


def make_fake(
    kind: FakeKind,
    picture: Picture,
    landmarks: Points,
    rng: np.random.Generator,
    *,
    donor: Donor | None = None,
    style: FakeStyle | None = None,
) -> FakePair:
    """Make a fake of the wanted kind. A SWAP needs a donor, AUTOENCODE one that an autoencoder made."""
    style = style or FakeStyle()
    if kind is FakeKind.SELF_BLEND:
        return _self_blend(picture, landmarks, _pick(WHOLE_FACE, rng), rng, style=style, reach=1.0)
    if kind is FakeKind.PART_BLEND:
        return _self_blend(picture, landmarks, _pick(FACE_PARTS, rng), rng, style=style, reach=1.6)
    if kind is FakeKind.REENACT:
        return _reenact(picture, landmarks, rng)
    if kind is FakeKind.RECONSTRUCT:
        return _reconstruct_region(picture, landmarks, rng)
    if donor is None:
        raise ValueError(f"{kind} needs a donor")
    return _swap(picture, landmarks, donor, rng, regenerated=0.6 if kind is FakeKind.SWAP else 0.15)


def _pick(regions: tuple[Region, ...], rng: np.random.Generator) -> Region:
    return regions[int(rng.integers(len(regions)))]


def _blend(real: Picture, source: Picture, mask: Mask) -> FakePair:
    weight = mask[..., None]
    return FakePair(real, source * weight + real * (1.0 - weight), mask)


def _self_blend(
    picture: Picture, landmarks: Points, region: Region, rng: np.random.Generator, *, style: FakeStyle, reach: float
) -> FakePair:
    """Paste a slightly changed copy of the face onto itself. Either side may be the changed one, as in the paper."""
    height, width = picture.shape[:2]
    source = target = picture
    if rng.random() < 0.5:
        source = change_look(picture, rng, style)
    else:
        target = change_look(picture, rng, style)
    source = _shift(source, landmarks, rng, reach)
    mask = draw_mask(landmarks, region, height, width, rng) * float(rng.choice(style.blending_ratios))
    return _blend(target, source, mask.astype(np.float32))


def _reenact(picture: Picture, landmarks: Points, rng: np.random.Generator) -> FakePair:
    """Move mouth, jaw or brows as face re-enactment does, with the resampling that comes with it."""
    height, width = picture.shape[:2]
    unit = eye_distance(landmarks)
    region = _pick((*SPEAKING_PARTS, Region.EYES, Region.WHOLE), rng)
    field = smooth_field(height, width, unit * rng.uniform(0.06, 0.18), unit * rng.uniform(0.35, 0.8), rng)
    if region in SPEAKING_PARTS:
        field = field + _jaw_field(landmarks, height, width, unit * rng.uniform(-0.22, 0.22))
    source = warp(picture, field)
    if rng.random() < 0.6:
        source = regenerate(source, rng)
    if rng.random() < 0.4:
        source = change_colour(source, rng, strength=0.4)
    return _blend(picture, source, draw_mask(landmarks, region, height, width, rng))


def _jaw_field(landmarks: Points, height: int, width: int, amount: float) -> NDArray[np.float32]:
    """Pull what lies under the mouth's middle along the face by ``amount`` pixels, fading out over the chin."""
    origin, across, down = face_axes(landmarks)
    centre = origin + 1.15 * down
    spread = float(np.linalg.norm(across)) * 0.45
    grid_x, grid_y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    weight = np.exp(-((grid_x - centre[0]) ** 2 + (grid_y - centre[1]) ** 2) / (2 * spread**2))
    direction = down / max(float(np.linalg.norm(down)), 1e-6)
    return np.asarray(amount * weight[..., None] * direction, dtype=np.float32)


def _reconstruct_region(picture: Picture, landmarks: Points, rng: np.random.Generator) -> FakePair:
    """Replace a region by what a small autoencoder or a neural renderer would give back: nearly the same, smoother."""
    height, width = picture.shape[:2]
    region = _pick((*WHOLE_FACE, *SPEAKING_PARTS, *SPEAKING_PARTS), rng)
    source = regenerate(picture, rng)
    if rng.random() < 0.5:
        source = change_colour(source, rng, strength=0.3)
    if rng.random() < 0.5:
        source = _shift(source, landmarks, rng, 0.7)
    return _blend(picture, source, draw_mask(landmarks, region, height, width, rng))


def _swap(
    picture: Picture, landmarks: Points, donor: Donor, rng: np.random.Generator, *, regenerated: float
) -> FakePair:
    """Another person's face, fitted to the five points and to the skin's colour, as face-swapping tools do."""
    height, width = picture.shape[:2]
    matrix = similarity(donor.landmarks, landmarks)
    source = np.asarray(
        cv2.warpAffine(donor.picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT),
        dtype=np.float32,
    )
    if rng.random() < regenerated:
        source = regenerate(source, rng)
    mask = draw_mask(
        landmarks, _pick((Region.WHOLE, Region.INNER, Region.INNER, Region.SQUARE), rng), height, width, rng
    )
    return _blend(picture, match_colour(source, picture, mask, float(rng.uniform(0.75, 1.0))), mask)


def similarity(source: Points, target: Points) -> NDArray[np.float64]:
    """The 2 × 3 rotation, scaling and shift that brings ``source`` points closest to ``target`` (Umeyama, 1991)."""
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    a, b = (source - source_mean).astype(np.float64), (target - target_mean).astype(np.float64)
    # Points as complex numbers: the best rotation with scaling is one complex factor.
    za, zb = a[:, 0] + 1j * a[:, 1], b[:, 0] + 1j * b[:, 1]
    factor = (np.conj(za) @ zb) / max(float(np.sum(np.abs(za) ** 2)), 1e-9)
    rotation = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.hstack([rotation, (target_mean - rotation @ source_mean)[:, None]])


def match_colour(source: Picture, target: Picture, mask: Mask, strength: float) -> Picture:
    """Bring mean and spread of each channel under the mask to the target's (Reinhard et al., 2001, in RGB)."""
    inside = mask > 0.5
    if not inside.any():
        return source
    ours, theirs = source[inside], target[inside]
    gain = np.clip(theirs.std(axis=0) / np.maximum(ours.std(axis=0), 1.0), 0.5, 2.0)
    matched = (source - ours.mean(axis=0)) * gain + theirs.mean(axis=0)
    return np.asarray(np.clip(source + strength * (matched - source), 0.0, 255.0), dtype=np.float32)


def change_look(picture: Picture, rng: np.random.Generator, style: FakeStyle) -> Picture:
    """Colour, then sharpness, each with some chance; never neither."""
    colour, frequency = rng.random() < 0.75, rng.random() < 0.6
    if colour or not frequency:
        picture = change_colour(picture, rng, bounds=style.colour_strength)
    if frequency:
        picture = regenerate(picture, rng) if rng.random() < 0.4 else change_sharpness(picture, rng)
    return picture


def change_colour(
    picture: Picture,
    rng: np.random.Generator,
    *,
    strength: float = 1.0,
    bounds: tuple[float, float] = (0.15, 1.0),
) -> Picture:
    """Shift the channels, brightness, contrast and saturation. ``strength``, times a factor drawn between
    ``bounds``, is 1 where a channel moves by up to 20 levels."""
    strength = strength * rng.uniform(*bounds)
    shift = rng.uniform(-20, 20, 3) * strength * (rng.random() < 0.7)
    gain = 1.0 + rng.uniform(-0.15, 0.15) * strength
    saturation = 1.0 + rng.uniform(-0.3, 0.3) * strength
    mean = picture.mean()
    changed = (picture - mean) * gain + mean + shift.astype(np.float32) + rng.uniform(-15, 15) * strength
    grey = changed @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    changed = grey[..., None] + (changed - grey[..., None]) * saturation
    return np.asarray(np.clip(changed, 0.0, 255.0), dtype=np.float32)


def change_sharpness(picture: Picture, rng: np.random.Generator) -> Picture:
    """Sharpen, or shrink and enlarge."""
    if rng.random() < 0.5:
        amount = rng.uniform(0.3, 1.2)
        sharpened = picture + amount * (picture - blur(picture, float(rng.uniform(0.7, 2.0))))
        return np.clip(sharpened, 0.0, 255.0).astype(np.float32)
    return resample(picture, float(rng.uniform(0.35, 0.8)), rng)


def resample(picture: Picture, scale: float, rng: np.random.Generator) -> Picture:
    """Shrink to ``scale`` of the size and enlarge again, with random filters."""
    height, width = picture.shape[:2]
    small_size = (max(int(width * scale), 8), max(int(height * scale), 8))
    down = int(rng.choice([cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    up = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]))
    small = cv2.resize(picture, small_size, interpolation=down)
    return np.clip(cv2.resize(small, (width, height), interpolation=up), 0.0, 255.0).astype(np.float32)


def regenerate(picture: Picture, rng: np.random.Generator) -> Picture:
    """What generators do to a face: less detail, fine texture smoothed away, now and then a trace of the upsampling."""
    result = resample(picture, float(rng.uniform(0.3, 0.8)), rng)
    if rng.random() < 0.4:
        smooth = cv2.bilateralFilter(result, 5, float(rng.uniform(8, 25)), 2.0)
        result = np.asarray(smooth, dtype=np.float32)
    if rng.random() < 0.4:
        result = result + float(rng.uniform(0.3, 1.0)) * (result - blur(result, 1.2))
    if rng.random() < 0.25:
        result = result + _upsampling_trace(result.shape[0], result.shape[1], float(rng.uniform(1.0, 4.0)), rng)
    return np.clip(result, 0.0, 255.0).astype(np.float32)


def _upsampling_trace(height: int, width: int, amplitude: float, rng: np.random.Generator) -> Picture:
    """The checkerboard of transposed convolutions (Odena et al., 2016), (height, width, 1), period 2 to 8 pixels."""
    period = float(rng.choice([2, 3, 4, 8]))
    rows = np.cos(2 * np.pi * np.arange(height) / period + rng.uniform(0, 6.28))
    columns = np.cos(2 * np.pi * np.arange(width) / period + rng.uniform(0, 6.28))
    return np.asarray((amplitude * rows[:, None] * columns[None, :])[..., None], dtype=np.float32)


def _shift(picture: Picture, landmarks: Points, rng: np.random.Generator, reach: float) -> Picture:
    """Move, scale and turn the picture a little about the face, mirroring at the borders."""
    height, width = picture.shape[:2]
    centre = landmarks.mean(axis=0)
    angle, scale = float(rng.uniform(-2.0, 2.0) * reach), float(1.0 + rng.uniform(-0.05, 0.05) * reach)
    matrix = np.asarray(cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), angle, scale), dtype=np.float64)
    unit = eye_distance(landmarks)
    matrix[:, 2] += rng.uniform(-0.08, 0.08, 2) * unit * reach
    moved = cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, dtype=np.float32)
