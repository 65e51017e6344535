"""The training loop. Reads from top to bottom: state, one step, the run."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from ml.detectors.checkpoints import read_state_dict
from ml.detectors.network import FaceClassifier, to_input
from ml.training.autoencoder import FaceAutoencoder
from ml.training.config import BatchNorm, NetworkConfig, TrainingConfig
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
class NetworkState:
    """A network in training. ``folded`` maps each convolution to the normalisation it absorbed, if any did."""

    config: NetworkConfig
    model: FaceClassifier
    optimizer: torch.optim.Optimizer
    folded: dict[str, str]
    average: Weights = field(default_factory=dict)


@dataclass(slots=True)
class TrainingState:
    """A run at some step: its networks by name, all on ``device``."""

    networks: dict[str, NetworkState]
    device: torch.device
    step: int = 0


def new_state(
    config: TrainingConfig,
    *,
    pretrained: bool = True,
    device: torch.device | str = "cpu",
    start_weights: Mapping[str, Path] | None = None,
) -> TrainingState:
    """Networks with optimisers, on the CPU or a GPU. They begin with the weights files in ``start_weights``, by name,
    or else with ImageNet's."""
    device, files = torch.device(device), start_weights or {}
    unknown = sorted(set(files) - set(config.networks))
    if unknown:
        raise ValueError(f"start weights for unknown networks: {', '.join(unknown)}")
    networks = {name: _new_network(config, name, pretrained, device, files.get(name)) for name in config.networks}
    return TrainingState(networks, device)


def _new_network(
    config: TrainingConfig, name: str, pretrained: bool, device: torch.device, weights: Path | None
) -> NetworkState:
    network = config.networks[name]
    torch.manual_seed(config.seed)
    model = FaceClassifier(
        network.architecture, outputs=len(config.outputs), dropout=network.dropout, drop_path=network.drop_path
    )
    if weights is not None:
        model.load_state_dict(read_state_dict(weights), strict=True)
    else:
        if pretrained:
            load_start_weights(model.encoder, network.architecture)
        nn.init.normal_(model.fc.weight, std=0.01)
        nn.init.zeros_(model.fc.bias)
    folded = fold_batch_norm(model) if network.batch_norm is BatchNorm.FROZEN else {}
    # A CPU trains depthwise convolutions half as fast again in this order of the axes.
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Neither biases nor normalisations are decayed.
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=network.learning_rate,
    )
    average = {key: value.detach().clone() for key, value in model.state_dict().items()}
    return NetworkState(network, model, optimizer, folded, average)


def rate_share(config: TrainingConfig, step: int) -> float:
    """The learning rate as a share of its highest: linear warm-up, a plateau, then half a cosine down to
    ``decay_floor`` over the last ``decay_steps``.

    A function of the step alone, so it survives restarts. Until the fall begins it does not depend on how many
    steps are planned, so a run may be lengthened or shortened and still equal one planned so from the start.
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - (config.steps - config.decay_steps)) / max(config.decay_steps, 1)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return config.decay_floor + (1.0 - config.decay_floor) * cosine


def loss_weights(batch: Batch) -> Tensor:
    """(n, outputs): each output's fakes weigh one half together, and its reals the other; the uninformed nothing.

    Taken over the whole batch, so that summing over micro-batches gives the same gradient as one large batch.
    """
    fakes = batch.targets * batch.informed
    reals = (1.0 - batch.targets) * batch.informed
    return 0.5 * (fakes / fakes.sum(0).clamp(min=1.0) + reals / reals.sum(0).clamp(min=1.0))


def run_step(state: TrainingState, batch: Batch, config: TrainingConfig) -> dict[str, float]:
    """One optimiser step of every network on one batch; their losses. RuntimeError if one is not finite."""
    batch = batch.to(state.device)
    weights = loss_weights(batch)
    targets = batch.targets * (1.0 - config.label_smoothing) + 0.5 * config.label_smoothing
    lesson = _Lesson(batch, targets, weights)
    losses = {name: _step_network(network, state.step, lesson, config) for name, network in state.networks.items()}
    values = {name: float(loss) for name, loss in losses.items()}
    unusable = {name: value for name, value in values.items() if not math.isfinite(value)}
    if unusable:
        raise RuntimeError(f"loss at step {state.step} is no number: {unusable}")
    state.step += 1
    for network in state.networks.values():
        _update_average(network, state.step, config)
    return values


@dataclass(frozen=True, slots=True)
class _Lesson:
    """A batch with smoothed targets and each entry's weight in the loss, both (n, outputs)."""

    batch: Batch
    targets: Tensor
    weights: Tensor


def _step_network(network: NetworkState, step: int, lesson: _Lesson, config: TrainingConfig) -> Tensor:
    # Dropout draws from torch's generator: seeding it by step makes a resumed run repeat the original.
    torch.manual_seed(config.seed * 1_000_003 + step)
    network.model.train()
    for group in network.optimizer.param_groups:
        group["lr"] = network.config.learning_rate * rate_share(config, step)
    total = _accumulate(network, lesson, config)
    if network.config.sharpness_radius > 0:
        shifts = _climb(network.model, network.config.sharpness_radius)
        _accumulate(network, lesson, config)
        with torch.no_grad():
            torch._foreach_sub_(list(network.model.parameters()), shifts)
    nn.utils.clip_grad_norm_(network.model.parameters(), config.clip_norm)
    network.optimizer.step()
    return total


def _accumulate(network: NetworkState, lesson: _Lesson, config: TrainingConfig) -> Tensor:
    """The batch's loss; its gradient, and no other, is left in the parameters."""
    pixels = lesson.batch.faces
    parts = max(math.ceil(len(pixels) / config.micro_batch), 1)
    network.optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=pixels.device)
    for part in range(parts):
        own = slice(part, None, parts)
        faces = to_input(pixels[own], config.mean, config.std)
        with _autocast(pixels.device):
            logits = network.model(faces.contiguous(memory_format=torch.channels_last)).float()
        entropy = functional.binary_cross_entropy_with_logits(logits, lesson.targets[own], reduction="none")
        loss = (entropy * lesson.weights[own]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


@torch.no_grad()
def _climb(model: nn.Module, radius: float) -> list[Tensor]:
    """Move the weights by ``radius`` up the gradient, to the worst place near by; returns the moves."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))) + 1e-12
    shifts = list(torch._foreach_mul(gradients, radius / length))
    torch._foreach_add_(list(model.parameters()), shifts)
    return shifts


def _autocast(device: torch.device) -> torch.autocast:
    """bfloat16 on a GPU. On CPUs the backward pass of depthwise convolutions is far slower in it."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def _update_average(network: NetworkState, step: int, config: TrainingConfig) -> None:
    # Early on the average follows faster, or it would hold on to the start weights.
    decay = min(config.ema_decay, step / (9 + step))
    current = network.model.state_dict()
    floating = [key for key, value in current.items() if value.is_floating_point()]
    with torch.no_grad():
        averages, values = [network.average[key] for key in floating], [current[key] for key in floating]
        torch._foreach_lerp_(averages, values, 1.0 - decay)
        for key in current.keys() - set(floating):
            network.average[key].copy_(current[key])


def averaged_models(state: TrainingState, config: TrainingConfig) -> dict[str, FaceClassifier]:
    """The averaged weights in networks with normalisation layers, as detectors are stored."""
    models = {}
    for name, network in state.networks.items():
        model = FaceClassifier(network.config.architecture, outputs=len(config.outputs))
        average = {key: value.cpu() for key, value in network.average.items()}
        model.load_state_dict(unfolded_state(average, network.folded, model), strict=True)
        models[name] = model.eval()
    return models


def save_checkpoint(state: TrainingState, config: TrainingConfig, folder: Path, *, index: str = "") -> None:
    """Write to a temporary file and rename: a killed process leaves the previous checkpoint whole.

    ``index`` is the digest of the face list.
    """
    temporary = folder / f"{CHECKPOINT_FILE}.{os.getpid()}.tmp"
    networks = {
        name: {
            "model": network.model.state_dict(),
            "average": network.average,
            "optimizer": network.optimizer.state_dict(),
        }
        for name, network in state.networks.items()
    }
    content = {"config": config.to_json(), "index": index, "step": state.step, "networks": networks}
    torch.save(content, temporary)
    temporary.replace(folder / CHECKPOINT_FILE)


def load_checkpoint(state: TrainingState, config: TrainingConfig, folder: Path, *, index: str = "") -> bool:
    """Bring ``state`` to the checkpoint in ``folder``; False if there is none.

    Raises ValueError if it is another run's, or of another face list than that with the digest ``index``, if given:
    that would be split otherwise, and people held out whom the network has seen.
    """
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return False
    data: dict[str, Any] = torch.load(path, map_location=state.device, weights_only=True)
    stored = json.loads(data["config"])
    differing = sorted(k for k, v in json.loads(config.to_json()).items() if k not in HARMLESS and stored.get(k) != v)
    # Up to the fall of the learning rate, the planned number of steps has had no influence yet.
    if data["step"] <= min(c["steps"] - c["decay_steps"] for c in (stored, json.loads(config.to_json()))):
        differing = [name for name in differing if name not in {"steps", "decay_steps"}]
    if differing:
        raise ValueError(f"{path} was trained with other settings: {', '.join(differing)}")
    # Checkpoints from before have no digest.
    if index and data.get("index") and data["index"] != index:
        raise ValueError(f"{path} was trained on another list of faces")
    for name, network in state.networks.items():
        network.model.load_state_dict(data["networks"][name]["model"], strict=True)
        network.optimizer.load_state_dict(data["networks"][name]["optimizer"])
        network.average = data["networks"][name]["average"]
    state.step = data["step"]
    return True


def _start_from(state: TrainingState, folder: Path) -> None:
    data: dict[str, Any] = torch.load(folder / CHECKPOINT_FILE, map_location=state.device, weights_only=True)
    for name, network in state.networks.items():
        average = data["networks"][name]["average"]
        network.model.load_state_dict(average, strict=True)
        network.average = {key: value.detach().clone() for key, value in average.items()}


# Settings that decide no weight: they may change between a checkpoint and its continuation or export.
HARMLESS = frozenset(
    {"name", "version", "title", "licence", "threads", "workers", "validate_every", "checkpoint_every"}
    | {"validation_pairs", "validation_synthesis_pairs", "thresholds", "aggregation", "calibration", "mirrored_photos"}
)


@torch.inference_mode()
def predict_logits(
    model: nn.Module, samples: Sequence[Sample], config: TrainingConfig, device: torch.device | str = "cpu"
) -> Tensor:
    """Logits (n, outputs) of samples, in order, on the CPU."""
    model.eval().to(device)
    chunks = []
    for start in range(0, len(samples), config.micro_batch):
        batch = to_batch(samples[start : start + config.micro_batch], config.outputs).to(torch.device(device))
        faces = to_input(batch.faces, config.mean, config.std).contiguous(memory_format=torch.channels_last)
        chunks.append(model(faces).cpu())
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
    on_step: Callable[[int, dict[str, float]], None] | None = None,
    pretrained: bool = True,
    start_from: Path | None = None,
    start_weights: Mapping[str, Path] | None = None,
    device: torch.device | str | None = None,
    autoencoder: FaceAutoencoder | None = None,
) -> TrainingState:
    """Train to ``config.steps``, going on from the checkpoint in ``folder`` if there is one.

    ``start_from`` is the folder of an earlier stage, whose averaged weights a new run begins with; its optimiser
    and its learning rate are not taken over. ``start_weights`` does the same with weights files, by network.
    ``device`` is a GPU if there is one, else the CPU.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.threads)
    chosen = device if device is not None else ("cuda" if torch.cuda.is_available() else "cpu")
    state = new_state(config, pretrained=pretrained, device=chosen, start_weights=start_weights)
    index = index_digest(faces)
    resumed = load_checkpoint(state, config, folder, index=index)
    if start_from is not None and not resumed:
        _start_from(state, start_from)
    training, held_out = split_people(faces, config.validation_share, config.split_seed)
    _log_run(config, faces, folder, training=len(training), held_out=len(held_out), step=state.step if resumed else 0)
    pool = FacePool(training, root, config, autoencoder)
    validation = validation_samples(FacePool(held_out, root, config, autoencoder)) if config.validation_pairs else []
    started, first = time.monotonic(), state.step
    for batch in step_batches(pool, first_step=state.step, steps=config.steps, workers=config.workers):
        losses = run_step(state, batch, config)
        if on_step is not None:
            on_step(state.step, losses)
        if state.step % LOG_EVERY == 0 or state.step == config.steps:
            facts = {
                "step": state.step,
                "rate_share": rate_share(config, state.step),
                "faces_per_second": round((state.step - first) * len(batch.faces) / (time.monotonic() - started), 1),
                **{f"{name}_loss": round(loss, 5) for name, loss in losses.items()},
            }
            logger.info("step %d/%d %s", state.step, config.steps, facts)
            _append(folder, facts)
        if state.step % config.checkpoint_every == 0 or state.step == config.steps:
            save_checkpoint(state, config, folder, index=index)
        if validation and (state.step % config.validate_every == 0 or state.step == config.steps):
            for name, model in averaged_models(state, config).items():
                logits = predict_logits(model, validation, config, state.device)
                metrics = validation_metrics(logits.sigmoid(), validation, config)
                logger.info("step %d %s validation %s", state.step, name, {k: round(v, 4) for k, v in metrics.items()})
                _append(folder, {"step": state.step, "network": name, **metrics})
    return state


def _append(folder: Path, metrics: dict[str, Any]) -> None:
    with (folder / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(metrics) + "\n")


def step_batches(pool: FacePool, *, first_step: int, steps: int, workers: int) -> Iterator[Batch]:
    """The batches of the steps that remain, in order, made ahead by ``workers`` processes."""
    if first_step >= steps:
        return
    dataset = StepDataset(pool, first_step=first_step, steps=steps)
    # Not forked from this process: a child of one with threads may wait for ever for a lock that one of them held.
    yield from DataLoader(
        dataset,
        batch_size=None,
        shuffle=False,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="forkserver" if workers else None,
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
