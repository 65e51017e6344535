from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision import tv_tensors

from ml.faces.geometry import fit_face
from ml.training.dfdc.augmentation import (
    Augmenter,
    Crop,
    FancyPCA,
    Jpeg,
    Noise,
    erase,
    erase_half,
    erase_half_hull,
    erase_landmarks,
    half_masks,
)
from ml.training.dfdc.config import Augmentation
from tests.media_factory import portrait

SIZE = 96
# Of the portrait's head, cut out below.
LANDMARKS = np.array([[32, 48], [70, 50], [50, 72], [36, 90], [66, 92]], dtype=np.float32)


def head() -> NDArray[np.uint8]:
    return portrait()[50:190, 172:272].copy()


def head_crop(*, changed: bool = False, landmarks: bool = True) -> Crop:
    pixels = head()
    mask = np.zeros(pixels.shape[:2], dtype=np.uint8)
    if changed:
        mask[80:100, 30:70] = 200
    return Crop(pixels, mask, LANDMARKS if landmarks else None)


def only(**settings: Any) -> Augmentation:
    """No change but the named ones."""
    probabilities = {"jpeg", "noise", "blur", "flip", "colour", "grey", "shift_scale_rotate"}
    probabilities |= {"erase_landmarks", "half_hull", "half_mask"}
    settings = dict.fromkeys(probabilities, 0.0) | settings
    return replace(Augmentation(), **settings)


def augment(settings: Augmentation, crop: Crop, seed: int = 0, *, is_fake: bool = False) -> NDArray[np.uint8]:
    return Augmenter(settings, SIZE)(crop, is_fake=is_fake, rng=np.random.default_rng(seed))


def test_without_changes_a_crop_is_fitted_as_at_inference() -> None:
    seen = {augment(only(), head_crop(), seed).tobytes() for seed in range(12)}
    assert fit_face(head(), SIZE).tobytes() in seen
    # Area, then linear: enlarging does not occur here, so two of the three ways are the same.
    assert len(seen) == 2


def test_the_generator_decides_everything_and_torchs_own_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one = augment(Augmentation(), head_crop(changed=True), 3, is_fake=True)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    assert np.array_equal(one, augment(Augmentation(), head_crop(changed=True), 3, is_fake=True))
    others = {augment(Augmentation(), head_crop(), seed).tobytes() for seed in range(8)}
    assert len(others) == 8


@pytest.mark.parametrize("shape", [(30, 90), (90, 30), (7, 5), (200, 199), (96, 96)])
def test_any_crop_becomes_the_networks_size(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    for seed in range(6):
        for landmarks in (None, np.zeros((5, 2), dtype=np.float32)):
            crop = Crop(pixels, np.zeros(shape, dtype=np.uint8), landmarks)
            picture = augment(replace(Augmentation(), shift_scale_rotate=1.0), crop, seed)
            assert picture.shape == (SIZE, SIZE, 3)
            assert picture.dtype == np.uint8


@pytest.mark.parametrize(
    "name", ["jpeg", "noise", "blur", "flip", "colour", "grey", "shift_scale_rotate", "erase_landmarks", "half_hull"]
)
def test_each_change_happens_as_often_as_said(name: str) -> None:
    unchanged = {augment(only(), head_crop(), seed).tobytes() for seed in range(12)}
    settings = only(**{name: 0.5})
    augmenter = Augmenter(settings, SIZE)
    crop, draws = head_crop(), 120
    outputs = [augmenter(crop, is_fake=False, rng=np.random.default_rng(seed)).tobytes() for seed in range(draws)]
    changed = sum(output not in unchanged for output in outputs)
    # Five standard deviations of a fair coin.
    assert abs(changed - draws / 2) < 5 * (draws / 4) ** 0.5


def test_the_shares_of_erasing() -> None:
    crop = head_crop(changed=True)
    crop = Crop(np.full_like(crop.pixels, 200), crop.changed, crop.landmarks)
    rng = np.random.default_rng(1)
    kinds: Counter[str] = Counter()
    draws = 1500
    for _ in range(draws):
        black = ~erase(crop, Augmentation(), is_fake=True, rng=rng).any(axis=2)
        kinds["none" if black.sum() < 50 else "half" if black.mean() > 0.45 else "part"] += 1
    # .7 a part of the face; of the other .3 a fifth half of the hull, of what is left a tenth half of the picture.
    assert kinds["part"] / draws == pytest.approx(0.7 + 0.3 * 0.2, abs=0.05)
    assert kinds["half"] / draws == pytest.approx(0.3 * 0.8 * 0.1, abs=0.02)


def test_eyes_mouth_or_nose_are_blacked_out() -> None:
    pixels, rng = np.full((140, 100, 3), 200, dtype=np.uint8), np.random.default_rng(0)
    seen: Counter[str] = Counter()
    points = {"eyes": LANDMARKS[:2], "nose": LANDMARKS[2:3], "mouth": LANDMARKS[3:]}
    for _ in range(400):
        erased = erase_landmarks(pixels, LANDMARKS, rng)
        gone = [name for name, part in points.items() if all(not erased[int(y), int(x)].any() for x, y in part)]
        assert len(gone) == 1
        seen[gone[0]] += 1
        assert 0.01 < (erased == 0).mean() < 0.25
    assert pixels.min() == 200
    assert seen["eyes"] == pytest.approx(200, abs=50)
    assert seen["mouth"] == pytest.approx(100, abs=45)
    assert seen["nose"] == pytest.approx(100, abs=45)


@pytest.mark.parametrize("landmarks", [LANDMARKS, None])
def test_half_of_the_face_is_blacked_out(landmarks: NDArray[np.float32] | None) -> None:
    pixels, rng = np.full((140, 100, 3), 200, dtype=np.uint8), np.random.default_rng(0)
    halves = {erase_half_hull(pixels, landmarks, rng).tobytes() for _ in range(60)}
    assert len(halves) == 4
    whole = np.zeros((140, 100), dtype=bool)
    for half in halves:
        black = ~np.frombuffer(half, dtype=np.uint8).reshape(pixels.shape).any(axis=2)
        assert 0.08 < black.mean() < 0.35
        whole |= black
    # Together they are the face; the corners are not.
    assert whole[70, 50]
    assert not whole[[0, 0, -1, -1], [0, -1, 0, -1]].any()


def test_a_face_moved_out_of_the_picture_is_no_error() -> None:
    pixels = np.full((50, 50, 3), 200, dtype=np.uint8)
    far = LANDMARKS + 500
    rng = np.random.default_rng(0)
    assert np.array_equal(erase_half_hull(pixels, far, rng), pixels)
    assert erase_landmarks(pixels, far, rng).shape == pixels.shape


def test_there_are_four_halves_and_two_pairs_of_quarters() -> None:
    masks = half_masks(10, 20)
    assert len({mask.tobytes() for mask in masks}) == 6
    assert all(mask.mean() == 0.5 for mask in masks)


def test_a_fake_keeps_something_that_was_changed() -> None:
    crop, rng = head_crop(changed=True), np.random.default_rng(0)
    for _ in range(60):
        erased = erase_half(crop, is_fake=True, rng=rng)
        assert np.count_nonzero(crop.changed[erased.any(axis=2)]) > 20
    # Nothing changed but by compression: no half would leave it a fake, so it stays whole.
    untouched = head_crop(changed=False)
    untouched.changed[:] = 15
    assert np.array_equal(erase_half(untouched, is_fake=True, rng=rng), untouched.pixels)
    assert not np.array_equal(erase_half(untouched, is_fake=False, rng=rng), untouched.pixels)


def test_landmarks_and_mask_move_with_the_picture() -> None:
    pixels = np.full((140, 100, 3), 90, dtype=np.uint8)
    for x, y in LANDMARKS.astype(int):
        cv2.circle(pixels, (int(x), int(y)), 5, (255, 255, 255), -1)
    settings = only(flip=0.5, shift_scale_rotate=1.0)
    augmenter = Augmenter(settings, SIZE)
    hits = 0
    for seed in range(30):
        # Erasing shows where the landmarks have gone: with them the white dots must vanish.
        eyes = replace(settings, erase_landmarks=1.0)
        plain = augmenter(Crop(pixels, pixels[..., 0], LANDMARKS), is_fake=False, rng=np.random.default_rng(seed))
        erased = Augmenter(eyes, SIZE)(
            Crop(pixels, pixels[..., 0], LANDMARKS), is_fake=False, rng=np.random.default_rng(seed)
        )
        white = (plain > 200).all(axis=2).sum()
        left = (erased > 200).all(axis=2).sum()
        assert left < white
        hits += left <= 0.85 * white
    assert hits == 30


def test_noise_has_the_variance_asked_for() -> None:
    torch.manual_seed(0)
    grey = tv_tensors.Image(torch.full((3, 64, 64), 128, dtype=torch.uint8))
    deviations = [float(Noise((10.0, 50.0))(grey).float().std()) for _ in range(40)]
    assert min(deviations) > 10**0.5 * 0.9
    assert max(deviations) < 50**0.5 * 1.1
    assert max(deviations) - min(deviations) > 1.5


def test_fancy_pca_shifts_all_pixels_alike_along_the_pictures_colours() -> None:
    torch.manual_seed(1)
    picture = tv_tensors.Image(torch.from_numpy(head() // 2 + 60).permute(2, 0, 1).contiguous())
    sizes = []
    for _ in range(30):
        shift = FancyPCA(0.1)(picture).float() - picture.float()
        assert float((shift - shift.mean(dim=(1, 2), keepdim=True)).abs().max()) <= 1.0
        sizes.append(float(shift.abs().max()))
    assert min(sizes) < max(sizes) < 60
    assert max(sizes) > 10
    flat = tv_tensors.Image(torch.full((3, 8, 8), 77, dtype=torch.uint8))
    assert torch.equal(FancyPCA(5.0)(flat), flat)


def test_jpeg_keeps_colours_and_loses_detail_with_quality() -> None:
    picture = tv_tensors.Image(torch.from_numpy(head()).permute(2, 0, 1).contiguous())
    losses = [float((Jpeg((q, q))(picture).float() - picture.float()).abs().mean()) for q in (100, 80, 60)]
    assert losses == sorted(losses)
    assert 0 < losses[0] < 1.5
    # Exchanged colour channels would be worlds away.
    assert losses[2] < 6


def test_the_settings_are_the_references() -> None:
    settings = Augmentation()
    named = {item.name: getattr(settings, item.name) for item in fields(settings)}
    reference = {
        "jpeg": 0.5, "jpeg_quality": (60, 100), "noise": 0.1, "blur": 0.05, "blur_kernel": 3, "flip": 0.5,
        "colour": 0.7, "grey": 0.2, "shift_scale_rotate": 0.5, "shift": 0.1, "scale": 0.2, "rotate": 10.0,
        "erase_landmarks": 0.7, "half_hull": 0.2, "half_mask": 0.1,
    }  # fmt: skip
    assert {name: named[name] for name in reference} == reference
