"""How well a detector does on labelled media, through the same code that serves users.

The media folder has a folder ``real`` or ``fake`` somewhere on each path: what stands before it names the group
(codec, data set), what stands between it and the file the method. ``videos/ffpp_c40/fake/FaceSwap/a.mp4`` is a
FaceSwap fake of the group ``videos/ffpp_c40``, compared with the reals of that group.

``docs/evaluation.md`` describes what comes out: figures as JSON, a page that shows them, and the error rates that are
shown with verdicts.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ml.contracts import Outcome
from ml.detectors.runner import chosen_precision
from ml.inference import library_versions
from ml.media.frames import SAMPLED_FRAMES
from ml.training.measured_rates import count_error_rates
from ml.training.robustness import Recoding
from ml.training.scoring import (
    FileScore,
    LabelledFile,
    ScorerRecipe,
    Task,
    find_labelled,
    media_digest,
    score_all,
)
from ml.training.statistics import DRAWS, LEVEL, Scored, bootstrap
from ml.training.summary import Pools, judged, pool_groups, read_floor, share, summarise

SCHEMA = 1
EVALUATION_FILE, PAGE_FILE, SCORES_FOLDER = "evaluation.json", "evaluation.html", "scores"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What to measure: `media` by a detector. ``cache_folder`` keeps what was examined; None keeps nothing.

    ``pools`` are further groups, by name the groups or patterns that they take. ``used_for_choosing``: the detector
    or its thresholds were chosen by these files, which makes all figures too good and has to be told with them.
    """

    media: Path
    detector: str
    search: tuple[Path, ...] = ()
    device: str | None = None
    cache_folder: Path | None = None
    workers: int = 1
    seed: int = 0
    draws: int = DRAWS
    pools: Pools = field(default_factory=dict)
    recodings: tuple[Recoding, ...] = ()
    used_for_choosing: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The document of docs/evaluation.md, that of :mod:`ml.error_rates`, and what they were counted from."""

    report: dict[str, Any]
    error_rates: dict[str, Any]
    scores: tuple[FileScore, ...]


def evaluate(wanted: Evaluation) -> Measured:
    """Score the media and compute all figures.

    Raises FileNotFoundError if nothing is labelled, ValueError for a pool that takes nothing, and
    AnalysisError(MODEL_UNAVAILABLE) if the detector can't be loaded.
    """
    files = find_labelled(wanted.media)
    with ExitStack() as stack:
        folder = wanted.cache_folder
        if folder is None and wanted.recodings:
            # Each worse copy begins with the facts about its original.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sentinel-scores-")))
        recipe = ScorerRecipe(wanted.detector, wanted.search, wanted.device, folder)
        scorer = recipe.make()
        scores = _score(files, wanted, recipe)
        # Before the long part: a misspelt pool should not cost an hour.
        pool_groups(scores, wanted.pools)
        worse = _score_worse(files, wanted, recipe, scores)
    spec = scorer.spec
    today = datetime.now(UTC).date()
    summary = summarise(
        scores,
        frame_threshold=spec.thresholds.frame,
        seed=wanted.seed,
        pools=wanted.pools,
        draws=wanted.draws,
    )
    report = {
        "schema": SCHEMA,
        "detector": spec.name,
        "version": spec.version,
        "title": spec.title,
        "weights_sha256": list(scorer.weights_sha256),
        "thresholds": asdict(spec.thresholds),
        "aggregation": spec.aggregation.value,
        "measured_on": today.isoformat(),
        "seed": wanted.seed,
        "draws": wanted.draws,
        "level": LEVEL,
        "frames": SAMPLED_FRAMES,
        "precision": chosen_precision().value,
        "used_for_choosing": wanted.used_for_choosing,
        "software": library_versions(),
        "media": {"files": len(scores), "sha256": media_digest(scores)},
        "pools": {name: list(groups) for name, groups in wanted.pools.items()},
        "groups": summary,
        "robustness": _robustness(worse, scores, wanted),
        "floor": read_floor(),
        "scores": [asdict(score) for score in scores],
    }
    rates = count_error_rates(
        scores,
        spec,
        scorer.weights_sha256,
        frames=SAMPLED_FRAMES,
        precision=chosen_precision().value,
        used_for_choosing=wanted.used_for_choosing,
        measured_on=today,
        software=library_versions(),
    )
    return Measured(report, rates, tuple(scores))


def _score(files: Sequence[LabelledFile], wanted: Evaluation, recipe: ScorerRecipe) -> list[FileScore]:
    tasks = [Task(file) for file in files]
    found = score_all(tasks, wanted.media, recipe, workers=wanted.workers)
    return [
        score
        for _, score in tqdm(found, total=len(tasks), unit="file", desc="evaluating", disable=None)
        if score is not None
    ]


def _score_worse(
    files: Sequence[LabelledFile], wanted: Evaluation, recipe: ScorerRecipe, scores: Sequence[FileScore]
) -> dict[Recoding, dict[str, FileScore]]:
    """The score of each file's worse copy by path, for the files that the recoding changes."""
    readable = {score.path for score in scores if not score.is_error}
    tasks = [
        Task(file, recoding)
        for recoding in wanted.recodings
        for file in files
        if file.path.relative_to(wanted.media).as_posix() in readable
    ]
    worse: dict[Recoding, dict[str, FileScore]] = {recoding: {} for recoding in wanted.recodings}
    found = score_all(tasks, wanted.media, recipe, workers=wanted.workers)
    for task, score in tqdm(found, total=len(tasks), unit="copy", desc="worse copies", disable=None if tasks else True):
        if task.recoding is not None and score is not None:
            worse[task.recoding][score.path] = score
    return worse


def _robustness(
    worse: dict[Recoding, dict[str, FileScore]], scores: Sequence[FileScore], wanted: Evaluation
) -> list[dict[str, Any]]:
    """AUC and false alarms of each group at each degree, all fakes together; ``value`` None is the media as it is.

    Files that a recoding leaves as they are count as they are, if they are of the kind that it is about: faces that are
    small already belong on the curve over face size, photos don't belong on the curve over CRF.
    """
    rows = []
    groups = pool_groups(scores, wanted.pools)
    for harm in dict.fromkeys(recoding.harm for recoding in worse):
        of_harm = {recoding: changed for recoding, changed in worse.items() if recoding.harm is harm}
        paths = {path for changed in of_harm.values() for path in changed}
        kinds = {score.kind for score in scores if score.path in paths}
        degrees: dict[int | None, dict[str, FileScore]] = {None: {}} | {
            recoding.value: changed for recoding, changed in of_harm.items()
        }
        for group, everyone in groups.items():
            members = [score for score in everyone if score.kind in kinds]
            for value, changed in degrees.items():
                row = _degree([changed.get(score.path, score) for score in members], wanted, f"{group} {harm} {value}")
                if row is not None:
                    count = sum(score.path in changed for score in members)
                    rows.append({"harm": harm.value, "value": value, "group": group, "changed": count, **row})
    return rows


def _degree(scores: Sequence[FileScore], wanted: Evaluation, name: str) -> dict[str, Any] | None:
    """None without fakes or reals that can be judged."""
    fakes = judged([score for score in scores if score.label == "fake"])
    reals = [score for score in scores if score.label == "real"]
    alarms = share(reals, Outcome.FAKE)
    if not fakes or alarms is None:
        return None
    scored = Scored.by_file(fakes, judged(reals))
    found = bootstrap(scored, seed=[wanted.seed, zlib.crc32(name.encode())], draws=wanted.draws)
    return {
        "files": len(scores),
        "fakes": len(fakes),
        "reals": alarms.total,
        "auc": asdict(found["auc"]),
        "false_alarms": asdict(alarms),
    }
