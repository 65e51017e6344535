"""From the scores of a file's people to its verdict. Each rule is stated once, here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.contracts import Outcome, Reason, Stability
from ml.detectors.aggregation import aggregate_networks
from ml.detectors.spec import Aggregation, Thresholds

# Fewer faces than this in each half of a track say too little to call it unstable.
FACES_A_HALF = 6

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Verdict:
    """``confidence`` is the percentage in [0, 100] behind FAKE or REAL, None for INCONCLUSIVE."""

    outcome: Outcome
    reason: Reason | None
    confidence: float | None


def call(probability: float, thresholds: Thresholds) -> Outcome:
    """FAKE at or above one threshold, REAL at or below the other, INCONCLUSIVE between."""
    if probability >= thresholds.fake:
        return Outcome.FAKE
    if probability <= thresholds.real:
        return Outcome.REAL
    return Outcome.INCONCLUSIVE


def interleaved_halves(scores: Scores, how: Aggregation) -> tuple[float, float] | None:
    """Aggregates of every other face, of those at even and those at odd places; None if either half is too short.

    `scores` are (networks, faces) in order of time. Both halves show the same scenes, so a change within the clip,
    as where only part of it is fake, does not part them; only noise does.
    """
    even, odd = scores[:, 0::2], scores[:, 1::2]
    if min(even.shape[1], odd.shape[1]) < FACES_A_HALF:
        return None
    return aggregate_networks(even, how), aggregate_networks(odd, how)


def conclude(probability: float, halves: tuple[float, float] | None, thresholds: Thresholds) -> Verdict:
    """The verdict on the person with the highest fake probability, and so on the file.

    INCONCLUSIVE for weak evidence between the thresholds, and for unstable evidence: a FAKE or REAL that either of
    the interleaved halves alone would turn into its opposite.
    """
    outcome = call(probability, thresholds)
    if outcome is Outcome.INCONCLUSIVE:
        return Verdict(outcome, Reason.WEAK_EVIDENCE, None)
    opposite = Outcome.REAL if outcome is Outcome.FAKE else Outcome.FAKE
    if halves is not None and opposite in {call(half, thresholds) for half in halves}:
        return Verdict(Outcome.INCONCLUSIVE, Reason.UNSTABLE_EVIDENCE, None)
    return Verdict(outcome, None, confidence(outcome, probability))


def weigh_copies(verdict: Verdict, stability: Stability, thresholds: Thresholds) -> Verdict:
    """The verdict after some faces that stand for it were judged again on compressed copies.

    A FAKE or REAL that any copy turns into its opposite hangs on the compression, not on the face: INCONCLUSIVE.
    """
    opposite = {Outcome.FAKE: Outcome.REAL, Outcome.REAL: Outcome.FAKE}.get(verdict.outcome)
    # Faces of very different scores can average to a verdict that none of them has: then they say nothing.
    stand_for_it = call(stability.original, thresholds) is verdict.outcome
    if stand_for_it and opposite in {call(copy.fake_probability, thresholds) for copy in stability.copies}:
        return Verdict(Outcome.INCONCLUSIVE, Reason.UNSTABLE_COPIES, None)
    return verdict


def confidence(outcome: Outcome, probability: float) -> float:
    """Percentage behind FAKE (100·p) or REAL (100·(1-p))."""
    return 100 * (probability if outcome is Outcome.FAKE else 1 - probability)
