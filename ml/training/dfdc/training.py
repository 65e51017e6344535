"""Training on DFDC crops: the loss, the validation, the runs, and the detector that comes out."""

from __future__ import annotations

import json
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from ml.detectors.catalog import SPEC_FILE
from ml.detectors.checkpoints import read_state_dict
from ml.detectors.integrity import sha256_of
from ml.detectors.network import FaceClassifier, to_input
from ml.detectors.spec import Aggregation, DetectorSpec, Preprocessing, Thresholds
from ml.training.dfdc.config import DfdcConfig
from ml.training.dfdc.dataset import (
    Batch,
    EpochDataset,
    ValidationDataset,
    existing_rows,
    load,
    split_rows,
    steps_per_epoch,
)
from ml.training.dfdc.folds import FoldRow, read_folds
from ml.training.dfdc.layout import Layout
from ml.training.dfdc.steps import Skip, exclusive, write_atomically
from ml.training.engine import Place, Run, RunState, epoch_weights
from ml.training.logbook import METRICS_FILE, read_metrics
from ml.training.start_weights import load_start_weights

logger = logging.getLogger(__name__)

RUN_FILE = "run.json"
SKIPPED_FILE = "skipped.json"
# Half of the smallest distance between probabilities near one in float32: a certain error costs 16, not infinity.
LEAST_PROBABILITY = 1e-7


def run_folder(work: Path, seed: int) -> Path:
    return work / f"seed_{seed}"


def balanced_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """(mean cross-entropy over the fakes + that over the reals) / 2; a batch without one kind gives half the other's.

    ``logits`` and ``labels`` (1 for fake) are (n,). Smoothing keeps targets that far from 0 and 1.
    """
    targets = labels.clamp(smoothing, 1.0 - smoothing)
    entropy = functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    fake = labels > 0.5
    parts = [entropy[chosen].sum() / chosen.sum().clamp(min=1) for chosen in (fake, ~fake)]
    return (parts[0] + parts[1]) / 2


def video_log_loss(scores: Mapping[str, float], fakes: Mapping[str, bool]) -> dict[str, float]:
    """The balanced log loss over videos, each with one score in [0, 1], and its two halves; nan without videos."""
    losses: dict[bool, list[float]] = {True: [], False: []}
    for video, score in scores.items():
        right = score if fakes[video] else 1.0 - score
        losses[fakes[video]].append(-math.log(min(max(right, LEAST_PROBABILITY), 1.0)))
    fake, real = (sum(part) / len(part) if part else math.nan for part in (losses[True], losses[False]))
    return {"loss": (fake + real) / 2, "fake_loss": fake, "real_loss": real}


@dataclass(slots=True)
class DfdcTask:
    """What the engine trains. ``unreadable`` collects the crops that could not be read."""

    config: DfdcConfig
    layout: Layout
    training: Sequence[FoldRow]
    validation: Sequence[FoldRow]
    seed: int
    place: Place
    workers: int
    unreadable: dict[str, Skip] = field(default_factory=dict)

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(self.training, self.config, self.place.world)

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        dataset = EpochDataset(
            self.training,
            self.layout,
            self.config,
            seed=self.seed,
            epoch=epoch,
            first=first,
            steps=self.steps_per_epoch,
            rank=self.place.rank,
            world=self.place.world,
        )
        for batch in load(dataset, self.workers):
            self._remember(batch)
            if not batch.rows:
                raise OSError(f"not one crop of a batch can be read: {batch.unreadable[0]}")
            yield batch

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        logits = model(self._input(batch))[:, 0]
        return balanced_loss(logits, batch.labels.to(logits.device), self.config.label_smoothing)

    def validate(self, model: nn.Module, epoch: int) -> dict[str, float]:
        """Balanced log loss of the plain means of each video's crops. Every process takes its share of the crops."""
        mine = self.validation[self.place.rank :: self.place.world]
        scored: list[tuple[str, int, float]] = []
        for batch in load(ValidationDataset(mine, self.layout, self.config), self.workers):
            self._remember(batch)
            if batch.rows:
                probabilities = torch.sigmoid(model(self._input(batch))[:, 0].float()).tolist()
                scored += [(r.video, r.label, p) for r, p in zip(batch.rows, probabilities, strict=True)]
        # Sorted, so that rounding does not depend on how many processes there were.
        by_video: dict[str, list[float]] = defaultdict(list)
        fakes: dict[str, bool] = {}
        for video, label, probability in sorted(self.place.gather(scored)):
            by_video[video].append(probability)
            fakes[video] = label == 1
        means = {video: sum(values) / len(values) for video, values in by_video.items()}
        return {f"validation_{name}": value for name, value in video_log_loss(means, fakes).items()}

    def _input(self, batch: Batch) -> Tensor:
        faces = batch.faces.to(self.place.device, non_blocking=True)
        return to_input(faces, self.config.mean, self.config.std).contiguous(memory_format=torch.channels_last)

    def _remember(self, batch: Batch) -> None:
        for skip in batch.unreadable:
            if skip.item not in self.unreadable:
                logger.warning("%s is left out: %s", skip.item, skip.detail)
            self.unreadable[skip.item] = skip


def make_network(config: DfdcConfig, seed: int) -> FaceClassifier:
    """The network with its start weights; what those lack is drawn with the seed."""
    torch.manual_seed(seed)
    model = FaceClassifier(config.architecture, dropout=config.dropout, drop_path=config.drop_path)
    source = config.start_weights
    if source.startswith("timm:"):
        name = source.removeprefix("timm:")
        downloaded = timm.create_model(name, pretrained=True, num_classes=0, global_pool="avg")
        model.encoder.load_state_dict(downloaded.state_dict(), strict=True)
    elif source == "package":
        load_start_weights(model.encoder, config.architecture)
    elif source:
        _load_file(model, Path(source))
    return model


def _load_file(model: FaceClassifier, path: Path) -> None:
    """A state dict of the whole network or of its encoder only, strictly."""
    state = read_state_dict(path)
    if any(name.startswith("encoder.") for name in state):
        model.load_state_dict(state, strict=True)
    else:
        state = {name: value for name, value in state.items() if not name.startswith("classifier.")}
        model.encoder.load_state_dict(state, strict=True)


def train_seed(
    config: DfdcConfig,
    layout: Layout,
    work: Path,
    *,
    seed: int,
    place: Place,
    workers: int,
    on_step: Callable[[int, int, float], None] | None = None,
) -> RunState:
    """Train one network in ``work/seed_<seed>``, or go on training it. ``on_step`` gets step, steps and loss."""
    folder = run_folder(work, seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows, missing = existing_rows(read_folds(layout.folds), layout)
    training, validation = split_rows(rows, config)
    task = DfdcTask(config, layout, training, validation, seed, place, workers)
    task.unreadable = {skip.item: skip for skip in missing}
    total = task.steps_per_epoch * config.engine.epochs
    if place.is_first:
        _write_facts(folder, config, seed, task)

    def show(step: int, loss: float) -> None:
        if on_step is not None:
            on_step(step, total, loss)

    run = Run(
        task=task,
        settings=config.engine,
        folder=folder,
        place=place,
        seed=seed,
        fingerprint={
            **config.fingerprint(),
            "steps_per_epoch": task.steps_per_epoch,
            "folds_sha256": sha256_of(layout.folds),
        },
        on_step=show,
    )
    # Two runs would overwrite each other's checkpoints.
    with exclusive(folder / ".lock") if place.is_first else nullcontext():
        state = run.train(make_network(config, seed))
    unreadable = {skip.item: skip for skip in place.gather(list(task.unreadable.values()))}
    if place.is_first:
        skipped = [asdict(unreadable[item]) for item in sorted(unreadable)]
        write_atomically(folder / SKIPPED_FILE, json.dumps(skipped, indent=1) + "\n")
    return state


def _write_facts(folder: Path, config: DfdcConfig, seed: int, task: DfdcTask) -> None:
    facts = {
        "config": asdict(config),
        "seed": seed,
        "steps_per_epoch": task.steps_per_epoch,
        "crops": {"training": len(task.training), "validation": len(task.validation)},
        "processes": task.place.world,
        "device": str(task.place.device),
        "torch": torch.__version__,
    }
    logger.info("run %s", json.dumps(facts, sort_keys=True))
    write_atomically(folder / RUN_FILE, json.dumps(facts, indent=1, sort_keys=True) + "\n")


def best_epoch(folder: Path) -> tuple[int, float]:
    """The epoch with the lowest validation loss so far, and that loss. Raises FileNotFoundError if there is none."""
    finished = [line for line in read_metrics(folder / METRICS_FILE) if line["kind"] == "epoch"]
    losses = [(line["validation_loss"], line["epoch"]) for line in finished if line["validation_loss"] is not None]
    if not losses:
        raise FileNotFoundError(f"no epoch has been validated in {folder}")
    loss, epoch = min(losses)
    return epoch, loss


def export_detector(config: DfdcConfig, folder: Path, target: Path, *, epoch: int | None = None) -> DetectorSpec:
    """Write the weights of an epoch (by default the best one) as a detector folder that the site can load.

    The description goes last, so that a folder with one is a whole detector.
    """
    chosen = best_epoch(folder)[0] if epoch is None else epoch
    source = epoch_weights(folder, chosen)
    if not source.exists():
        raise FileNotFoundError(f"epoch {chosen} is not in {folder}")
    model = FaceClassifier(config.architecture)
    model.load_state_dict(load_file(str(source)), strict=True)
    target.mkdir(parents=True, exist_ok=True)
    weights = target / "model.safetensors"
    temporary = target / ".model.safetensors.part"
    temporary.write_bytes(source.read_bytes())
    temporary.replace(weights)
    spec = DetectorSpec(
        name=config.name,
        version=config.version,
        title=config.title,
        architecture=config.architecture,
        outputs=("fake",),
        preprocessing=Preprocessing(input_size=config.input_size, mean=config.mean, std=config.std),
        thresholds=Thresholds(**config.thresholds),
        aggregation=Aggregation(config.aggregation),
        licence=config.licence,
        weights_file=weights.name,
        weights_sha256=sha256_of(weights),
        card="MODEL_CARD.md",
    )
    write_atomically(target / SPEC_FILE, spec.to_json())
    return spec
