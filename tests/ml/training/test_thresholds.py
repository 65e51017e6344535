from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import binomtest

from ml.training.thresholds import (
    equal_error_threshold,
    fit_isotonic,
    fit_platt,
    fit_temperature,
    threshold_for_false_alarms,
    upper_bound,
)

SCORES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60)


@settings(deadline=None)
@given(scores=SCORES, rate=st.sampled_from([0.01, 0.02, 0.05, 0.2, 0.5]))
def test_no_more_reals_than_allowed_are_called_fake(scores: list[float], rate: float) -> None:
    try:
        chosen = threshold_for_false_alarms(scores, rate=rate)
    except ValueError:
        # Only where reals score so high that no threshold below 1 is left for fakes.
        assert max(scores) > 1 - 1e-6
        return
    called = sum(score >= chosen.threshold for score in scores)
    assert called == chosen.false_alarms
    assert called <= rate * len(scores)
    assert chosen.rate <= chosen.upper_bound <= 1
    # The lowest: below the next score there would be too many.
    below = max((score for score in scores if score < chosen.threshold), default=None)
    if below is not None:
        assert sum(score >= below for score in scores) > rate * len(scores)


def test_the_threshold_lies_between_two_scores() -> None:
    scores = [0.1] * 97 + [0.5, 0.6, 0.9]
    chosen = threshold_for_false_alarms(scores, rate=0.02)
    assert [chosen.threshold, chosen.false_alarms] == pytest.approx([0.55, 2])
    none = threshold_for_false_alarms(scores[:99], rate=0.01)
    assert [none.threshold, none.false_alarms] == pytest.approx([0.8, 0])


def test_an_assured_rate_takes_enough_files() -> None:
    with pytest.raises(ValueError, match="allow no threshold"):
        threshold_for_false_alarms([0.1] * 148, rate=0.02, assured=True)
    chosen = threshold_for_false_alarms([0.1] * 149, rate=0.02, assured=True)
    assert chosen.false_alarms == 0
    assert chosen.upper_bound == pytest.approx(1 - 0.05 ** (1 / 149))


@settings(deadline=None)
@given(total=st.integers(1, 300), data=st.data())
def test_the_bound_is_the_exact_one(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, total))
    exact = binomtest(count, total, alternative="less").proportion_ci(0.95, method="exact").high
    assert upper_bound(count, total) == pytest.approx(exact, abs=1e-9)


def test_without_usable_scores_there_is_no_threshold() -> None:
    for scores, message in (([], "scores of real"), ([0.5, 1.5], "between 0 and 1"), ([1.0, 0.2], "no threshold")):
        with pytest.raises(ValueError, match=message):
            threshold_for_false_alarms(scores, rate=0.1)


def test_equal_errors() -> None:
    assert equal_error_threshold([0.9, 0.8], [0.1, 0.3]) == pytest.approx(0.55)
    with pytest.raises(ValueError, match="fakes and of reals"):
        equal_error_threshold([0.9], [])


def drawn(scale: float, offset: float, size: int = 4000, share: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose calibrated ones are ``scale · logit + offset``, and labels drawn with those probabilities."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, size)
    labels = (rng.random(size) < expit(scale * logits + offset)).astype(float)
    return logits, labels


def test_the_temperature_that_made_the_scores_is_found() -> None:
    logits, labels = drawn(0.4, 0.0)
    fitted = fit_temperature(logits, labels)
    assert fitted.temperature == pytest.approx(2.5, rel=0.1)
    assert fitted.calibration.log_loss_after < fitted.calibration.log_loss_before
    assert fitted.calibration.error_after < 0.03 < fitted.calibration.error_before
    assert np.array_equal(fitted.apply(logits) > 0.5, logits > 0)


def test_platts_scale_and_offset_are_found() -> None:
    fitted = fit_platt(*drawn(0.5, -1.0))
    assert fitted.scale == pytest.approx(0.5, rel=0.1)
    assert fitted.offset == pytest.approx(-1.0, abs=0.15)
    assert fitted.calibration.error_after < fitted.calibration.error_before


def test_balanced_fitting_forgets_how_many_fakes_there_are() -> None:
    logits, labels = drawn(1.0, 0.0)
    keep = (labels == 0) | (np.arange(labels.size) % 10 == 0)
    plain = fit_platt(logits[keep], labels[keep])
    balanced = fit_platt(logits[keep], labels[keep], balanced=True)
    assert plain.offset < -1.5
    assert balanced.offset == pytest.approx(0.0, abs=0.35)


def test_perfectly_parted_scores_keep_a_finite_scale() -> None:
    fitted = fit_platt([-2.0, -1.0, 1.0, 2.0], [0, 0, 1, 1])
    assert np.isfinite(fitted.scale)
    assert fitted.scale > 1


@settings(deadline=None)
@given(
    scores=st.lists(st.floats(0, 1, width=32), min_size=4, max_size=40),
    labels=st.lists(st.integers(0, 1), min_size=40, max_size=40),
)
def test_isotonic_curves_rise_and_stay_in_bounds(scores: list[float], labels: list[int]) -> None:
    labels = [0, 1, *labels][: len(scores)]
    fitted = fit_isotonic(scores, labels)
    after = fitted.apply(np.linspace(0, 1, 50))
    assert (np.diff(after) >= -1e-9).all()
    assert after.min() >= 0
    assert after.max() <= 1


def test_an_isotonic_curve_of_a_known_case() -> None:
    fitted = fit_isotonic([0.1, 0.2, 0.3, 0.8], [0, 1, 0, 1])
    assert fitted.apply([0.1, 0.2, 0.3, 0.8]).tolist() == pytest.approx([0, 0.5, 0.5, 1])
    assert fitted.apply([0.0, 1.0]).tolist() == [0, 1]


def test_calibrating_needs_both_and_an_order() -> None:
    for fit in (fit_temperature, fit_platt, fit_isotonic):
        with pytest.raises(ValueError, match="fakes and reals"):
            fit([0.1, 0.2], [1, 1])
        with pytest.raises(ValueError, match="one label"):
            fit([0.1, 0.2], [1])
    with pytest.raises(ValueError, match="rank below"):
        fit_platt([0.9, 0.8, 0.1], [0, 0, 1])
