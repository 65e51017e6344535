"""The training loop. Reads from top to bottom: state, one step, the run."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from ml.detectors.network import FaceClassifier, to_input
from ml.training.config import TrainingConfig
from ml.training.faces_index import TrainingFace, index_digest
from ml.training.folding import fold_batch_norm, unfolded_state
from ml.training.samples import (
    BLENDING,
    Batch,
    FacePool,
    Sample,
    StepDataset,
    split_people,
    to_batch,
    validation_samples,
)
from ml.training.start_weights import load_start_weights
from ml.training.statistics import roc_auc

logger = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.pt"
METRICS_FILE = "metrics.jsonl"
RUN_FILE = "run.json"
LOG_EVERY = 20

Weights = dict[str, Tensor]


@dataclass(slots=True)
class TrainingState:
    """A run at some step. ``folded`` maps each convolution to the normalisation it absorbed."""

    model: FaceClassifier
    optimizer: torch.optim.Optimizer
    folded: dict[str, str]
    average: Weights = field(default_factory=dict)
    step: int = 0


def new_state(config: TrainingConfig, *, pretrained: bool = True) -> TrainingState:
    """Start weights, folded, with an optimiser. Biases are not decayed."""
    torch.manual_seed(config.seed)
    model = FaceClassifier(
        config.architecture, outputs=len(config.outputs), dropout=config.dropout, drop_path=config.drop_path
    )
    if pretrained:
        load_start_weights(model.encoder)
    nn.init.normal_(model.fc.weight, std=0.01)
    nn.init.zeros_(model.fc.bias)
    folded = fold_batch_norm(model)
    # A CPU trains depthwise convolutions half as fast again in this order of the axes.
    model.to(memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=config.learning_rate,
    )
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return TrainingState(model, optimizer, folded, average)


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Linear warm-up, a plateau, then half a cosine down to ``decay_floor`` over the last ``decay_steps``.

    A function of the step alone, so it survives restarts. Until the fall begins it does not depend on how many
    steps are planned, so a run may be lengthened or shortened and still equal one planned so from the start.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - (config.steps - config.decay_steps)) / max(config.decay_steps, 1)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return config.learning_rate * (config.decay_floor + (1.0 - config.decay_floor) * cosine)


def loss_weights(batch: Batch) -> Tensor:
    """(n, outputs): each output's fakes weigh one half together, and its reals the other; the uninformed nothing.

    Taken over the whole batch, so that summing over micro-batches gives the same gradient as one large batch.
    """
    fakes = batch.targets * batch.informed
    reals = (1.0 - batch.targets) * batch.informed
    return 0.5 * (fakes / fakes.sum(0).clamp(min=1.0) + reals / reals.sum(0).clamp(min=1.0))


def run_step(state: TrainingState, batch: Batch, config: TrainingConfig) -> float:
    """One optimiser step on one batch; returns the loss. Raises RuntimeError if it is not finite."""
    # Dropout draws from torch's generator: seeding it by step makes a resumed run repeat the original.
    torch.manual_seed(config.seed * 1_000_003 + state.step)
    state.model.train()
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, state.step)
    weights = loss_weights(batch)
    targets = batch.targets * (1.0 - config.label_smoothing) + 0.5 * config.label_smoothing
    parts = max(math.ceil(len(batch.faces) / config.micro_batch), 1)
    state.optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for part in range(parts):
        faces = to_input(batch.faces[part::parts], config.mean, config.std)
        logits = state.model(faces.contiguous(memory_format=torch.channels_last))
        entropy = functional.binary_cross_entropy_with_logits(logits, targets[part::parts], reduction="none")
        loss = (entropy * weights[part::parts]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    if not math.isfinite(total):
        raise RuntimeError(f"loss is {total} at step {state.step}")
    nn.utils.clip_grad_norm_(state.model.parameters(), config.clip_norm)
    state.optimizer.step()
    state.step += 1
    _update_average(state, config)
    return total


def _update_average(state: TrainingState, config: TrainingConfig) -> None:
    # Early on the average follows faster, or it would hold on to the start weights.
    decay = min(config.ema_decay, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for name, value in state.model.state_dict().items():
            state.average[name].lerp_(value, 1.0 - decay)


def averaged_model(state: TrainingState, config: TrainingConfig) -> FaceClassifier:
    """The averaged weights in a network with normalisation layers, as detectors are stored."""
    model = FaceClassifier(config.architecture, outputs=len(config.outputs))
    model.load_state_dict(unfolded_state(state.average, state.folded, model), strict=True)
    return model.eval()


def save_checkpoint(state: TrainingState, config: TrainingConfig, folder: Path) -> None:
    """Write to a temporary file and rename: a killed process leaves the previous checkpoint whole."""
    temporary = folder / f"{CHECKPOINT_FILE}.{os.getpid()}.tmp"
    torch.save(
        {
            "config": config.to_json(),
            "step": state.step,
            "model": state.model.state_dict(),
            "average": state.average,
            "optimizer": state.optimizer.state_dict(),
        },
        temporary,
    )
    temporary.replace(folder / CHECKPOINT_FILE)


def load_checkpoint(state: TrainingState, config: TrainingConfig, folder: Path) -> bool:
    """Bring ``state`` to the checkpoint in ``folder``; False if there is none. Raises ValueError if it is another's."""
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return False
    data: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    stored = json.loads(data["config"])
    differing = sorted(k for k, v in json.loads(config.to_json()).items() if k not in HARMLESS and stored.get(k) != v)
    # Up to the fall of the learning rate, the planned number of steps has had no influence yet.
    if data["step"] <= min(c["steps"] - c["decay_steps"] for c in (stored, json.loads(config.to_json()))):
        differing = [name for name in differing if name not in {"steps", "decay_steps"}]
    if differing:
        raise ValueError(f"{path} was trained with other settings: {', '.join(differing)}")
    state.model.load_state_dict(data["model"], strict=True)
    state.optimizer.load_state_dict(data["optimizer"])
    state.average = data["average"]
    state.step = data["step"]
    return True


def _start_from(state: TrainingState, folder: Path) -> None:
    data: dict[str, Any] = torch.load(folder / CHECKPOINT_FILE, map_location="cpu", weights_only=True)
    state.model.load_state_dict(data["average"], strict=True)
    state.average = {name: value.detach().clone() for name, value in data["average"].items()}


# Settings that decide no weight: they may change between a checkpoint and its continuation or export.
HARMLESS = frozenset(
    {"name", "version", "title", "licence", "threads", "workers", "validate_every", "checkpoint_every"}
    | {"validation_pairs", "validation_synthesis_pairs", "thresholds", "aggregation", "calibration"}
)


@torch.inference_mode()
def predict_logits(model: nn.Module, samples: Sequence[Sample], config: TrainingConfig) -> Tensor:
    """Logits (n, outputs) of samples, in order."""
    model.eval()
    chunks = []
    for start in range(0, len(samples), config.micro_batch):
        batch = to_batch(samples[start : start + config.micro_batch], config.outputs)
        faces = to_input(batch.faces, config.mean, config.std).contiguous(memory_format=torch.channels_last)
        chunks.append(model(faces))
    return torch.cat(chunks)


def validation_metrics(probabilities: Tensor, samples: Sequence[Sample], config: TrainingConfig) -> dict[str, float]:
    """AUC of each output over the samples it is informed about, and of blending for each kind of fake."""
    metrics: dict[str, float] = {}
    for column, output in enumerate(config.outputs):
        scores = probabilities[:, column].numpy()
        labels = np.asarray([sample.targets.get(output, np.nan) for sample in samples])
        metrics[f"{output}_auc"] = _auc_of(labels, scores, ~np.isnan(labels))
        if output == BLENDING:
            for kind in sorted({sample.kind for sample in samples if sample.targets.get(BLENDING) == 1.0}):
                chosen = np.asarray([sample.kind == kind for sample in samples]) | (labels == 0.0)
                metrics[f"{output}_auc_{kind}"] = _auc_of(labels, scores, chosen)
    worst = probabilities.max(dim=1).values.numpy()
    reals = np.asarray([sample.targets.get(BLENDING) == 0.0 for sample in samples])
    fakes = np.asarray([1.0 in sample.targets.values() for sample in samples])
    metrics["auc"] = _auc_of(fakes.astype(float), worst, reals | fakes)
    metrics["real_q95"] = float(np.quantile(worst[reals], 0.95)) if reals.any() else math.nan
    return metrics


def _auc_of(labels: np.ndarray[Any, Any], scores: np.ndarray[Any, Any], chosen: np.ndarray[Any, Any]) -> float:
    labels, scores = labels[chosen], scores[chosen]
    if len(set(labels.tolist())) < 2:
        return math.nan
    return roc_auc(scores[labels == 1.0], scores[labels == 0.0])


def train(
    config: TrainingConfig,
    faces: Sequence[TrainingFace],
    root: Path,
    folder: Path,
    *,
    on_step: Callable[[int, float], None] | None = None,
    pretrained: bool = True,
    start_from: Path | None = None,
) -> TrainingState:
    """Train to ``config.steps``, going on from the checkpoint in ``folder`` if there is one.

    ``start_from`` is the folder of an earlier stage, whose averaged weights a new run begins with; its optimiser
    and its learning rate are not taken over.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.threads)
    state = new_state(config, pretrained=pretrained)
    resumed = load_checkpoint(state, config, folder)
    if start_from is not None and not resumed:
        _start_from(state, start_from)
    training, held_out = split_people(faces, config.validation_share, config.split_seed)
    _log_run(config, faces, folder, training=len(training), held_out=len(held_out), step=state.step if resumed else 0)
    pool = FacePool(training, root, config)
    validation = validation_samples(FacePool(held_out, root, config)) if config.validation_pairs else []
    started, first = time.monotonic(), state.step
    for batch in step_batches(pool, first_step=state.step, steps=config.steps, workers=config.workers):
        loss = run_step(state, batch, config)
        if on_step is not None:
            on_step(state.step, loss)
        if state.step % LOG_EVERY == 0 or state.step == config.steps:
            rate = (state.step - first) * len(batch.faces) / (time.monotonic() - started)
            logger.info(
                "step %d/%d loss %.4f lr %.2e %.1f faces/s",
                state.step, config.steps, loss, learning_rate(config, state.step), rate,
            )  # fmt: skip
        if state.step % config.checkpoint_every == 0 or state.step == config.steps:
            save_checkpoint(state, config, folder)
        if validation and (state.step % config.validate_every == 0 or state.step == config.steps):
            logits = predict_logits(averaged_model(state, config), validation, config)
            metrics = validation_metrics(logits.sigmoid(), validation, config)
            logger.info("step %d validation %s", state.step, {k: round(v, 4) for k, v in metrics.items()})
            with (folder / METRICS_FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.step, **metrics}) + "\n")
    return state


def step_batches(pool: FacePool, *, first_step: int, steps: int, workers: int) -> Iterator[Batch]:
    """The batches of the steps that remain, in order, made ahead by ``workers`` processes."""
    if first_step >= steps:
        return
    dataset = StepDataset(pool, first_step=first_step, steps=steps)
    yield from DataLoader(
        dataset, batch_size=None, shuffle=False, num_workers=workers, prefetch_factor=4 if workers else None
    )


def _log_run(
    config: TrainingConfig, faces: Sequence[TrainingFace], folder: Path, *, training: int, held_out: int, step: int
) -> None:
    facts = {
        "config": json.loads(config.to_json()),
        "config_sha256": config.digest(),
        "faces": {"training": training, "validation": held_out, "index_sha256": index_digest(faces)},
        "commit": current_commit(),
        "torch": torch.__version__,
        "first_step": step,
    }
    logger.info("run %s", json.dumps(facts, sort_keys=True))
    (folder / RUN_FILE).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def current_commit() -> str:
    """The git commit of the code, with ``+`` if there are changes on top; ``unknown`` outside a repository."""
    here = Path(__file__).resolve().parent
    git = shutil.which("git")
    if git is None:
        return "unknown"
    try:
        commit, changes = (
            subprocess.run([git, *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "."])
        )
    except subprocess.CalledProcessError:
        return "unknown"
    return commit + ("+" if changes else "")
