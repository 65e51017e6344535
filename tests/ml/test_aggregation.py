"""From face scores to one number, to stretches of time and to a verdict."""

from __future__ import annotations

import numpy as np
import pytest

from ml.contracts import Branch, Outcome, Reason
from ml.detectors.aggregation import (
    aggregate,
    aggregate_networks,
    confident_strategy,
    count_votes,
    fake_stretches,
    merge_stretches,
    real_to_fake,
)
from ml.detectors.spec import Aggregation, Thresholds
from ml.verdict import conclude, interleaved_halves

THRESHOLDS = Thresholds(fake=0.6, real=0.4, frame=0.5)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.9] * 13 + [0.1] * 19, 0.9),
        ([0.9] * 12 + [0.1] * 20, 0.4),
        ([0.1] * 29 + [0.9] * 3, 0.1),
        ([0.1] * 28 + [0.9] * 4, 0.2),
        ([0.8] * 32, 0.8),
        ([0.99], 0.99),
        ([0.99] * 12 + [0.1] * 17, 0.99),
        ([0.99] * 12 + [0.1] * 18, 0.456),
        ([0.99] * 32 + [0.02] * 64, 0.3433),
    ],
)
def test_confident_strategy_gives_the_reference_numbers(scores: list[float], expected: float) -> None:
    assert confident_strategy(scores) == pytest.approx(expected, abs=5e-5)
    assert confident_strategy(scores[::-1]) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("how", list(Aggregation))
def test_no_scores_give_no_number(how: Aggregation) -> None:
    with pytest.raises(ValueError, match="no scores"):
        aggregate([], how)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        confident_strategy([0.5, float("nan")])


def test_the_mean_is_the_mean() -> None:
    assert aggregate([0.9] * 13 + [0.1] * 19, Aggregation.MEAN) == pytest.approx((0.9 * 13 + 0.1 * 19) / 32)


def test_networks_are_averaged_after_each_has_its_say() -> None:
    scores = np.array([[0.9] * 13 + [0.1] * 19, [0.1] * 32], dtype=np.float32)

    assert aggregate_networks(scores, Aggregation.CONFIDENT_STRATEGY) == pytest.approx((0.9 + 0.1) / 2)


def test_ratio_of_real_to_fake_frames() -> None:
    assert real_to_fake(6, 3) == 2.0
    assert real_to_fake(0, 3) == 0.0
    assert real_to_fake(6, 0) is None


@pytest.mark.parametrize(
    ("called", "expected"),
    [
        ([0, 0, 0, 0], []),
        ([1, 1, 1, 1], [(0.0, 4.0)]),
        ([1, 0, 0, 0], [(0.0, 0.5)]),
        ([0, 1, 1, 0], [(0.5, 2.5)]),
        ([1, 0, 1, 1], [(0.0, 0.5), (1.5, 4.0)]),
    ],
)
def test_stretches_reach_halfway_to_the_neighbours(called: list[int], expected: list[tuple[float, float]]) -> None:
    assert fake_stretches([0.0, 1.0, 2.0, 3.0], [bool(call) for call in called], 4.0) == expected


def test_stretches_stay_within_the_duration() -> None:
    assert fake_stretches([0.0, 5.0], [True, True], 4.0) == [(0.0, 4.0)]
    assert fake_stretches([0.0], [True], 0.04) == [(0.0, 0.04)]


def test_a_photo_has_no_stretches() -> None:
    assert fake_stretches([0.0], [True], 0.0) == []


def test_overlapping_stretches_become_one() -> None:
    assert merge_stretches([(3, 4), (0, 1), (0.5, 2), (2, 2.5)]) == [(0, 2.5), (3, 4)]


@pytest.mark.parametrize(
    ("probability", "outcome", "reason", "confidence"),
    [
        (0.6, Outcome.FAKE, None, 60),
        (0.974, Outcome.FAKE, None, 97.4),
        (0.4, Outcome.REAL, None, 60),
        (0.0, Outcome.REAL, None, 100),
        (0.5, Outcome.INCONCLUSIVE, Reason.WEAK_EVIDENCE, None),
        (0.599, Outcome.INCONCLUSIVE, Reason.WEAK_EVIDENCE, None),
    ],
)
def test_thresholds_decide(
    probability: float, outcome: Outcome, reason: Reason | None, confidence: float | None
) -> None:
    verdict = conclude(probability, None, THRESHOLDS)

    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert verdict.confidence == (None if confidence is None else pytest.approx(confidence))


def test_halves_that_contradict_each_other_are_unstable() -> None:
    verdict = conclude(0.7, (0.95, 0.3), THRESHOLDS)

    assert (verdict.outcome, verdict.reason, verdict.confidence) == (
        Outcome.INCONCLUSIVE,
        Reason.UNSTABLE_EVIDENCE,
        None,
    )


def test_halves_that_merely_differ_are_not_unstable() -> None:
    assert conclude(0.7, (0.95, 0.5), THRESHOLDS).outcome is Outcome.FAKE


def test_a_clip_fake_in_its_second_half_alone_is_stable() -> None:
    scores = np.array([[0.05] * 16 + [0.95] * 16], dtype=np.float32)

    halves = interleaved_halves(scores, Aggregation.MEAN)

    assert halves == pytest.approx((0.5, 0.5))


def test_alternating_scores_are_unstable() -> None:
    scores = np.array([[0.05, 0.95] * 16], dtype=np.float32)

    halves = interleaved_halves(scores, Aggregation.CONFIDENT_STRATEGY)

    assert conclude(0.95, halves, THRESHOLDS).reason is Reason.UNSTABLE_EVIDENCE


def test_few_faces_have_no_halves() -> None:
    assert interleaved_halves(np.zeros((1, 11), dtype=np.float32), Aggregation.MEAN) is None


@pytest.mark.parametrize(
    ("scores", "branch", "confident", "clearly_real"),
    [
        ([0.9] * 13 + [0.1] * 19, Branch.CONFIDENT_FAKES, 13, 19),
        ([0.9] * 12 + [0.1] * 20, Branch.ALL, 12, 20),
        ([0.1] * 29 + [0.9] * 3, Branch.CLEARLY_REAL, 3, 29),
        ([0.8] * 32, Branch.ALL, 0, 0),
        ([0.2] * 32, Branch.ALL, 0, 0),
        ([0.99], Branch.ALL, 1, 0),
    ],
)
def test_votes_say_which_rule_applied(scores: list[float], branch: Branch, confident: int, clearly_real: int) -> None:
    votes = count_votes(np.array([scores]), Aggregation.CONFIDENT_STRATEGY)

    assert votes.branches == (branch,)
    assert (votes.faces, votes.confident, votes.clearly_real) == (len(scores), confident, clearly_real)
    assert votes.plain_mean == pytest.approx(np.mean(scores))


def test_each_network_votes_by_itself() -> None:
    votes = count_votes(np.array([[0.9] * 32, [0.1] * 32]), Aggregation.CONFIDENT_STRATEGY)

    assert votes.branches == (Branch.CONFIDENT_FAKES, Branch.CLEARLY_REAL)
    assert votes.plain_mean == pytest.approx(0.5)
    assert (votes.confident, votes.clearly_real) == (0, 0)


def test_a_plain_mean_has_one_rule() -> None:
    assert count_votes(np.array([[0.9] * 32]), Aggregation.MEAN).branches == (Branch.ALL,)
