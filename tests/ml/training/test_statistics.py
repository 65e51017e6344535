from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ml.training.statistics import bootstrap_auc, roc_auc


def test_auc_equals_scikit_learns_with_ties() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        fakes, reals = rng.integers(0, 8, 15) / 8, rng.integers(0, 6, 9) / 8
        expected = roc_auc_score([1] * 15 + [0] * 9, np.concatenate([fakes, reals]))
        assert roc_auc(fakes, reals) == pytest.approx(expected, abs=1e-12)


def test_auc_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="fakes and of reals"):
        roc_auc([], [0.5])


def test_the_interval_holds_the_value_and_narrows_with_more_videos() -> None:
    rng = np.random.default_rng(1)
    few = bootstrap_auc(rng.normal(1, 1, 10), rng.normal(0, 1, 10), seed=3, draws=300)
    many = bootstrap_auc(rng.normal(1, 1, 400), rng.normal(0, 1, 400), seed=3, draws=300)
    for interval in (few, many):
        assert interval.low <= interval.value <= interval.high
    assert many.high - many.low < few.high - few.low


def test_the_same_seed_gives_the_same_interval() -> None:
    fakes, reals = [0.4, 0.7, 0.9], [0.1, 0.5, 0.6]
    assert bootstrap_auc(fakes, reals, seed=1, draws=100) == bootstrap_auc(fakes, reals, seed=1, draws=100)
