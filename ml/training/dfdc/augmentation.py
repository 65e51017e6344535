"""Changes to a crop while training: torchvision's transforms, and what it lacks, as its transforms.

Picture, difference mask and landmarks change together. Random numbers come from torch's generator, but for the
erasing, which gets its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from ml.faces.geometry import resize_isotropically
from ml.training.dfdc.config import Augmentation
from ml.training.regions import Region, outline

Picture = NDArray[np.uint8]

# What the reference chooses from: for shrinking, for enlarging.
INTERPOLATIONS = (
    (cv2.INTER_AREA, cv2.INTER_CUBIC),
    (cv2.INTER_AREA, cv2.INTER_LINEAR),
    (cv2.INTER_LINEAR, cv2.INTER_LINEAR),
)
# The Gaussian that OpenCV takes for a window of three pixels.
BLUR_SIGMA = 0.8
# So many clearly changed pixels must remain visible, or a fake with a part blacked out is none any more. Below that
# difference, of 255, lies what compression does to the rest of the picture.
LEAST_CHANGED, CLEARLY_CHANGED = 20, 20
# Of a crop with a third of padding on each side, the face box begins after a fifth.
BOX_MARGIN = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A crop to train on.

    ``pixels`` (height, width, 3) RGB uint8; ``changed`` (height, width) uint8, 0 where fake and original are alike, all
    0 for real ones; ``landmarks`` (5, 2) x and y in pixels, float32, or None.
    """

    pixels: Picture
    changed: Picture
    landmarks: NDArray[np.float32] | None = None


class Augmenter:
    """Crop of any size → the network's input (size, size, 3) RGB uint8."""

    def __init__(self, settings: Augmentation, size: int) -> None:
        self.settings = settings
        self.size = size
        self._transforms = make_transforms(settings, size)

    def __call__(self, crop: Crop, *, is_fake: bool, rng: np.random.Generator) -> Picture:
        height, width = crop.pixels.shape[:2]
        points = crop.landmarks if crop.landmarks is not None else np.zeros((0, 2), dtype=np.float32)
        sample = {
            "picture": tv_tensors.Image(torch.from_numpy(crop.pixels).permute(2, 0, 1).contiguous()),
            "changed": tv_tensors.Mask(torch.from_numpy(crop.changed)),
            "points": tv_tensors.KeyPoints(torch.from_numpy(points.astype(np.float32)), canvas_size=(height, width)),
        }
        # The network's own random numbers must not depend on where batches are made.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))
            sample = self._transforms(sample)
        pixels = np.ascontiguousarray(sample["picture"].permute(1, 2, 0).numpy())
        landmarks = None if crop.landmarks is None else sample["points"].numpy()
        return erase(Crop(pixels, sample["changed"].numpy(), landmarks), self.settings, is_fake=is_fake, rng=rng)


def make_transforms(settings: Augmentation, size: int) -> v2.Transform:
    """The reference's order: what a codec and a camera do, the network's size, colours, then the position."""
    colour = v2.RandomChoice(
        [
            v2.ColorJitter(brightness=settings.brightness, contrast=settings.contrast),
            FancyPCA(settings.fancy_pca),
            v2.ColorJitter(hue=settings.hue, saturation=settings.saturation, brightness=settings.value),
        ]
    )
    move = v2.RandomAffine(
        degrees=settings.rotate,
        translate=(settings.shift, settings.shift),
        scale=(1.0 - settings.scale, 1.0 + settings.scale),
        interpolation=v2.InterpolationMode.BILINEAR,
    )
    return v2.Compose(
        [
            v2.RandomApply([Jpeg(settings.jpeg_quality)], p=settings.jpeg),
            v2.RandomApply([Noise(settings.noise_variance)], p=settings.noise),
            v2.RandomApply([v2.GaussianBlur(settings.blur_kernel, sigma=BLUR_SIGMA)], p=settings.blur),
            v2.RandomHorizontalFlip(p=settings.flip),
            IsotropicResize(size),
            PadToSquare(size),
            v2.RandomApply([colour], p=settings.colour),
            v2.RandomGrayscale(p=settings.grey),
            v2.RandomApply([move], p=settings.shift_scale_rotate),
        ]
    )


class Jpeg(v2.Transform):  # type: ignore[misc]
    """Compress with a quality drawn evenly from a range. torchvision's own codecs are deprecated."""

    _transformed_types = (tv_tensors.Image,)

    def __init__(self, quality: tuple[int, int]) -> None:
        super().__init__()
        self.quality = quality

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        low, high = self.quality
        return {"quality": int(torch.randint(low, high + 1, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        pixels = np.ascontiguousarray(inpt.numpy()[::-1].transpose(1, 2, 0))
        done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, params["quality"]])
        if not done:
            raise OSError("JPEG encoding failed")
        decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
        return tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(decoded[..., ::-1].transpose(2, 0, 1))))


class Noise(v2.Transform):  # type: ignore[misc]
    """Gaussian noise whose variance, for pixels in [0, 255], is drawn evenly from a range.

    torchvision's own truncates on bytes, which takes a tenth of weak noise away.
    """

    _transformed_types = (tv_tensors.Image,)

    def __init__(self, variance: tuple[float, float]) -> None:
        super().__init__()
        self.variance = variance

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        low, high = self.variance
        return {"sigma": (low + (high - low) * float(torch.rand(()))) ** 0.5}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        pixels = inpt.as_subclass(torch.Tensor).float()
        noisy = pixels + torch.randn(pixels.shape) * params["sigma"]
        return tv_tensors.wrap(_to_bytes(noisy), like=inpt)


class FancyPCA(v2.Transform):  # type: ignore[misc]
    """Shift all colours along the principal axes of the picture's own colours (Krizhevsky et al., 2012).

    ``deviation`` is that of the shift along each axis, as a share of the axis' variance, each colour's own spread
    taken as one.
    """

    _transformed_types = (tv_tensors.Image,)

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"weights": torch.randn(3) * self.deviation}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        pixels = inpt.as_subclass(torch.Tensor).float()
        flat = pixels.reshape(3, -1)
        # A colour that is the same everywhere has no spread to be shifted by.
        spread = flat.std(dim=1, keepdim=True, correction=0).clamp(min=1e-3)
        values, axes = torch.linalg.eigh(torch.cov((flat - flat.mean(dim=1, keepdim=True)) / spread, correction=0))
        shift = (axes @ (params["weights"] * values.clamp(min=0.0))) * spread[:, 0]
        return tv_tensors.wrap(_to_bytes(pixels + shift.view(3, 1, 1)), like=inpt)


def _to_bytes(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.round().clamp(0.0, 255.0).to(torch.uint8)


class IsotropicResize(v2.Transform):  # type: ignore[misc]
    """The longer side becomes ``size`` pixels, with one of the reference's three pairs of interpolations."""

    _transformed_types = (tv_tensors.Image, tv_tensors.Mask, tv_tensors.KeyPoints)

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        chosen = INTERPOLATIONS[int(torch.randint(len(INTERPOLATIONS), ()))]
        height, width = v2.query_size(flat_inputs)
        # Only for the size that results.
        new_height, new_width = resize_isotropically(np.zeros((height, width), dtype=np.uint8), self.size).shape
        return {"interpolations": chosen, "old": (height, width), "new": (new_height, new_width)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        (height, width), (new_height, new_width) = params["old"], params["new"]
        if isinstance(inpt, tv_tensors.KeyPoints):
            scaled = inpt.as_subclass(torch.Tensor) * torch.tensor([new_width / width, new_height / height])
            return tv_tensors.KeyPoints(scaled, canvas_size=(new_height, new_width))
        if isinstance(inpt, tv_tensors.Mask):
            nearest = resize_isotropically(inpt.numpy(), self.size, down=cv2.INTER_NEAREST, up=cv2.INTER_NEAREST)
            return tv_tensors.Mask(torch.from_numpy(np.ascontiguousarray(nearest)))
        down, up = params["interpolations"]
        pixels = resize_isotropically(np.ascontiguousarray(inpt.permute(1, 2, 0).numpy()), self.size, down=down, up=up)
        return tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).contiguous())


class PadToSquare(v2.Transform):  # type: ignore[misc]
    """Centre on a black square of ``size`` pixels; offsets are truncated, as at inference."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.query_size(flat_inputs)
        left, top = (self.size - width) // 2, (self.size - height) // 2
        return {"padding": [left, top, self.size - width - left, self.size - height - top]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(functional.pad, inpt, padding=params["padding"], fill=0, padding_mode="constant")


# ------------------------------------------------------------------------------------------------------------ erasing


def erase(crop: Crop, settings: Augmentation, *, is_fake: bool, rng: np.random.Generator) -> Picture:
    """Black out eyes, mouth or nose; or else half of the face; or else half of the picture; or nothing."""
    if crop.landmarks is not None and rng.random() < settings.erase_landmarks:
        return erase_landmarks(crop.pixels, crop.landmarks, rng)
    if rng.random() < settings.half_hull:
        return erase_half_hull(crop.pixels, crop.landmarks, rng)
    if rng.random() < settings.half_mask:
        return erase_half(crop, is_fake=is_fake, rng=rng)
    return crop.pixels


def erase_landmarks(pixels: Picture, landmarks: NDArray[np.float32], rng: np.random.Generator) -> Picture:
    """Black out the eyes (half of the times), the mouth or the nose (a quarter each)."""
    left_eye, right_eye, nose, left_mouth, right_mouth = landmarks
    chosen = rng.random()
    if chosen < 0.5:
        return _erase_line(pixels, left_eye, right_eye, thickness=_distance(left_eye, right_eye) // 4)
    if chosen < 0.75:
        return _erase_line(pixels, left_mouth, right_mouth, thickness=_distance(left_mouth, right_mouth) // 3)
    between = (left_eye + right_eye) / 2
    return _erase_line(pixels, nose, between, thickness=_distance(left_eye, right_eye) // 4)


def _erase_line(pixels: Picture, start: NDArray[np.float32], end: NDArray[np.float32], *, thickness: float) -> Picture:
    """Black out everything within ``thickness`` pixels (along the axes) of a line."""
    mask = np.zeros(pixels.shape[:2], dtype=np.uint8)
    (x1, y1), (x2, y2) = (np.round(point).astype(int).tolist() for point in (start, end))
    cv2.line(mask, (x1, y1), (x2, y2), 1, thickness=2)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    erased = pixels.copy()
    erased[cv2.dilate(mask, cross, iterations=max(int(thickness), 0)) > 0] = 0
    return erased


def erase_half_hull(pixels: Picture, landmarks: NDArray[np.float32] | None, rng: np.random.Generator) -> Picture:
    """Black out the left, right, upper or lower half of the face.

    Its outline is drawn from the landmarks; without them it is the ellipse in the face box.
    """
    height, width = pixels.shape[:2]
    hull = np.zeros((height, width), dtype=np.uint8)
    if landmarks is not None:
        cv2.fillPoly(hull, [np.round(outline(landmarks, Region.WHOLE)).astype(np.int32)], 1)
    else:
        radii = (int(width * (0.5 - BOX_MARGIN)), int(height * (0.5 - BOX_MARGIN)))
        cv2.ellipse(hull, (width // 2, height // 2), radii, 0, 0, 360, 1, -1)
    rows, columns = np.nonzero(hull)
    if not len(rows):
        # Moved out of the picture.
        return pixels
    hull[_half(hull.shape, int(rows.mean()), int(columns.mean()), rng)] = 0
    erased = pixels.copy()
    erased[hull > 0] = 0
    return erased


def _half(shape: tuple[int, ...], row: int, column: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """One of the four halves that a row or a column divides a picture into."""
    everything = slice(None)
    choices = [(slice(row), everything), (slice(row, None), everything)]
    choices += [(everything, slice(column)), (everything, slice(column, None))]
    return choices[int(rng.integers(len(choices)))]


def half_masks(height: int, width: int) -> list[NDArray[np.bool_]]:
    """What stays visible: four halves, and the two pairs of opposite quarters."""
    row, column = height // 2, width // 2
    top = np.zeros((height, width), dtype=bool)
    top[:row] = True
    left = np.zeros((height, width), dtype=bool)
    left[:, :column] = True
    return [top, ~top, left, ~left, top ^ left, ~(top ^ left)]


def erase_half(crop: Crop, *, is_fake: bool, rng: np.random.Generator) -> Picture:
    """Black out half of the picture, or two opposite quarters; of a fake only so that something changed remains."""
    masks = half_masks(*crop.pixels.shape[:2])
    for index in rng.permutation(len(masks)):
        visible = masks[int(index)]
        if not is_fake or np.count_nonzero(crop.changed[visible] > CLEARLY_CHANGED) > LEAST_CHANGED:
            return np.where(visible[..., None], crop.pixels, 0).astype(np.uint8)
    return crop.pixels


def _distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(one - other))
