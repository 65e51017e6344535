"""Bringing the outputs to one scale before the largest of them decides.

Each output looks for another kind of fake and errs differently: taken as they come, the output that raises more
false alarms would rule the verdict. Scale and offset are chosen on held-out people, and go into the last layer at
export, so that serving code needs to know nothing of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from ml.detectors.network import FaceClassifier
from ml.training.config import TrainingConfig
from ml.training.samples import Sample

Array = NDArray[np.float64]


def fit_calibration(
    logits: Array, samples: Sequence[Sample], config: TrainingConfig, *, false_alarms: float
) -> dict[str, tuple[float, float]]:
    """(scale, offset) by output for logits (n, outputs).

    The scale is Platt's (1999), with fakes and reals weighing the same. The offset puts the share ``false_alarms``
    of the real faces above one half: unlike Platt's it does not depend on how hard the fakes at hand are.
    """
    calibration = {}
    for column, output in enumerate(config.outputs):
        labels = np.asarray([sample.targets.get(output, np.nan) for sample in samples])
        fakes, reals = logits[labels == 1.0, column], logits[labels == 0.0, column]
        if not fakes.size or not reals.size:
            raise ValueError(f"no fakes or no reals to calibrate {output} with")
        scale = _platt_scale(fakes, reals)
        calibration[output] = (scale, -scale * float(np.quantile(reals, 1.0 - false_alarms)))
    return calibration


def _platt_scale(fakes: Array, reals: Array) -> float:
    def loss(parameters: Array) -> float:
        scale, offset = parameters
        fake_loss = np.logaddexp(0.0, -(scale * fakes + offset)).mean()
        return float(fake_loss + np.logaddexp(0.0, scale * reals + offset).mean())

    scale = float(minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x[0])
    if scale <= 0:
        raise ValueError("the output ranks fakes below reals: nothing to calibrate")
    return scale


def apply_calibration(model: FaceClassifier, config: TrainingConfig) -> None:
    """Write ``config.calibration`` into the last layer, in place. Outputs it doesn't name stay as they are."""
    unknown = sorted(set(config.calibration) - set(config.outputs))
    if unknown:
        raise ValueError(f"calibration of unknown outputs: {', '.join(unknown)}")
    with torch.no_grad():
        for name, (scale, offset) in config.calibration.items():
            row = config.outputs.index(name)
            model.fc.weight[row] *= scale
            model.fc.bias[row] = model.fc.bias[row] * scale + offset
