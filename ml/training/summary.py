"""From single scores to the figures of an evaluation: by group and method, by file and by face, with intervals.

By file, the score is that of the verdict, the worst person's fake probability; files in which nobody could be judged
have none and count as abstentions. By face, all judged faces of all people count, with the label of their file: in a
fake video with several people some of them may be genuine.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ml.contracts import Outcome
from ml.training.scoring import ALL, FileScore
from ml.training.statistics import (
    DRAWS,
    Interval,
    Rate,
    Scored,
    bootstrap,
    clustered_rate,
    exact_rate,
    mean_over_methods,
    reliability,
    roc_auc,
)
from ml.training.thresholds import equal_error_threshold

PUBLISHED_FLOOR = Path(__file__).with_name("published_floor.json")

Pools = Mapping[str, Sequence[str]]
Summary = dict[str, Any]


def pool_groups(scores: Sequence[FileScore], pools: Pools) -> dict[str, list[FileScore]]:
    """The scores by group; by kind, the first part of the names of several groups; then by `pools`.

    A pool takes the groups that equal one of its names, or lie below it, or match it as a pattern (``*c40*``).
    Raises ValueError for a pool that takes none, or has a group's name.
    """
    groups: dict[str, list[FileScore]] = {}
    kinds = {score.group: score.group.split("/")[0] for score in scores}
    shared = {kind for kind, count in Counter(kinds.values()).items() if count > 1}
    for score in scores:
        for name in dict.fromkeys((score.group, kinds[score.group])):
            # A kind of which there is one group only would show the same twice.
            if name == score.group or name in shared:
                groups.setdefault(name, []).append(score)
    pooled = dict(sorted(groups.items()))
    for name, wanted in pools.items():
        if name in groups:
            raise ValueError(f"there is a group {name!r} already")
        pooled[name] = [score for score in scores if any(_belongs(score.group, group) for group in wanted)]
        if not pooled[name]:
            raise ValueError(f"pool {name!r}: no group is called {' or '.join(wanted)}")
    return pooled


def _belongs(group: str, wanted: str) -> bool:
    return group == wanted or group.startswith(f"{wanted}/") or fnmatchcase(group, wanted)


def summarise(
    scores: Sequence[FileScore],
    *,
    frame_threshold: float,
    seed: int,
    pools: Pools | None = None,
    draws: int = DRAWS,
) -> dict[str, Summary]:
    """Everything about each group; docs/evaluation.md describes the values. `frame_threshold` calls a face fake."""
    return {
        name: _summarise_group(name, members, frame_threshold, seed, draws)
        for name, members in pool_groups(scores, pools or {}).items()
    }


def by_method(fakes: Sequence[FileScore]) -> dict[str, list[FileScore]]:
    """All fakes, then those of each method that has a name."""
    methods: dict[str, list[FileScore]] = {ALL: list(fakes)}
    for score in sorted(fakes, key=lambda score: score.method):
        if score.method:
            methods.setdefault(score.method, []).append(score)
    return methods


def judged(scores: Sequence[FileScore]) -> list[float]:
    """Fake probabilities of the files that have one."""
    return [score.fake_probability for score in scores if score.fake_probability is not None]


def _summarise_group(name: str, scores: Sequence[FileScore], frame: float, seed: int, draws: int) -> Summary:
    reals = [score for score in scores if score.label == "real"]
    methods = by_method([score for score in scores if score.label == "fake"])

    def seeded(*what: str) -> list[int]:
        # Own draws for each figure: another group or method more leaves the others' as they are.
        return [seed, zlib.crc32("\0".join((name, *what)).encode())]

    by_file, by_face = {}, {}
    for method, fakes in methods.items():
        if judged(fakes) and judged(reals):
            scored = Scored.by_file(judged(fakes), judged(reals))
            by_file[method] = _figures(bootstrap(scored, seed=seeded(method), draws=draws), fakes, reals)
            faces = Scored.by_face([score.faces for score in fakes], [score.faces for score in reals])
            by_face[method] = _figures(bootstrap(faces, seed=seeded(method, "face"), draws=draws), fakes, reals) | {
                "fake_faces": int(faces.labels.sum()),
                "real_faces": int((1 - faces.labels).sum()),
            }
    named = {method: judged(fakes) for method, fakes in methods.items() if method != ALL and judged(fakes)}
    mean = None
    if len(named) > 1 and judged(reals):
        mean = _intervals(mean_over_methods(named, judged(reals), seed=seeded("mean"), draws=draws))
    labels = [1.0] * len(judged(methods[ALL])) + [0.0] * len(judged(reals))
    every = judged(methods[ALL]) + judged(reals)
    return {
        "by_file": by_file,
        "by_face": by_face,
        "mean_over_methods": mean,
        "leave_one_method_out": _leave_one_out(named, judged(reals)),
        "verdicts": {
            "real": _verdicts(reals),
            "fake": {method: _verdicts(fakes) for method, fakes in methods.items() if fakes},
        },
        "rates": _rates(reals, methods),
        "face_rates": _face_rates(reals, methods, frame, lambda *what: seeded("rate", *what), draws),
        "reliability": [asdict(part) for part in reliability(every, labels)] if every else [],
        "false_alarms": [score.path for score in reals if score.outcome == Outcome.FAKE],
        "misses": [score.path for score in methods[ALL] if score.outcome == Outcome.REAL],
        "errors": [f"{score.path}: {score.outcome}" for score in scores if score.is_error],
    }


def _figures(found: Mapping[str, Interval], fakes: Sequence[FileScore], reals: Sequence[FileScore]) -> dict[str, Any]:
    return {**_intervals(found), "fakes": len(judged(fakes)), "reals": len(judged(reals))}


def _intervals(found: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: asdict(interval) for name, interval in found.items()}


def _verdicts(scores: Sequence[FileScore]) -> dict[str, int]:
    return dict(sorted(Counter(score.outcome for score in scores).items()))


def share(scores: Sequence[FileScore], *outcomes: Outcome, of_judged: bool = True) -> Rate | None:
    """How many files got one of the outcomes, of those judged or of all that could be read; None if there is none."""
    counted = [score for score in scores if (score.is_judged if of_judged else not score.is_error)]
    if not counted:
        return None
    return exact_rate(sum(score.outcome in outcomes for score in counted), len(counted))


def _rates(reals: Sequence[FileScore], methods: Mapping[str, Sequence[FileScore]]) -> Summary:
    abstained = (Outcome.INCONCLUSIVE, Outcome.NOT_ASSESSABLE)
    return {
        "false_alarms": _as_dict(share(reals, Outcome.FAKE)),
        "abstentions_real": _as_dict(share(reals, *abstained, of_judged=False)),
        "misses": {method: _as_dict(share(fakes, Outcome.REAL)) for method, fakes in methods.items()},
        "found": {method: _as_dict(share(fakes, Outcome.FAKE)) for method, fakes in methods.items()},
        "abstentions_fake": {
            method: _as_dict(share(fakes, *abstained, of_judged=False)) for method, fakes in methods.items()
        },
    }


def _face_rates(
    reals: Sequence[FileScore],
    methods: Mapping[str, Sequence[FileScore]],
    threshold: float,
    seeded: Callable[..., list[int]],
    draws: int,
) -> Summary:
    """Shares of single faces on the wrong side of the threshold for frames."""

    def rate(scores: Sequence[FileScore], *what: str, above: bool) -> dict[str, Any] | None:
        if not any(score.faces for score in scores):
            return None
        hits = [sum((face > threshold) == above for face in score.faces) for score in scores]
        totals = [len(score.faces) for score in scores]
        return asdict(clustered_rate(hits, totals, seed=seeded(*what), draws=draws))

    return {
        "false_alarms": rate(reals, "real", above=True),
        "misses": {method: rate(fakes, method, above=False) for method, fakes in methods.items()},
    }


def _as_dict(rate: Rate | None) -> dict[str, Any] | None:
    return None if rate is None else asdict(rate)


def _leave_one_out(methods: Mapping[str, Sequence[float]], reals: Sequence[float]) -> list[dict[str, Any]]:
    """For each method: a threshold chosen without its fakes, at equal error of the others, and what it then does.

    This leaves a method out of choosing a threshold, not out of training. The reals are the same for choosing and
    measuring, so the false alarms are too few if anything; the fakes found are not touched by that.
    """
    if len(methods) < 2 or not reals:
        return []
    rows = []
    for method, scores in methods.items():
        others = [score for other, found in methods.items() if other != method for score in found]
        threshold = equal_error_threshold(others, reals)
        rows.append(
            {
                "method": method,
                "threshold": threshold,
                "found": asdict(exact_rate(sum(score >= threshold for score in scores), len(scores))),
                "false_alarms": asdict(exact_rate(sum(score >= threshold for score in reals), len(reals))),
                "auc": roc_auc(scores, reals),
                "auc_of_others": roc_auc(others, reals),
            }
        )
    return rows


def published_floor(group: str, method: str) -> float | None:
    """The AUC by video that others published for such fakes, if any."""
    for figure in read_floor()["figures"]:
        if figure["method"] == method and any(fnmatchcase(group, pattern) for pattern in figure["groups"]):
            return float(figure["auc"])
    return None


def read_floor() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(PUBLISHED_FLOOR.read_text(encoding="utf-8"))
    return document


def as_text(summary: Mapping[str, Summary]) -> str:
    """The figures by file as tables for terminals."""
    lines = []
    for group, found in summary.items():
        lines.append(group)
        for method, row in found["by_file"].items():
            floor = published_floor(group, method)
            lines.append(
                f"  {method:<16} AUC {_text(row['auc'])}  AP {_text(row['average_precision'])}"
                f"  EER {_text(row['equal_error_rate'])}  TPR@1% {row['tpr_at_fpr_1']['value']:.3f}"
                f" @5% {row['tpr_at_fpr_5']['value']:.3f}  {row['fakes']} fakes, {row['reals']} reals;"
                f" verdicts {_line(found['verdicts']['fake'][method])}"
                + ("" if floor is None else f"; floor: AUC {floor:.2f}")
            )
        if found["mean_over_methods"]:
            lines.append(f"  {'mean of methods':<16} AUC {_text(found['mean_over_methods']['auc'])}")
        if ALL in found["by_file"]:
            every = found["by_file"][ALL]
            lines.append(
                f"  log loss {_text(every['log_loss'])}  calibration error {_text(every['calibration_error'])}"
            )
        alarms = found["rates"]["false_alarms"]
        if alarms is not None:
            lines.append(
                f"  reals called fake: {alarms['count']} of {alarms['total']}"
                f" ({alarms['value']:.1%}, exact 95 % interval {alarms['low']:.1%} to {alarms['high']:.1%});"
                f" verdicts {_line(found['verdicts']['real'])}"
            )
        elif found["verdicts"]["real"]:
            lines.append(f"  no real file could be judged; verdicts {_line(found['verdicts']['real'])}")
        lines += [f"    false alarm: {path}" for path in found["false_alarms"]]
    published = read_floor()
    lines.append(f"floor: {published['name']}, {published['what']}")
    return "\n".join(lines) + "\n"


def _text(interval: Mapping[str, float]) -> str:
    # Where all draws agree, the interval says nothing.
    mark = "!" if Interval(**interval).is_degenerate else ""
    return f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]{mark}"


def _line(verdicts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in verdicts.items())
