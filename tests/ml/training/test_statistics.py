from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score, roc_curve

from ml.training.statistics import (
    FIGURES,
    Interval,
    Scored,
    bootstrap,
    clustered_rate,
    exact_rate,
    expected_calibration_error,
    figures,
    mean_over_methods,
    reliability,
    roc_auc,
    roc_points,
)

# Coarse, so that there are ties.
SCORES = st.lists(st.integers(0, 20).map(lambda value: value / 20), min_size=1, max_size=30)


def random_scored(seed: int, size: int = 60) -> tuple[Scored, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (np.arange(size) % 3 == 0).astype(np.float64)
    scores = np.clip(rng.integers(1, 10, size) / 12 + 0.15 * labels, 0, 1)
    return Scored(scores, labels, np.arange(size)), rng.integers(0, 4, size).astype(np.float64)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("weighted", [False, True])
def test_the_figures_equal_scikit_learns_with_ties_and_weights(*, seed: int, weighted: bool) -> None:
    scored, weights = random_scored(seed)
    if not weighted:
        weights = np.ones_like(weights)
    found = {name: float(values[0]) for name, values in figures(scored, weights[None]).items()}
    labels, scores = scored.labels, scored.scores
    assert found["auc"] == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12)
    assert found["average_precision"] == pytest.approx(
        average_precision_score(labels, scores, sample_weight=weights), abs=1e-12
    )
    assert found["log_loss"] == pytest.approx(log_loss(labels, scores, sample_weight=weights), abs=1e-9)
    fpr, tpr, _ = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    assert found["tpr_at_fpr_5"] == pytest.approx(tpr[fpr <= 0.05 + 1e-12].max(), abs=1e-12)
    assert found["tpr_at_fpr_1"] == pytest.approx(tpr[fpr <= 0.01 + 1e-12].max(), abs=1e-12)
    # Where the line from (0, 1) to (1, 0) crosses the ROC.
    grid = np.linspace(0, 1, 200_001)
    crossing = grid[np.abs(np.interp(grid, fpr, tpr) - (1 - grid)).argmin()]
    if np.all(np.diff(fpr) > 0):
        assert found["equal_error_rate"] == pytest.approx(crossing, abs=1e-4)


@settings(deadline=None)
@given(fakes=SCORES, reals=SCORES)
def test_figures_are_shares_and_a_turned_score_turns_the_auc(fakes: list[float], reals: list[float]) -> None:
    found = {name: float(values[0]) for name, values in figures(Scored.by_file(fakes, reals)).items()}
    assert all(-1e-12 <= found[name] <= 1 + 1e-12 for name in FIGURES if name != "log_loss")
    assert found["log_loss"] >= 0
    assert found["auc"] == pytest.approx(roc_auc(fakes, reals), abs=1e-9)
    turned = figures(Scored.by_file([1 - s for s in fakes], [1 - s for s in reals]))
    assert found["auc"] + float(turned["auc"][0]) == pytest.approx(1.0, abs=1e-9)
    assert found["tpr_at_fpr_1"] <= found["tpr_at_fpr_5"] + 1e-12


@pytest.mark.parametrize(
    ("fakes", "reals", "rate"),
    [([0.9, 0.8], [0.1, 0.2], 0.0), ([0.1, 0.2], [0.8, 0.9], 1.0), ([0.5], [0.5], 0.5), ([0.9, 0.3], [0.1, 0.6], 0.5)],
)
def test_the_equal_error_rate_of_plain_cases(fakes: list[float], reals: list[float], rate: float) -> None:
    assert float(figures(Scored.by_file(fakes, reals))["equal_error_rate"][0]) == pytest.approx(rate)


def test_calibration_error_of_a_known_case() -> None:
    # Two bins: four scores of .25 of which two are fake, four of .75 of which three are.
    scores, labels = [0.25] * 4 + [0.75] * 4, [1, 1, 0, 0, 1, 1, 1, 0]
    assert expected_calibration_error(scores, labels) == pytest.approx((4 * 0.25 + 4 * 0.0) / 8)
    bins = reliability(scores, labels)
    assert [(b.low, b.count, b.mean_score, b.share_fake) for b in bins] == [(0.2, 4, 0.25, 0.5), (0.7, 4, 0.75, 0.75)]
    assert expected_calibration_error([1.0, 0.0], [1, 0]) == 0.0


def test_without_fakes_or_reals_there_are_no_figures() -> None:
    for fakes, reals in (([], [0.5]), ([0.5], [])):
        with pytest.raises(ValueError, match="fakes and of reals"):
            Scored.by_file(fakes, reals)
        with pytest.raises(ValueError, match="fakes and of reals"):
            roc_auc(fakes, reals)
    with pytest.raises(ValueError, match="both fake and real"):
        Scored(np.array([0.1, 0.2]), np.array([0.0, 1.0]), np.array([5, 5]))


@pytest.mark.slow
def test_the_interval_holds_the_value_and_narrows_with_more_videos() -> None:
    rng = np.random.default_rng(1)
    few = bootstrap(Scored.by_file(rng.beta(3, 2, 10), rng.beta(2, 3, 10)), seed=3, draws=300)
    many = bootstrap(Scored.by_file(rng.beta(3, 2, 400), rng.beta(2, 3, 400)), seed=3, draws=300)
    for name in ("auc", "average_precision", "equal_error_rate", "log_loss"):
        for interval in (few[name], many[name]):
            assert interval.low <= interval.value <= interval.high
        assert many[name].high - many[name].low < few[name].high - few[name].low


def test_faces_of_one_video_are_no_independent_observations() -> None:
    rng = np.random.default_rng(2)
    fakes, reals = rng.beta(3, 2, 12), rng.beta(2, 3, 12)
    by_file = bootstrap(Scored.by_file(fakes, reals), seed=1, draws=400)["auc"]
    # The same score thirty times a video tells no more than once.
    faces = bootstrap(Scored.by_face([[s] * 30 for s in fakes], [[s] * 30 for s in reals]), seed=1, draws=400)["auc"]
    assert faces == by_file
    independent = bootstrap(Scored.by_file(np.repeat(fakes, 30), np.repeat(reals, 30)), seed=1, draws=400)["auc"]
    assert independent.high - independent.low < (faces.high - faces.low) / 3


def test_the_same_seed_gives_the_same_interval_in_pieces_or_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    scored, _ = random_scored(3)
    whole = bootstrap(scored, seed=1, draws=100)
    assert bootstrap(scored, seed=1, draws=100) == whole
    assert bootstrap(scored, seed=2, draws=100) != whole
    monkeypatch.setattr("ml.training.statistics.CHUNK", scored.scores.size * 7)
    assert bootstrap(scored, seed=1, draws=100)["auc"].value == whole["auc"].value


def test_perfectly_parted_scores_have_an_interval_that_says_nothing() -> None:
    assert bootstrap(Scored.by_file([0.9, 0.8], [0.1, 0.2]), seed=0, draws=50)["auc"].is_degenerate
    assert not Interval(0.5, 0.4, 0.6).is_degenerate


def test_the_mean_over_methods_weighs_each_the_same() -> None:
    fakes = {"easy": [0.9] * 50, "hard": [0.1, 0.4]}
    reals = [0.2, 0.3, 0.5]
    mean = mean_over_methods(fakes, reals, seed=0, draws=200)
    assert mean["auc"].value == pytest.approx((1.0 + (0 + 2 / 3) / 2) / 2)
    assert mean["auc"].low <= mean["auc"].value <= mean["auc"].high


def test_the_roc_runs_from_corner_to_corner() -> None:
    fpr, tpr = roc_points(Scored.by_file([0.9, 0.5], [0.5, 0.1]))
    assert fpr.tolist() == [0.0, 0.0, 0.5, 1.0]
    assert tpr.tolist() == [0.0, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    # Clopper-Pearson bounds as published: none of 13 (1 - .025^(1/13)), 5 of 10, all of 20 (.025^(1/20)).
    [(0, 13, 0.0, 0.2471), (5, 10, 0.1871, 0.8129), (20, 20, 0.8316, 1.0)],
)
def test_exact_intervals(count: int, total: int, low: float, high: float) -> None:
    rate = exact_rate(count, total)
    assert [rate.low, rate.high] == pytest.approx([low, high], abs=1e-4)
    assert rate.value == count / total


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        exact_rate(0, 0)
    with pytest.raises(ValueError, match="at least one"):
        clustered_rate([], [], seed=0)


def test_rates_of_faces_are_as_sure_as_there_are_files() -> None:
    rate = clustered_rate([10, 0, 5, 0], [10, 10, 10, 10], seed=0)
    assert (rate.count, rate.total, rate.value) == (15, 40, 0.375)
    assert rate.low == 0.0 or rate.low < 0.2
    assert rate.high > 0.6
    none = clustered_rate([0] * 13, [32] * 13, seed=0)
    assert [none.low, none.high] == pytest.approx([0.0, 0.2471], abs=1e-4)
    every = clustered_rate([32] * 20, [32] * 20, seed=0)
    assert [every.low, every.high] == pytest.approx([0.8316, 1.0], abs=1e-4)
