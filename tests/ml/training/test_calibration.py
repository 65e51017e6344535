from __future__ import annotations

import numpy as np
import pytest
import torch

from ml.training.calibration import apply_calibration, fit_calibration
from ml.training.samples import Sample
from ml.training.trainer import averaged_model, new_state
from tests.ml.training.conftest import tiny_config

PIXELS = np.zeros((48, 48, 3), dtype=np.uint8)


def test_the_wanted_share_of_reals_lies_above_one_half() -> None:
    rng = np.random.default_rng(0)
    logits = np.concatenate([rng.normal(1, 2, (400, 2)), rng.normal(4, 2, (400, 2))])
    both = {"blending": 0.0, "synthesis": 0.0}
    samples = [Sample(PIXELS, both, "real")] * 400 + [Sample(PIXELS, dict.fromkeys(both, 1.0), "fake")] * 400
    calibration = fit_calibration(logits, samples, tiny_config(), false_alarms=0.1)
    for column, (scale, offset) in enumerate(calibration.values()):
        assert scale > 0
        assert (scale * logits[:400, column] + offset > 0).mean() == pytest.approx(0.1, abs=0.005)


def test_an_output_that_ranks_the_wrong_way_round_is_refused() -> None:
    samples = [Sample(PIXELS, {"blending": float(fake), "synthesis": float(fake)}, "") for fake in (0, 0, 1, 1)]
    with pytest.raises(ValueError, match="below reals"):
        fit_calibration(np.array([[2.0, 2], [1, 1], [0, 0], [1.5, 1.5]]), samples, tiny_config(), false_alarms=0.1)


def test_calibration_moves_the_named_output_only() -> None:
    config = tiny_config(calibration={"synthesis": (2.0, -1.0)})
    model = averaged_model(new_state(config, pretrained=False), config)
    faces = torch.randn(3, 3, 48, 48)
    with torch.inference_mode():
        before = model(faces)
    apply_calibration(model, config)
    with torch.inference_mode():
        after = model(faces)
    torch.testing.assert_close(after[:, 0], before[:, 0])
    torch.testing.assert_close(after[:, 1], before[:, 1] * 2.0 - 1.0)


def test_calibration_of_an_unknown_output_is_refused() -> None:
    config = tiny_config(calibration={"blendin": (1.0, 0.0)})
    with pytest.raises(ValueError, match="blendin"):
        apply_calibration(averaged_model(new_state(config, pretrained=False), config), config)
