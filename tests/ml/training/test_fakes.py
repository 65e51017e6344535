from __future__ import annotations

import numpy as np
import pytest

from ml.training.degradation import Codec, Degradation, degrade, draw_degradation, through_h264, through_jpeg
from ml.training.fakes import Donor, FakeKind, make_fake, similarity
from ml.training.regions import Region, draw_mask, outline
from tests.ml.training.conftest import LANDMARKS, SIZE, draw_portrait

POINTS = np.asarray(LANDMARKS, dtype=np.float32)


def portrait(seed: int = 1) -> np.ndarray:
    return draw_portrait(seed).astype(np.float32)


@pytest.mark.parametrize("region", list(Region))
def test_a_mask_is_soft_and_lies_around_its_region(region: Region) -> None:
    for seed in range(5):
        mask = draw_mask(POINTS, region, SIZE, SIZE, np.random.default_rng(seed))
        assert mask.shape == (SIZE, SIZE)
        assert mask.dtype == np.float32
        assert mask.min() >= 0.0
        assert 0.5 < mask.max() <= 1.0
        rows, columns = np.nonzero(mask > 0.5)
        centre = outline(POINTS, region).mean(axis=0)
        assert abs(columns.mean() - centre[0]) < 12
        assert abs(rows.mean() - centre[1]) < 12


def test_a_mouth_mask_leaves_the_eyes_alone() -> None:
    mask = draw_mask(POINTS, Region.MOUTH, SIZE, SIZE, np.random.default_rng(3))
    assert mask[38, 36] < 0.05
    assert mask[38, 60] < 0.05


@pytest.mark.parametrize("kind", list(FakeKind))
def test_a_fake_differs_from_its_real_side_inside_the_mask_only(kind: FakeKind) -> None:
    donor = Donor(portrait(2), POINTS + 2)
    for seed in range(5):
        pair = make_fake(kind, portrait(), POINTS, np.random.default_rng(seed), donor=donor)
        assert pair.real.shape == pair.fake.shape == (SIZE, SIZE, 3)
        outside = pair.mask == 0
        assert outside.any()
        np.testing.assert_array_equal(pair.fake[outside], pair.real[outside])
        assert np.abs(pair.fake - pair.real)[pair.mask > 0.2].mean() > 0.05
        assert pair.fake.min() >= 0.0
        assert pair.fake.max() <= 255.0


@pytest.mark.parametrize("kind", [FakeKind.REENACT, FakeKind.RECONSTRUCT, FakeKind.SWAP])
def test_the_real_side_stays_the_portrait_before_compression(kind: FakeKind) -> None:
    picture = portrait()
    pair = make_fake(kind, picture, POINTS, np.random.default_rng(0), donor=Donor(portrait(2), POINTS))
    np.testing.assert_array_equal(pair.real, portrait())


def test_making_a_fake_does_not_write_into_the_portrait() -> None:
    picture = portrait()
    for kind in FakeKind:
        make_fake(kind, picture, POINTS, np.random.default_rng(0), donor=Donor(portrait(2), POINTS))
    np.testing.assert_array_equal(picture, portrait())


def test_a_swap_without_a_donor_is_refused() -> None:
    with pytest.raises(ValueError, match="donor"):
        make_fake(FakeKind.SWAP, portrait(), POINTS, np.random.default_rng(0))


def test_the_similarity_transform_is_recovered_from_points() -> None:
    angle, scale = np.deg2rad(20), 1.3
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (POINTS @ rotation.T + [5, -3]).astype(np.float32)
    matrix = similarity(POINTS, moved)
    np.testing.assert_allclose(POINTS @ matrix[:, :2].T + matrix[:, 2], moved, atol=1e-3)


def test_a_degradation_gives_the_same_pixels_for_the_same_picture() -> None:
    rng = np.random.default_rng(4)
    for _ in range(12):
        degradation = draw_degradation(rng, 96)
        first, second = degrade(portrait(), degradation), degrade(portrait(), degradation)
        np.testing.assert_array_equal(first, second)
        assert max(first.shape[:2]) == degradation.size & ~1


def test_real_and_fake_go_through_the_codec_alike() -> None:
    """Far from the blended mouth the two sides of a pair stay as alike as before, whatever the codec did."""
    pair = make_fake(FakeKind.PART_BLEND, portrait(), POINTS, np.random.default_rng(1))
    for codec in Codec:
        degradation = Degradation(size=SIZE, codec=codec, crf=35, quality=40, noise=3.0, noise_seed=9, frames=2)
        real, fake = degrade(pair.real, degradation), degrade(pair.fake, degradation)
        far = np.s_[:12, :12]
        assert np.abs(real[far].astype(int) - fake[far].astype(int)).mean() < 2.0
        assert np.abs(real.astype(int) - degrade(portrait(7), degradation).astype(int)).mean() > 2.0


def test_stronger_compression_loses_more() -> None:
    picture = draw_portrait(3)

    def loss(other: np.ndarray) -> float:
        return float(np.abs(picture.astype(float) - other).mean())

    assert loss(through_h264([picture], crf=42)[0]) > loss(through_h264([picture], crf=20)[0]) > 0
    assert loss(through_jpeg(picture, 30)) > loss(through_jpeg(picture, 95)) > 0


def test_h264_gives_back_every_frame_in_order() -> None:
    frames = [np.full((64, 64, 3), level, dtype=np.uint8) for level in (20, 120, 220)]
    decoded = through_h264(frames, crf=20)
    assert [round(float(frame.mean()), -1) for frame in decoded] == [20, 120, 220]
