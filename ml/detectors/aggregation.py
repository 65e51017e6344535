"""From face scores to a verdict: one number a track, the frames called fake, and the stretches of time they cover."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.contracts import Branch, Voting
from ml.detectors.spec import Aggregation

# Constants of the reference's `confident_strategy`.
CONFIDENT_ABOVE = 0.8
CONFIDENT_DIVISOR = 2.5
CONFIDENT_AT_LEAST = 11
CLEARLY_REAL_BELOW = 0.2
CLEARLY_REAL_SHARE = 0.9


def confident_strategy(probabilities: ArrayLike, t: float = CONFIDENT_ABOVE) -> float:
    """The reference's aggregate of face scores in [0, 1] (1 = fake).

    With s scores, f of them above `t`: the mean of those f if f > s // 2.5 and f > 11; else, if more than 0.9·s are
    below 0.2, the mean of those; else the mean of all. Raises ValueError without scores: there is no number for that.
    """
    scores = _scores(probabilities)
    return float(np.mean(scores[_voters(scores, t)[1]]))


def _voters(scores: NDArray[np.float64], t: float = CONFIDENT_ABOVE) -> tuple[Branch, NDArray[np.bool_]]:
    """Which rule of `confident_strategy` applies, and the scores that it averages."""
    confident = scores > t
    count = int(confident.sum())
    if count > len(scores) // CONFIDENT_DIVISOR and count > CONFIDENT_AT_LEAST:
        return Branch.CONFIDENT_FAKES, confident
    clearly_real = scores < CLEARLY_REAL_BELOW
    if clearly_real.sum() > CLEARLY_REAL_SHARE * len(scores):
        return Branch.CLEARLY_REAL, clearly_real
    return Branch.ALL, np.ones(len(scores), dtype=np.bool_)


def count_votes(probabilities: NDArray[np.float32], how: Aggregation) -> Voting:
    """How scores (networks, faces) became one: the rule that applied for each network, and what it looks like without.

    Counts are of faces by their mean over the networks. Raises ValueError without scores.
    """
    rows = [_scores(row) for row in probabilities]
    branches = [_voters(row)[0] if how is Aggregation.CONFIDENT_STRATEGY else Branch.ALL for row in rows]
    faces = np.mean(rows, axis=0)
    return Voting(
        branches=tuple(branches),
        plain_mean=float(faces.mean()),
        faces=len(faces),
        confident=int((faces > CONFIDENT_ABOVE).sum()),
        clearly_real=int((faces < CLEARLY_REAL_BELOW).sum()),
    )


def aggregate(probabilities: ArrayLike, how: Aggregation) -> float:
    """One network's face scores → one score. Raises ValueError without scores."""
    if how is Aggregation.CONFIDENT_STRATEGY:
        return confident_strategy(probabilities)
    return float(np.mean(_scores(probabilities)))


def aggregate_networks(probabilities: NDArray[np.float32], how: Aggregation) -> float:
    """Scores (networks, faces) → the plain mean over the networks of each one's aggregate, as the reference does."""
    return float(np.mean([aggregate(row, how) for row in probabilities]))


def _scores(probabilities: ArrayLike) -> NDArray[np.float64]:
    scores = np.asarray(probabilities, dtype=np.float64).ravel()
    if scores.size == 0:
        raise ValueError("no scores to aggregate")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not a number")
    return scores


def real_to_fake(real_frames: int, fake_frames: int) -> float | None:
    """Frames called real ÷ frames called fake; None when no frame is called fake."""
    return real_frames / fake_frames if fake_frames else None


def fake_stretches(times: Sequence[float], called_fake: Sequence[bool], duration: float) -> list[tuple[float, float]]:
    """(start, end) seconds of what is called fake.

    `times` are those of all sampled frames, ascending; `called_fake` says for each whether a face of the track is
    called fake there. A frame stands for the time halfway to its neighbours, the first from 0 and the last to
    `duration`; neighbouring fake frames form one stretch. Without duration (a photo) there are none.
    """
    if len(times) != len(called_fake):
        raise ValueError("one call a frame")
    if duration <= 0:
        return []
    edges = [0.0, *((left + right) / 2 for left, right in pairwise(times)), duration]
    stretches: list[tuple[float, float]] = []
    for position, is_fake in enumerate(called_fake):
        if not is_fake:
            continue
        start, end = min(edges[position], duration), min(edges[position + 1], duration)
        if stretches and position and called_fake[position - 1]:
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((start, end))
    return stretches


def merge_stretches(stretches: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The union of overlapping or touching stretches, in order."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(stretches):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
