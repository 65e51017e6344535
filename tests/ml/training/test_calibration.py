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
    halves = {"one": logits - 1.0, "other": logits + 1.0}
    reals = {name: values[:4000] for name, values in halves.items()}
    calibration = fit_calibration(halves, samples, reals, config, false_alarms=0.01)
    assert calibration.keys() == {"blending", "synthesis"}
    for settings in calibration.values():
        assert settings["one"] == settings["other"] == pytest.approx(0.75 / 2, abs=0.03)
        assert settings["offset"] == pytest.approx(-0.75 * 2.5, abs=0.1)


def test_one_threshold_keeps_the_false_alarms_of_every_output() -> None:
    rng = np.random.default_rng(0)
    # The second output's real faces have a long tail.
    reals = np.stack([rng.normal(0, 1, 5000), rng.standard_t(2, 5000)], axis=1)
    fakes = rng.normal(3, 1, (5000, 2))
    both = {"blending": 0.0, "synthesis": 0.0}
    samples = [Sample(PIXELS, both, "real")] * 5000 + [Sample(PIXELS, dict.fromkeys(both, 1.0), "fake")] * 5000
    logits = np.concatenate([reals, fakes])
    calibration = fit_calibration({"tiny": logits}, samples, {"tiny": reals}, tiny_config(), false_alarms=0.02)
    calibrated = np.stack([s["tiny"] * reals[:, i] + s["offset"] for i, s in enumerate(calibration.values())], axis=1)
    thresholds = np.quantile(calibrated, 0.98, axis=0)
    assert thresholds[0] == pytest.approx(thresholds[1], abs=1e-6)
    # The well-behaved output keeps its calibration: half way between the means it is even odds.
    assert calibration["blending"]["tiny"] * 1.5 + calibration["blending"]["offset"] == pytest.approx(0, abs=0.1)


def test_an_output_that_ranks_the_wrong_way_round_is_refused() -> None:
    samples = [Sample(PIXELS, {"blending": float(fake), "synthesis": float(fake)}, "") for fake in (0, 0, 1, 1)]
    logits = {"tiny": np.array([[2.0, 2], [1, 1], [0, 0], [1.5, 1.5]])}
    with pytest.raises(ValueError, match="below reals"):
        fit_calibration(logits, samples, logits, tiny_config(), false_alarms=0.01)


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
