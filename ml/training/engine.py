"""A training loop for any task: mixed precision, clipping, averaged weights, several GPUs, and resumption.

Reads from top to bottom: settings, the process's place among others, the state of a run, one step, the run. A task
brings its model, its batches, its loss and its validation; everything else is here.

Random numbers are a function of seed, step and process, and the learning rate one of the step, so neither needs to be
stored: a run that was killed goes on exactly as if it had not been, as long as the task's batches depend on epoch and
position only.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from ml.training.logbook import Logbook

logger = logging.getLogger(__name__)

Batch = TypeVar("Batch")

CHECKPOINT_FILE = "checkpoint.pt"
EPOCHS_FOLDER = "epochs"
# So many steps in a row may overflow in half precision before the run is given up.
MOST_OVERFLOWS = 25


# ---------------------------------------------------------------------------------------------------------- settings


class Precision(StrEnum):
    """What the network computes in. On a CPU it is always FP32."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"


class Schedule(StrEnum):
    CONSTANT = "constant"
    POLY = "poly"
    COSINE = "cosine"


class OptimizerKind(StrEnum):
    SGD = "sgd"
    ADAMW = "adamw"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How to train.

    ``schedule_steps`` is where the learning rate's fall would end, which may lie beyond the last step; ``power`` is
    that of the polynomial, ``floor`` the share of the learning rate that remains. ``clip_norm`` 0 does not clip,
    ``ema_decay`` 0 averages no weights. Besides the end of each epoch, ``checkpoint_every`` steps write a checkpoint
    (0: none in between). ``log_every`` steps write a line of metrics.
    """

    epochs: int
    learning_rate: float
    optimizer: OptimizerKind = OptimizerKind.SGD
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4
    schedule: Schedule = Schedule.POLY
    schedule_steps: int = 1
    power: float = 0.9
    warmup_steps: int = 0
    floor: float = 0.0
    precision: Precision = Precision.FP32
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    checkpoint_every: int = 0
    log_every: int = 20

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.schedule_steps < 1 or self.log_every < 1:
            raise ValueError("epochs, schedule_steps and log_every must be at least 1")
        if not 0.0 <= self.ema_decay < 1.0:
            raise ValueError(f"ema_decay must lie in [0, 1), not {self.ema_decay}")


# They decide no weight, so they may change between a checkpoint and its continuation.
HARMLESS = frozenset({"epochs", "checkpoint_every", "log_every"})


def learning_rate(settings: EngineSettings, step: int) -> float:
    """The rate of step ``step``, counted from 0: linear warm-up, then the schedule's fall."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    after = settings.schedule_steps - settings.warmup_steps
    progress = min((step - settings.warmup_steps) / max(after, 1), 1.0)
    match settings.schedule:
        case Schedule.CONSTANT:
            share = 1.0
        case Schedule.POLY:
            share = (1.0 - progress) ** settings.power
        case Schedule.COSINE:
            share = 0.5 * (1.0 + math.cos(math.pi * progress))
    return settings.learning_rate * (settings.floor + (1.0 - settings.floor) * share)


def make_optimizer(model: nn.Module, settings: EngineSettings) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if settings.optimizer is OptimizerKind.SGD:
        return torch.optim.SGD(
            parameters,
            lr=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            weight_decay=settings.weight_decay,
        )
    return torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)


# ------------------------------------------------------------------------------------------------ place among others


@dataclass(frozen=True, slots=True)
class Place:
    """This process among those that train together, and its device."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def gather(self, mine: Sequence[Any]) -> list[Any]:
        """What all processes bring, in order of rank, in every process."""
        if self.world == 1:
            return list(mine)
        everybodys: list[Any] = [None] * self.world
        dist.all_gather_object(everybodys, list(mine))
        return [one for theirs in everybodys for one in theirs]

    def add_up(self, numbers: Tensor) -> Tensor:
        """The sum over all processes, in every process."""
        if self.world > 1:
            numbers = numbers.clone()
            dist.all_reduce(numbers)
        return numbers

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's values, in place."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def wait(self) -> None:
        if self.world > 1:
            dist.barrier()


@contextmanager
def take_place(device: str | None = None) -> Iterator[Place]:
    """Join the processes that ``torchrun`` started, NCCL on GPUs and gloo on CPUs; without it, be alone.

    ``device`` is ``cpu`` or ``cuda``; by default a GPU if there is one.
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if "WORLD_SIZE" not in os.environ:
        yield Place(0, 1, torch.device(kind))
        return
    chosen = torch.device(kind)
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Place(dist.get_rank(), dist.get_world_size(), chosen)
    finally:
        dist.destroy_process_group()


# -------------------------------------------------------------------------------------------------- state of a run


class Task(Protocol[Batch]):
    """What is trained. ``steps_per_epoch`` must be the same in every process."""

    @property
    def steps_per_epoch(self) -> int: ...

    def batches(self, epoch: int, first: int) -> Iterable[Batch]:
        """This process's batches of an epoch, from the step ``first`` of that epoch on."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss of a batch, a float32 scalar; called inside autocast where that is on."""
        ...

    def validate(self, model: nn.Module, epoch: int) -> Mapping[str, float]:
        """Figures of a model in evaluation mode, the same in every process."""
        ...


@dataclass(slots=True)
class RunState:
    """A run at some step. ``loss_sum`` is that of the epoch so far, over ``loss_count`` steps, in this process."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: AveragedModel | None
    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    overflows: int = 0

    @property
    def judged(self) -> nn.Module:
        """What is validated and kept: the averaged weights where there are any."""
        return self.model if self.average is None else self.average.module


def new_state(model: nn.Module, settings: EngineSettings, device: torch.device) -> RunState:
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = None
    if settings.ema_decay:
        average = AveragedModel(model, multi_avg_fn=_follow(settings.ema_decay), use_buffers=True)
    fp16 = settings.precision is Precision.FP16 and device.type == "cuda"
    return RunState(model, make_optimizer(model, settings), torch.amp.GradScaler(device.type, enabled=fp16), average)


def _follow(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Exponential moving average that follows faster early on, or it would hold on to the start weights."""

    @torch.no_grad()
    def update(averages: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        number = int(count)
        share = 1.0 - min(decay, (1 + number) / (10 + number))
        for average, value in zip(averages, current, strict=True):
            if average.is_floating_point():
                average.lerp_(value.to(average.dtype), share)
            else:
                # Counters, such as batch normalisation's: an average of those means nothing.
                average.copy_(value)

    return update


def save_checkpoint(state: RunState, folder: Path, fingerprint: Mapping[str, Any]) -> None:
    """Write to a temporary file, flush it to the disk and rename it: a kill leaves the previous checkpoint whole."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{CHECKPOINT_FILE}.{os.getpid()}.part"
    content = {
        "fingerprint": json.dumps(fingerprint, sort_keys=True),
        "step": state.step,
        "model": state.model.state_dict(),
        "average": None if state.average is None else state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "scaler": state.scaler.state_dict(),
        "loss_sum": state.loss_sum,
        "loss_count": state.loss_count,
        "overflows": state.overflows,
    }
    with temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / CHECKPOINT_FILE)


def load_checkpoint(state: RunState, folder: Path, fingerprint: Mapping[str, Any]) -> bool:
    """Bring ``state`` to the checkpoint in ``folder``; False if there is none.

    Raises ValueError if it belongs to a run with other settings.
    """
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return False
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    stored = json.loads(content["fingerprint"])
    mine = json.loads(json.dumps(fingerprint))
    differing = sorted(name for name in stored.keys() | mine.keys() if stored.get(name) != mine.get(name))
    if differing:
        raise ValueError(f"{path} was trained with other settings: {', '.join(differing)}")
    state.model.load_state_dict(content["model"], strict=True)
    if state.average is not None:
        state.average.load_state_dict(content["average"], strict=True)
    state.optimizer.load_state_dict(content["optimizer"])
    state.scaler.load_state_dict(content["scaler"])
    state.step = content["step"]
    state.loss_sum, state.loss_count = content["loss_sum"], content["loss_count"]
    state.overflows = content["overflows"]
    return True


def epoch_weights(folder: Path, epoch: int) -> Path:
    """Where the weights of an epoch, counted from 0, are kept."""
    return folder / EPOCHS_FOLDER / f"epoch_{epoch:03d}.safetensors"


def _keep_epoch(state: RunState, folder: Path, epoch: int) -> None:
    path = epoch_weights(folder, epoch)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    weights = {name: value.detach().cpu().contiguous() for name, value in state.judged.state_dict().items()}
    save_file(weights, temporary, metadata={"format": "pt"})
    # safetensors creates files for their owner only.
    temporary.chmod(0o644)
    temporary.replace(path)


# ------------------------------------------------------------------------------------------------------------ a step


def run_step(
    state: RunState,
    task: Task[Batch],
    batch: Batch,
    settings: EngineSettings,
    place: Place,
    *,
    module: nn.Module,
    seed: int,
) -> tuple[float, float]:
    """One optimiser step on one batch. ``module`` is the model or its parallel wrapper.

    Returns this process's loss and the gradient's norm before clipping. Raises RuntimeError if either is no number;
    in half precision, where the scaler then leaves the step out, only if that goes on.
    """
    # Dropout and drop path draw from torch's generators.
    torch.manual_seed((seed * 1_000_003 + state.step) * place.world + place.rank)
    module.train()
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(settings, state.step)
    state.optimizer.zero_grad(set_to_none=True)
    with autocast(settings.precision, place.device):
        loss = task.loss(module, batch)
    state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    state.scaler.unscale_(state.optimizer)
    norm = float(nn.utils.clip_grad_norm_(state.model.parameters(), settings.clip_norm or math.inf))
    _check_finite(state, float(loss.detach()), norm)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.step += 1
    if state.average is not None:
        state.average.update_parameters(state.model)
    return float(loss.detach()), norm


@contextmanager
def autocast(precision: Precision, device: torch.device) -> Iterator[None]:
    """Mixed precision on a GPU; nothing on a CPU, which computes no faster so."""
    if precision is Precision.FP32 or device.type != "cuda":
        yield
        return
    with torch.autocast(device.type, torch.float16 if precision is Precision.FP16 else torch.bfloat16):
        yield


def _check_finite(state: RunState, loss: float, norm: float) -> None:
    if math.isfinite(loss) and math.isfinite(norm):
        state.overflows = 0
        return
    state.overflows += 1
    if not state.scaler.is_enabled() or state.overflows > MOST_OVERFLOWS:
        raise RuntimeError(f"loss is {loss}, gradient norm {norm}, at step {state.step}")


# ----------------------------------------------------------------------------------------------------------- the run


@dataclass(slots=True)
class Run(Generic[Batch]):
    """One training run in ``folder``. ``fingerprint`` names everything besides the settings that decides the weights.

    ``on_step`` gets step and loss after each step.
    """

    task: Task[Batch]
    settings: EngineSettings
    folder: Path
    place: Place
    seed: int
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    on_step: Callable[[int, float], None] | None = None

    def train(self, model: nn.Module) -> RunState:
        """Train to the last epoch, going on from the checkpoint in the folder if there is one."""
        state = new_state(model, self.settings, self.place.device)
        identity = self._identity()
        resumed = load_checkpoint(state, self.folder, identity)
        per_epoch = self.task.steps_per_epoch
        if per_epoch < 1:
            raise ValueError("an epoch needs at least one step")
        logger.info(
            "%s at step %d of %d, process %d of %d on %s",
            "resumed" if resumed else "started", state.step, per_epoch * self.settings.epochs,
            self.place.rank + 1, self.place.world, self.place.device,
        )  # fmt: skip
        module = self._parallel(state.model)
        with Logbook(self.folder, first_step=state.step, active=self.place.is_first) as book:
            # Killed between the last step of an epoch and the end of its validation.
            if state.step and state.step % per_epoch == 0:
                self._finish_epoch(state, state.step // per_epoch - 1, book)
            while state.step < per_epoch * self.settings.epochs:
                self._train_epoch(state, module, book)
        return state

    def _identity(self) -> dict[str, Any]:
        settings = {name: value for name, value in asdict(self.settings).items() if name not in HARMLESS}
        return {**settings, **self.fingerprint, "seed": self.seed, "processes": self.place.world}

    def _parallel(self, model: nn.Module) -> nn.Module:
        if self.place.world == 1:
            return model
        devices = [self.place.device.index] if self.place.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices)

    def _train_epoch(self, state: RunState, module: nn.Module, book: Logbook) -> None:
        epoch, first = divmod(state.step, self.task.steps_per_epoch)
        for batch in self.task.batches(epoch, first):
            rate = learning_rate(self.settings, state.step)
            loss, norm = run_step(state, self.task, batch, self.settings, self.place, module=module, seed=self.seed)
            if math.isfinite(loss):
                state.loss_sum, state.loss_count = state.loss_sum + loss, state.loss_count + 1
            if self.on_step is not None:
                self.on_step(state.step, loss)
            if state.step % self.settings.log_every == 0:
                book.write(
                    "step", state.step, epoch=epoch, loss=loss, learning_rate=rate, gradient_norm=norm,
                    loss_scale=state.scaler.get_scale(),
                )  # fmt: skip
            if self.settings.checkpoint_every and state.step % self.settings.checkpoint_every == 0:
                self._save(state, book)
        if state.step != (epoch + 1) * self.task.steps_per_epoch:
            raise RuntimeError(f"epoch {epoch} ended at step {state.step}")
        self._save(state, book)
        self._finish_epoch(state, epoch, book)

    def _finish_epoch(self, state: RunState, epoch: int, book: Logbook) -> None:
        """Validate, and keep the weights; nothing if that was done before."""
        done = self.place.gather([book.has_epoch(epoch)])[0]
        if not done:
            sums = torch.tensor([state.loss_sum, float(state.loss_count)], device=self.place.device)
            total, count = self.place.add_up(sums).tolist()
            # Each process has its own statistics of batch normalisation; the first one's are kept, so they are judged.
            self.place.share(state.judged.buffers())
            state.judged.eval()
            with torch.inference_mode(), autocast(self.settings.precision, self.place.device):
                figures = self.task.validate(state.judged, epoch)
            if self.place.is_first:
                _keep_epoch(state, self.folder, epoch)
            figures = {"training_loss": total / count if count else math.nan, **figures}
            book.write("epoch", state.step, epoch=epoch, **figures)
            logger.info("epoch %d %s", epoch, {name: round(value, 4) for name, value in figures.items()})
        state.loss_sum, state.loss_count = 0.0, 0
        self.place.wait()

    def _save(self, state: RunState, book: Logbook) -> None:
        """The metrics first: a line without a checkpoint is cut off at resumption, the other way it would be lost."""
        book.flush()
        if self.place.is_first:
            save_checkpoint(state, self.folder, self._identity())
        self.place.wait()
