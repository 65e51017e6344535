from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.training.autoencoder import (
    SIZE,
    TEMPLATE,
    FaceAutoencoder,
    align,
    generated_donor,
    load_autoencoder,
    train_autoencoder,
)
from ml.training.faces_index import TrainingFace
from ml.training.samples import FacePool
from tests.ml.training.conftest import LANDMARKS, draw_portrait, tiny_config

Data = tuple[Path, list[TrainingFace]]


def test_an_aligned_face_has_its_points_where_the_template_says() -> None:
    picture = np.zeros((96, 96, 3), dtype=np.float32)
    for x, y in LANDMARKS:
        picture[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = 255.0
    aligned = align(picture, np.asarray(LANDMARKS, dtype=np.float32)).max(axis=2)
    for x, y in TEMPLATE * SIZE:
        near = aligned[int(y) - 6 : int(y) + 7, int(x) - 6 : int(x) + 7]
        assert near.max() > 100, (x, y)


@pytest.mark.slow
@pytest.mark.long
def test_it_learns_and_its_fakes_differ_inside_the_face_only(data: Data, tmp_path: Path) -> None:
    root, faces = data
    torch.manual_seed(0)
    pictures = [align(draw_portrait(n), np.asarray(LANDMARKS, dtype=np.float32)) for n in range(8)]
    path = train_autoencoder(faces, root, tmp_path, steps=120, seed=1, device="cpu")
    model = load_autoencoder(path)
    batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        learnt = (model(batch) - batch).abs().mean()
        untrained = (FaceAutoencoder().eval()(batch) - batch).abs().mean()
    assert learnt < 0.8 * untrained

    config = tiny_config(kind_shares={"autoencode": 1.0})
    pool = FacePool(faces, root, config, model)
    real, fake = pool.blending_pair(np.random.default_rng(3))
    assert fake.kind == "autoencode"
    assert fake.targets == {"blending": 1.0}
    assert (real.pixels != fake.pixels).any()
    again = FacePool(faces, root, config, model).blending_pair(np.random.default_rng(3))[1]
    assert np.array_equal(fake.pixels, again.pixels)


def test_codes_of_two_people_mix(data: Data) -> None:
    torch.manual_seed(0)
    model = FaceAutoencoder().eval()
    one, other = (align(draw_portrait(n), np.asarray(LANDMARKS, dtype=np.float32)) for n in (0, 1))
    alone = generated_donor(model, [one], 0.0).picture
    assert alone.shape == (SIZE, SIZE, 3)
    assert 0 <= alone.min() <= alone.max() <= 255
    np.testing.assert_allclose(generated_donor(model, [one, other], 0.0).picture, alone, atol=1e-3)
    mixed = generated_donor(model, [one, other], 0.5).picture
    assert np.abs(mixed - alone).max() > 0
    # All of the second code is the second face.
    whole = generated_donor(model, [one, other], 1.0).picture
    np.testing.assert_allclose(whole, generated_donor(model, [other], 0.0).picture, atol=1e-2)


def test_without_an_autoencoder_its_fakes_are_refused(data: Data) -> None:
    root, faces = data
    config = replace(tiny_config(), kind_shares={"self_blend": 0.5, "autoencode": 0.5})
    with pytest.raises(ValueError, match="need an autoencoder"):
        FacePool(faces, root, config)
