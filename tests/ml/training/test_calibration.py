from __future__ import annotations

import numpy as np
import pytest
import torch

from ml.training.calibration import combine, fit_calibration
from ml.training.samples import Sample
from ml.training.trainer import averaged_models, new_state
from tests.ml.training.conftest import TINY, tiny_config

PIXELS = np.zeros((48, 48, 3), dtype=np.uint8)


def test_calibrated_logits_are_the_odds_that_the_file_is_fake() -> None:
    rng = np.random.default_rng(0)
    # Two normal distributions of the same spread: the true log odds are 0.75 · (x - 2.5).
    logits = np.concatenate([rng.normal(1, 2, (4000, 2)), rng.normal(4, 2, (2000, 2))])
    both = {"blending": 0.0, "synthesis": 0.0}
    samples = [Sample(PIXELS, both, "real")] * 4000 + [Sample(PIXELS, dict.fromkeys(both, 1.0), "fake")] * 2000
    config = tiny_config(networks={"one": TINY, "other": TINY})
    calibration = fit_calibration({"one": logits - 1.0, "other": logits + 1.0}, samples, config)
    assert calibration.keys() == {"blending", "synthesis"}
    for settings in calibration.values():
        assert settings["one"] == settings["other"] == pytest.approx(0.75 / 2, abs=0.03)
        assert settings["offset"] == pytest.approx(-0.75 * 2.5, abs=0.1)


def test_an_output_that_ranks_the_wrong_way_round_is_refused() -> None:
    samples = [Sample(PIXELS, {"blending": float(fake), "synthesis": float(fake)}, "") for fake in (0, 0, 1, 1)]
    logits = {"tiny": np.array([[2.0, 2], [1, 1], [0, 0], [1.5, 1.5]])}
    with pytest.raises(ValueError, match="below reals"):
        fit_calibration(logits, samples, tiny_config())


def test_calibration_moves_the_named_output_only() -> None:
    config = tiny_config(calibration={"synthesis": {"tiny": 2.0, "offset": -1.0}})
    (model,) = averaged_models(new_state(config, pretrained=False), config).values()
    faces = torch.randn(3, 3, 48, 48)
    with torch.inference_mode():
        before = model(faces)
    network = combine({"tiny": model}, config)
    with torch.inference_mode():
        after = network(faces)
    torch.testing.assert_close(after[:, 0], before[:, 0])
    torch.testing.assert_close(after[:, 1], before[:, 1] * 2.0 - 1.0)


@pytest.mark.parametrize("calibration", [{"blendin": {"offset": 0.0}}, {"blending": {"blendin": 1.0}}])
def test_calibration_of_an_unknown_output_or_network_is_refused(calibration: dict[str, dict[str, float]]) -> None:
    config = tiny_config(calibration=calibration)
    with pytest.raises(ValueError, match="blendin"):
        combine(averaged_models(new_state(config, pretrained=False), config), config)
