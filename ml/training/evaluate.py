"""How well a detector does on labelled media, by kind of fake, through the same code that serves users.

The media folder has a folder ``real`` or ``fake`` somewhere on each path: what stands before it names the group
(codec, data set), what stands between it and the file the method. ``videos/ffpp_c40/fake/FaceSwap/a.mp4`` is a
FaceSwap fake of the group ``videos/ffpp_c40``, compared with the reals of that group.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ml.contracts import AnalysisError, AnalysisResult, Outcome
from ml.training.statistics import bootstrap_auc

logger = logging.getLogger(__name__)

LABELS = ("real", "fake")
ALL = "all"

Analyse = Callable[[Path], AnalysisResult]


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file under the evaluated folder. ``method`` is empty where the path names none."""

    path: Path
    label: str
    group: str
    method: str


@dataclass(frozen=True, slots=True)
class Score:
    """What the detector said: ``fake_probability`` is None if it could not judge, and ``outcome`` then says why."""

    path: str
    label: str
    group: str
    method: str
    outcome: str
    fake_probability: float | None
    pooled_probability: float | None


def find_labelled(root: Path) -> list[LabelledFile]:
    """All files with ``real`` or ``fake`` among their folders, sorted. Raises FileNotFoundError if there is none."""
    found = []
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        label_at = next((i for i, part in enumerate(parts[:-1]) if part in LABELS), None)
        if label_at is None or not path.is_file() or path.name.startswith("."):
            continue
        found.append(
            LabelledFile(path, parts[label_at], "/".join(parts[:label_at]) or ALL, "/".join(parts[label_at + 1 : -1]))
        )
    if not found:
        raise FileNotFoundError(f"nothing labelled under {root}: expected <group>/real/… and <group>/fake/<method>/…")
    return found


def score_files(files: Sequence[LabelledFile], root: Path, analyse: Analyse) -> list[Score]:
    """Run the detector over the files. A file that can't be analysed is listed with its error code, never scored."""
    scores = []
    for file in tqdm(files, unit="file", desc="evaluating"):
        probability = pooled = None
        try:
            result = analyse(file.path)
        except AnalysisError as error:
            logger.warning("%s: %s", file.path.name, error.code)
            outcome = f"error:{error.code}"
        else:
            outcome, probability, pooled = result.outcome.value, result.fake_probability, result.pooled_probability
        name = file.path.relative_to(root).as_posix()
        scores.append(Score(name, file.label, file.group, file.method, outcome, probability, pooled))
    return scores


def summarise(scores: Sequence[Score], *, seed: int, draws: int = 2000) -> dict[str, Any]:
    """For each group: AUC by method against the group's reals, with 95 % intervals over files, and the verdicts.

    The groups are also taken by kind: the first part of their names (``videos``, ``images``) as a whole.
    """
    groups: dict[str, list[Score]] = {}
    for score in scores:
        groups.setdefault(score.group, []).append(score)
        whole = score.group.split("/")[0]
        if whole != score.group:
            groups.setdefault(whole, []).append(score)
    return {name: _summarise_group(members, seed, draws) for name, members in sorted(groups.items())}


def _summarise_group(scores: Sequence[Score], seed: int, draws: int) -> dict[str, Any]:
    reals = [score for score in scores if score.label == "real"]
    fakes = [score for score in scores if score.label == "fake"]
    by_method: dict[str, list[Score]] = {ALL: fakes}
    for score in fakes:
        if score.method:
            by_method.setdefault(score.method, []).append(score)
    return {
        "auc": {
            method: _auc(members, reals, seed, draws)
            for method, members in by_method.items()
            if _judged(members) and _judged(reals)
        },
        "real": _verdicts(reals),
        "fake": {method: _verdicts(members) for method, members in by_method.items()},
    }


def _judged(scores: Iterable[Score]) -> list[float]:
    return [score.fake_probability for score in scores if score.fake_probability is not None]


def _auc(fakes: Sequence[Score], reals: Sequence[Score], seed: int, draws: int) -> dict[str, float]:
    interval = bootstrap_auc(_judged(fakes), _judged(reals), seed=seed, draws=draws)
    return {**asdict(interval), "fakes": len(_judged(fakes)), "reals": len(_judged(reals))}


def _verdicts(scores: Sequence[Score]) -> dict[str, int]:
    return dict(sorted(Counter(score.outcome for score in scores).items()))


def as_text(summary: dict[str, Any]) -> str:
    """The summary as a table for terminals."""
    lines = []
    for group, figures in summary.items():
        lines.append(f"{group}")
        for method, auc in figures["auc"].items():
            lines.append(
                f"  {method:<16} AUC {auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]"
                f"  {auc['fakes']} fakes, {auc['reals']} reals; verdicts {_line(figures['fake'][method])}"
            )
        called_fake = figures["real"].get(Outcome.FAKE.value, 0)
        total = sum(figures["real"].values())
        lines.append(f"  reals called fake: {called_fake} of {total}; verdicts {_line(figures['real'])}")
    return "\n".join(lines) + "\n"


def _line(verdicts: dict[str, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in verdicts.items())


def write_report(path: Path, summary: dict[str, Any], scores: Sequence[Score], *, facts: dict[str, Any]) -> None:
    """Figures, single scores and what produced them, as JSON."""
    report = {**facts, "summary": summary, "scores": [asdict(score) for score in scores]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
