"""Choosing thresholds and calibrating on held-out scores: arrays in, plain records out.

Scores of one file each (not of faces: faces of one video are no independent observations), of people and clips that
were not trained on. Labels are 1 for fake and 0 for real.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit
from scipy.stats import beta
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from ml.training.statistics import SMALLEST_PROBABILITY, Scored, expected_calibration_error, roc_points

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FalseAlarmThreshold:
    """Scores at or above ``threshold`` are called fake; ``false_alarms`` of the ``reals`` held-out files are.

    ``upper_bound``: the one-sided Clopper-Pearson bound, so with probability ``level`` the true rate lies below it,
    as far as other files are like these and the threshold had been fixed before they were seen.
    """

    threshold: float
    false_alarms: int
    reals: int
    rate: float
    upper_bound: float
    level: float


def threshold_for_false_alarms(
    real_scores: ArrayLike, *, rate: float, level: float = 0.95, assured: bool = False
) -> FalseAlarmThreshold:
    """The lowest threshold at which at most the share `rate` of real files is called fake.

    With `assured`, the lowest one whose upper bound is at most `rate`; that takes many files: for 2 % at level .95,
    149 without a single false alarm. The threshold lies midway between the scores that it parts, and below 1, so that
    a fake can still reach it.
    Raises ValueError without scores, for scores outside [0, 1], and if no threshold below 1 fulfils the wish.
    """
    scores = np.sort(np.asarray(real_scores, dtype=np.float64))[::-1]
    if not scores.size or not 0 < rate < 1:
        raise ValueError("a threshold needs scores of real files, and a rate between 0 and 1")
    if scores[0] > 1 or scores[-1] < 0:
        raise ValueError("scores lie between 0 and 1")
    # One threshold above all scores, then one below each distinct score.
    distinct = np.unique(scores)[::-1]
    edges = np.concatenate([[1.0], distinct, [0.0]])
    chosen = None
    for threshold in (edges[:-1] + edges[1:]) / 2:
        count = int((scores >= threshold).sum())
        bound = upper_bound(count, scores.size, level)
        if (bound if assured else count / scores.size) > rate:
            break
        if threshold < 1.0:
            chosen = FalseAlarmThreshold(float(threshold), count, scores.size, count / scores.size, bound, level)
    if chosen is None:
        raise ValueError(f"{scores.size} files allow no threshold below 1 for {rate:.1%} false alarms")
    return chosen


def upper_bound(count: int, total: int, level: float = 0.95) -> float:
    """One-sided Clopper-Pearson bound on the rate behind `count` of `total`."""
    return 1.0 if count >= total else float(beta.ppf(level, count + 1, total - count))


def equal_error_threshold(fakes: ArrayLike, reals: ArrayLike) -> float:
    """The score, midway between two, from which on calling a file fake errs most evenly on fakes and reals.

    Raises ValueError if either is empty.
    """
    scored = Scored.by_file(fakes, reals)
    fpr, tpr = roc_points(scored)
    # Point i of the ROC calls the i highest distinct scores fake.
    best = int(np.abs(fpr + tpr - 1).argmin())
    distinct = np.unique(scored.scores)[::-1]
    edges = np.concatenate([[1.0], distinct, [0.0]])
    return float((edges[best] + edges[best + 1]) / 2)


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well calibrated the held-out scores were before and after, by log loss and expected calibration error.

    Measured on the scores that were fitted to, so the figures after are a little too good.
    """

    log_loss_before: float
    log_loss_after: float
    error_before: float
    error_after: float


@dataclass(frozen=True, slots=True)
class Temperature:
    """Logits are divided by ``temperature`` (Guo et al. 2017): ranks and the threshold .5 stay."""

    temperature: float
    calibration: Calibration

    def apply(self, logits: ArrayLike) -> Array:
        """Fake probabilities in [0, 1] of the same shape."""
        return np.asarray(expit(np.asarray(logits, dtype=np.float64) / self.temperature))


@dataclass(frozen=True, slots=True)
class Platt:
    """``sigmoid(scale · logit + offset)`` (Platt 1999)."""

    scale: float
    offset: float
    calibration: Calibration

    def apply(self, logits: ArrayLike) -> Array:
        """Fake probabilities in [0, 1] of the same shape."""
        return np.asarray(expit(self.scale * np.asarray(logits, dtype=np.float64) + self.offset))


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A rising curve through (``inputs``, ``outputs``), straight between them and level outside."""

    inputs: tuple[float, ...]
    outputs: tuple[float, ...]
    calibration: Calibration

    def apply(self, scores: ArrayLike) -> Array:
        """Fake probabilities in [0, 1] of the same shape."""
        return np.asarray(np.interp(np.asarray(scores, dtype=np.float64), self.inputs, self.outputs))


def fit_temperature(logits: ArrayLike, labels: ArrayLike, *, balanced: bool = False) -> Temperature:
    """The temperature of the smallest log loss. `balanced`: fakes and reals weigh the same, however many there are.

    Raises ValueError if fakes or reals are missing.
    """
    x, y = _checked(logits, labels)
    weights = _weights(y, balanced=balanced)

    def loss(log_temperature: float) -> float:
        scaled = x / np.exp(log_temperature)
        return float(np.average(np.logaddexp(0.0, np.where(y == 1, -scaled, scaled)), weights=weights))

    found = minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded", options={"xatol": 1e-8})
    temperature = float(np.exp(found.x))
    return Temperature(temperature, _compare(expit(x), expit(x / temperature), y, weights))


def fit_platt(logits: ArrayLike, labels: ArrayLike, *, balanced: bool = False) -> Platt:
    """Scale and offset of the smallest log loss. `balanced`: fakes and reals weigh the same, however many there are.

    A faint penalty (1e-6 of the squared scale) keeps the scale finite where a threshold parts fakes and reals without
    error.
    Raises ValueError if fakes or reals are missing, or if fakes rank below reals.
    """
    x, y = _checked(logits, labels)
    weights = _weights(y, balanced=balanced)
    model = LogisticRegression(C=1e6, tol=1e-8, max_iter=1000).fit(x[:, None], y, sample_weight=weights)
    scale, offset = float(model.coef_[0, 0]), float(model.intercept_[0])
    if scale <= 0:
        raise ValueError("fakes rank below reals: nothing to calibrate")
    return Platt(scale, offset, _compare(expit(x), expit(scale * x + offset), y, weights))


def fit_isotonic(scores: ArrayLike, labels: ArrayLike, *, balanced: bool = False) -> Isotonic:
    """The rising curve of the smallest squared error, for hundreds of files and more: with few it learns them by heart.

    `scores` in [0, 1]. Raises ValueError if fakes or reals are missing.
    """
    x, y = _checked(scores, labels)
    weights = _weights(y, balanced=balanced)
    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(x, y, sample_weight=weights)
    after = model.predict(x)
    return Isotonic(
        tuple(float(value) for value in model.X_thresholds_),
        tuple(float(value) for value in model.y_thresholds_),
        _compare(x, after, y, weights),
    )


def _checked(values: ArrayLike, labels: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(values, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError("one label for each score")
    if not (y == 1).any() or not (y == 0).any():
        raise ValueError("calibrating needs fakes and reals")
    return x, y


def _weights(labels: Array, *, balanced: bool) -> Array:
    """Mean 1."""
    if not balanced:
        return np.ones_like(labels)
    share = labels.mean()
    return np.asarray(np.where(labels == 1, 0.5 / share, 0.5 / (1 - share)))


def _compare(before: Array, after: Array, labels: Array, weights: Array) -> Calibration:
    def loss(scores: Array) -> float:
        clipped = np.clip(scores, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
        return float(log_loss(labels, clipped, sample_weight=weights))

    return Calibration(
        loss(before),
        loss(after),
        expected_calibration_error(before, labels),
        expected_calibration_error(after, labels),
    )
