"""Figures of a detector on labelled scores, and how sure one can be of them.

Everywhere a label is 1 for fake and 0 for real, and a score lies in [0, 1]. A score belongs to a *cluster*, the file
that it comes from: the bootstrap redraws whole files, fakes and reals apart, because faces of one video are no
independent observations. With a handful of files its intervals are too narrow rather than too wide: it can't know of
files unlike those at hand. Shares of files have exact binomial intervals instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, rankdata

LEVEL = 0.95
DRAWS = 2000
CALIBRATION_BINS = 10
# The figures of `figures`, in the order in which they are shown.
FIGURES = (
    "auc",
    "average_precision",
    "equal_error_rate",
    "tpr_at_fpr_1",
    "tpr_at_fpr_5",
    "log_loss",
    "calibration_error",
)
# A detector's scores are float32 sigmoids, which can be exactly 0 or 1.
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)
# Entries of the matrices that the bootstrap works on at a time: 32 MB each.
CHUNK = 4_000_000

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the bounds of its confidence interval."""

    value: float
    low: float
    high: float

    @property
    def is_degenerate(self) -> bool:
        """All draws agree: there are too few files, or they are parted too well, for the bootstrap to say anything."""
        return self.high - self.low < 1e-12


@dataclass(frozen=True, slots=True)
class Rate:
    """``count`` of ``total``, as a share with the bounds of its confidence interval, all in [0, 1]."""

    count: int
    total: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Scores in [``low``, ``high``): their number, mean, and how many of them in [0, 1] are fake."""

    low: float
    high: float
    count: int
    mean_score: float
    share_fake: float


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Scores (n,) in [0, 1] with their labels (n,), 1 for fake, and the files (n,) that they come from, numbered.

    All scores of a file have the same label. Raises ValueError if that is not so, or if fakes or reals are missing.
    """

    scores: Array
    labels: Array
    files: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not self.labels.any() or self.labels.all():
            raise ValueError("figures need scores of fakes and of reals")
        if np.isin(self.files[self.labels == 1], self.files[self.labels == 0]).any():
            raise ValueError("a file is both fake and real")

    @classmethod
    def by_file(cls, fakes: ArrayLike, reals: ArrayLike) -> Scored:
        """One score a file."""
        fake_scores, real_scores = np.asarray(fakes, dtype=np.float64), np.asarray(reals, dtype=np.float64)
        scores = np.concatenate([fake_scores, real_scores])
        labels = np.concatenate([np.ones(fake_scores.size), np.zeros(real_scores.size)])
        return cls(scores, labels, np.arange(scores.size))

    @classmethod
    def by_face(cls, fakes: Sequence[ArrayLike], reals: Sequence[ArrayLike]) -> Scored:
        """Several scores a file: one array for each file. Files without a score are left out."""
        parts = [(np.asarray(scores, dtype=np.float64), 1.0) for scores in fakes]
        parts += [(np.asarray(scores, dtype=np.float64), 0.0) for scores in reals]
        parts = [(scores, label) for scores, label in parts if scores.size]
        if not parts:
            raise ValueError("figures need scores of fakes and of reals")
        return cls(
            np.concatenate([scores for scores, _ in parts]),
            np.concatenate([np.full(scores.size, label) for scores, label in parts]),
            np.concatenate([np.full(scores.size, file) for file, (scores, _) in enumerate(parts)]),
        )


def roc_auc(fakes: ArrayLike, reals: ArrayLike) -> float:
    """The chance that a fake scores above a real one, ties counting one half (Mann-Whitney).

    Raises ValueError if either is empty: there is no ranking then.
    """
    fake_scores, real_scores = np.asarray(fakes, dtype=np.float64), np.asarray(reals, dtype=np.float64)
    if not fake_scores.size or not real_scores.size:
        raise ValueError("an AUC needs scores of fakes and of reals")
    ranks = rankdata(np.concatenate([fake_scores, real_scores]))
    n_fake, n_real = fake_scores.size, real_scores.size
    rank_sum = float(ranks[:n_fake].sum())
    return (rank_sum - n_fake * (n_fake + 1) / 2) / (n_fake * n_real)


def figures(scored: Scored, weights: Array | None = None) -> dict[str, Array]:
    """The figures named in FIGURES, each (draws,), of scores weighted by each row of `weights` (draws, n).

    Without weights, of the scores as they are (one draw). As scikit-learn's ``roc_auc_score``,
    ``average_precision_score`` and ``log_loss`` with ``sample_weight``; one call each would cost the bootstrap a
    minute a table row, hence all draws at once.

    ``equal_error_rate``: where false-alarm and miss rate meet, on straight lines between the points of the ROC.
    ``tpr_at_fpr_x``: the share of fakes found by the lowest threshold with at most x % false alarms, without
    interpolation; with fewer than 100 reals, 1 % means no false alarm at all. ``calibration_error``: mean distance,
    weighted by size, between mean score and share of fakes in bins of a tenth (expected calibration error, Naeini et
    al. 2015). It and ``log_loss`` depend on the share of fakes among the scores.
    """
    if weights is None:
        weights = np.ones((1, scored.scores.size))
    order = np.argsort(-scored.scores, kind="stable")
    scores, labels, weights = scored.scores[order], scored.labels[order], weights[:, order]
    # Equal scores are one point of the ROC.
    starts = np.flatnonzero(np.concatenate([[True], np.diff(scores) != 0]))
    fakes = np.add.reduceat(weights * labels, starts, axis=1)
    reals = np.add.reduceat(weights * (1 - labels), starts, axis=1)
    found, alarms = fakes.cumsum(axis=1), reals.cumsum(axis=1)
    n_fakes, n_reals = found[:, -1:], alarms[:, -1:]
    called = found + alarms
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    zero = np.zeros((len(weights), 1))
    tpr = np.concatenate([zero, found / n_fakes], axis=1)
    fpr = np.concatenate([zero, alarms / n_reals], axis=1)
    auc = (fakes * (n_reals - alarms + reals / 2)).sum(axis=1) / (n_fakes * n_reals)[:, 0]
    return {
        "auc": auc,
        "average_precision": (fakes / n_fakes * precision).sum(axis=1),
        "equal_error_rate": _equal_error_rate(tpr, fpr),
        "tpr_at_fpr_1": _tpr_at(tpr, fpr, 0.01),
        "tpr_at_fpr_5": _tpr_at(tpr, fpr, 0.05),
        "log_loss": _log_loss(scores, labels, weights),
        "calibration_error": _calibration_error(scores, labels, weights),
    }


def _equal_error_rate(tpr: Array, fpr: Array) -> Array:
    gap = fpr + tpr - 1
    after = (gap >= 0).argmax(axis=1)
    rows = np.arange(len(gap))
    before = after - 1
    # gap begins at -1 and ends at 1, so there is a point before.
    share = -gap[rows, before] / (gap[rows, after] - gap[rows, before])
    return np.asarray(fpr[rows, before] + share * (fpr[rows, after] - fpr[rows, before]))


def _tpr_at(tpr: Array, fpr: Array, limit: float) -> Array:
    return np.asarray(np.where(fpr <= limit + 1e-12, tpr, 0.0).max(axis=1))


def _log_loss(scores: Array, labels: Array, weights: Array) -> Array:
    probabilities = np.clip(scores, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    losses = -np.log(np.where(labels == 1, probabilities, 1 - probabilities))
    return np.asarray(weights @ losses / weights.sum(axis=1))


def _bin_of(scores: Array, bins: int) -> NDArray[np.int64]:
    return np.minimum((scores * bins).astype(np.int64), bins - 1)


def _calibration_error(scores: Array, labels: Array, weights: Array, bins: int = CALIBRATION_BINS) -> Array:
    belongs = np.eye(bins)[_bin_of(scores, bins)]
    distance = np.abs(weights @ (belongs * (scores - labels)[:, None]))
    return np.asarray(distance.sum(axis=1) / weights.sum(axis=1))


def reliability(scores: ArrayLike, labels: ArrayLike, bins: int = CALIBRATION_BINS) -> list[CalibrationBin]:
    """The bins of the reliability diagram that hold a score."""
    score, label = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    where = _bin_of(score, bins)
    return [
        CalibrationBin(
            place / bins,
            (place + 1) / bins,
            int((where == place).sum()),
            float(score[where == place].mean()),
            float(label[where == place].mean()),
        )
        for place in np.unique(where)
    ]


def expected_calibration_error(scores: ArrayLike, labels: ArrayLike, bins: int = CALIBRATION_BINS) -> float:
    """In [0, 1]; see :func:`figures`."""
    score, label = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    return float(_calibration_error(score, label, np.ones((1, score.size)), bins)[0])


def roc_points(scored: Scored) -> tuple[Array, Array]:
    """False-alarm rates and shares of fakes found, (points,) each, from (0, 0) to (1, 1)."""
    order = np.argsort(-scored.scores, kind="stable")
    ends = np.flatnonzero(np.concatenate([np.diff(scored.scores[order]) != 0, [True]]))
    labels = scored.labels[order]
    found, alarms = labels.cumsum()[ends], (1 - labels).cumsum()[ends]
    return np.concatenate([[0.0], alarms / alarms[-1]]), np.concatenate([[0.0], found / found[-1]])


def bootstrap(scored: Scored, *, seed: Sequence[int] | int, draws: int = DRAWS) -> dict[str, Interval]:
    """Each of FIGURES with its percentile interval over files."""
    rng = np.random.default_rng(seed)
    numbers = np.unique(scored.files, return_inverse=True)[1]
    is_fake = np.zeros(numbers.max() + 1, dtype=bool)
    is_fake[numbers[scored.labels == 1]] = True
    step = max(CHUNK // scored.scores.size, 1)
    drawn = [
        figures(scored, _times_drawn(rng, is_fake, min(step, draws - done))[:, numbers])
        for done in range(0, draws, step)
    ]
    values = figures(scored)
    return {name: _interval(float(values[name][0]), np.concatenate([part[name] for part in drawn])) for name in FIGURES}


def _times_drawn(rng: np.random.Generator, is_fake: NDArray[np.bool_], draws: int) -> Array:
    """How often each file is drawn, (draws, files): as many fakes and as many reals as there are."""
    times = np.zeros((draws, is_fake.size))
    for members in (np.flatnonzero(is_fake), np.flatnonzero(~is_fake)):
        if members.size:
            times[:, members] = rng.multinomial(members.size, np.full(members.size, 1 / members.size), size=draws)
    return times


def mean_over_methods(
    fakes: Mapping[str, ArrayLike], reals: ArrayLike, *, seed: Sequence[int] | int, draws: int = DRAWS
) -> dict[str, Interval]:
    """Each of FIGURES as its mean over the methods, every method weighing the same, with intervals over files.

    Each method is compared with the same reals, which a draw of the bootstrap therefore has in common.
    """
    rng = np.random.default_rng(seed)
    real_scores = np.asarray(reals, dtype=np.float64)
    real_times = _times_drawn(rng, np.zeros(real_scores.size, dtype=bool), draws)
    values, drawn = [], []
    for scores in fakes.values():
        scored = Scored.by_file(scores, real_scores)
        fake_times = _times_drawn(rng, np.ones(scored.scores.size - real_scores.size, dtype=bool), draws)
        values.append(figures(scored))
        drawn.append(figures(scored, np.concatenate([fake_times, real_times], axis=1)))
    return {
        name: _interval(
            float(np.mean([part[name][0] for part in values])), np.mean([part[name] for part in drawn], axis=0)
        )
        for name in FIGURES
    }


def _interval(value: float, drawn: Array, level: float = LEVEL) -> Interval:
    tail = (1.0 - level) / 2
    return Interval(value, float(np.quantile(drawn, tail)), float(np.quantile(drawn, 1.0 - tail)))


def exact_rate(count: int, total: int, *, level: float = LEVEL) -> Rate:
    """A share with the exact binomial interval of Clopper and Pearson (1934). Raises ValueError for 0 of 0."""
    if total < 1:
        raise ValueError("a rate needs at least one case")
    bounds = binomtest(count, total).proportion_ci(confidence_level=level, method="exact")
    return Rate(count, total, count / total, float(bounds.low), float(bounds.high))


def clustered_rate(
    hits: Sequence[int], totals: Sequence[int], *, seed: Sequence[int] | int, draws: int = DRAWS
) -> Rate:
    """A share of faces, with a bootstrap interval over their files: `hits` of `totals` faces in each file.

    Where no face or every face is a hit, redrawing says nothing; then the bounds are the exact ones for as many
    independent cases as there are files. Raises ValueError if there is no face.
    """
    hit, total = np.asarray(hits, dtype=np.float64), np.asarray(totals, dtype=np.float64)
    hit, total = hit[total > 0], total[total > 0]
    if not total.size:
        raise ValueError("a rate needs at least one case")
    count, cases = int(hit.sum()), int(total.sum())
    if count in {0, cases}:
        exact = exact_rate(hit.size if count else 0, hit.size)
        return Rate(count, cases, count / cases, exact.low, exact.high)
    times = np.random.default_rng(seed).multinomial(hit.size, np.full(hit.size, 1 / hit.size), size=draws)
    interval = _interval(count / cases, (times @ hit) / (times @ total))
    return Rate(count, cases, interval.value, interval.low, interval.high)
