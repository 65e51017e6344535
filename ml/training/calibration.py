"""Making one detector of the trained networks: what each contributes, and the outputs on one scale.

Each output looks for another kind of fake and errs differently: taken as they come, the output that raises more
false alarms would rule the verdict. Scales and offsets are fitted on held-out people, and go into the last layers at
export, so that serving code needs to know nothing of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ml.detectors.network import ClassifierSum, FaceClassifier, Network
from ml.training.config import TrainingConfig
from ml.training.samples import Sample
from ml.training.thresholds import fit_platt

Array = NDArray[np.float64]

OFFSET = "offset"


def fit_calibration(
    logits: Mapping[str, Array],
    samples: Sequence[Sample],
    real_logits: Mapping[str, Array],
    config: TrainingConfig,
    *,
    false_alarms: float,
) -> dict[str, dict[str, float]]:
    """A ``calibration`` for the settings, from each network's logits (n, outputs) of pairs, by Platt's method.

    The networks count alike, and so do fakes and reals: the probabilities are for a file as likely fake as not. One
    threshold holds for all outputs, so those whose real faces score highest are then moved down until the share
    ``false_alarms`` of ``real_logits``, other faces, lies above the same probability in each.
    Raises ValueError without fakes or reals for an output, and for one that ranks fakes below reals.
    """
    mean, real_mean = (np.mean([found[name] for name in config.networks], axis=0) for found in (logits, real_logits))
    fitted, highest = {}, {}
    for column, output in enumerate(config.outputs):
        labels = np.asarray([sample.targets.get(output, np.nan) for sample in samples])
        informed = ~np.isnan(labels)
        fitted[output] = platt = fit_platt(mean[informed, column], labels[informed], balanced=True)
        reals = platt.scale * real_mean[:, column] + platt.offset
        highest[output] = float(np.quantile(reals, 1.0 - false_alarms))
    lowest = min(highest.values())
    return {
        output: {
            **dict.fromkeys(config.networks, platt.scale / len(config.networks)),
            OFFSET: platt.offset - (highest[output] - lowest),
        }
        for output, platt in fitted.items()
    }


def combine(models: Mapping[str, FaceClassifier], config: TrainingConfig) -> Network:
    """The detector's network, with ``config.calibration`` in the last layers of the models, which are changed."""
    _check_names(config)
    with torch.no_grad():
        for row, output in enumerate(config.outputs):
            settings = config.calibration.get(output, dict.fromkeys(config.networks, 1.0 / len(config.networks)))
            for name, model in models.items():
                model.fc.weight[row] *= settings.get(name, 0.0)
                model.fc.bias[row] *= settings.get(name, 0.0)
            next(iter(models.values())).fc.bias[row] += settings.get(OFFSET, 0.0)
    return next(iter(models.values())) if len(models) == 1 else ClassifierSum(models.values())


def _check_names(config: TrainingConfig) -> None:
    unknown = set(config.calibration) - set(config.outputs)
    for settings in config.calibration.values():
        unknown |= set(settings) - set(config.networks) - {OFFSET}
    if unknown:
        raise ValueError(f"calibration of unknown outputs or networks: {', '.join(sorted(unknown))}")
