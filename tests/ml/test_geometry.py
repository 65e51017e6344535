"""Crop geometry follows the reference to the last truncation."""

from __future__ import annotations

import numpy as np
import pytest

from ml.contracts import Box
from ml.faces.geometry import crop_face, detection_scale, fit_face, pad_box, resize_isotropically


@pytest.mark.parametrize(
    ("width", "scale"), [(299, 2), (300, 1), (1000, 1), (1001, 0.5), (1900, 0.5), (1901, 0.33), (3840, 0.33)]
)
def test_scale_follows_the_wider_side(width: int, scale: float) -> None:
    assert detection_scale(width) == scale


def test_huge_photos_are_searched_at_a_bounded_size() -> None:
    assert 12_000 * detection_scale(12_000) == pytest.approx(1584)


def test_box_is_padded_by_a_third_on_each_side() -> None:
    padded = pad_box(Box(200, 160, 320, 320), 1920, 1080)

    assert padded == Box(160, 107, 360, 373)


def test_padding_is_clipped_to_the_frame() -> None:
    assert pad_box(Box(-5, 2, 30, 50), 40, 60) == Box(0, 0, 40, 60)


def test_crop_is_fitted_as_the_reference_fits_it() -> None:
    frame = np.full((1080, 1920, 3), 255, dtype=np.uint8)

    crop = crop_face(frame, Box(200, 160, 320, 320))
    face = fit_face(crop, 380)

    assert crop.shape == (266, 200, 3)
    columns = np.flatnonzero(face.any(axis=(0, 2)))
    assert face.shape == (380, 380, 3)
    assert (columns[0], len(columns)) == (47, 285)
    assert face.any(axis=(1, 2)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (380, 380), (379, 381)])
def test_any_shape_fits(shape: tuple[int, int]) -> None:
    assert fit_face(np.zeros((*shape, 3), dtype=np.uint8), 380).shape == (380, 380, 3)


def test_fitting_a_crop_that_was_shrunk_before_changes_nothing() -> None:
    crop = np.random.default_rng(1).integers(0, 256, (733, 541, 3), dtype=np.uint8)

    assert np.array_equal(fit_face(resize_isotropically(crop, 380), 380), fit_face(crop, 380))
