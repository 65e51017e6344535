"""Areas under the ROC curve and how sure one can be of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the bounds of its confidence interval."""

    value: float
    low: float
    high: float


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


def bootstrap_auc(fakes: ArrayLike, reals: ArrayLike, *, seed: int, draws: int = 2000, level: float = 0.95) -> Interval:
    """AUC with a percentile bootstrap interval. Scores are one per video; fakes and reals are redrawn apart.

    With a handful of videos such an interval is too narrow rather than too wide: it can't know of videos unlike
    those at hand.
    """
    fake_scores, real_scores = np.asarray(fakes, dtype=np.float64), np.asarray(reals, dtype=np.float64)
    value = roc_auc(fake_scores, real_scores)
    rng = np.random.default_rng(seed)
    drawn: NDArray[np.float64] = np.asarray(
        [
            roc_auc(
                fake_scores[rng.integers(fake_scores.size, size=fake_scores.size)],
                real_scores[rng.integers(real_scores.size, size=real_scores.size)],
            )
            for _ in range(draws)
        ]
    )
    tail = (1.0 - level) / 2
    return Interval(value, float(np.quantile(drawn, tail)), float(np.quantile(drawn, 1.0 - tail)))
