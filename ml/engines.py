"""Runs networks on the processor through OpenVINO, which is several times faster than torch there, or through torch.

A network is converted when it is built, compared with torch on the spot, and refused if the two differ; torch then
does the work. OpenVINO by itself takes bfloat16 where the processor has it: here the precision is always said.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import os
import queue
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ml.engine_cache import cache_folder

# `auto`, `openvino` or `torch`.
ENGINE_VARIABLE = "SENTINEL_ENGINE"
# Largest difference from torch in an output (a logit, a share of a box; above one, as a share of it) that float32
# arithmetic may explain.
TOLERANCE = 1e-3
# A B7 needs some 80 MB for each picture that it works on.
MOST_STREAMS = 4

logger = logging.getLogger(__name__)

Function = Callable[[Tensor], tuple[Tensor, ...]]


class Engine(StrEnum):
    """What runs a network."""

    TORCH = "torch"
    OPENVINO = "openvino"


class Precision(StrEnum):
    """The arithmetic inside a network; weights are kept as they are and outputs are float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class EngineError(Exception):
    """This network cannot be run by that engine, or not with the same result."""


class _SignalStack(ctypes.Structure):
    """``stack_t`` of sigaltstack(2)."""

    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Leave this thread's alternative signal stack as it was.

    Each compiled network puts one of its own in place and, when it goes, the one that it found. With several networks
    that is soon a stack that is gone, and the next signal, as that of an ended child process, kills this one.
    """
    change = getattr(ctypes.CDLL(None), "sigaltstack", None)
    before = _SignalStack()
    if change is None or change(None, ctypes.byref(before)) != 0:
        yield
        return
    try:
        yield
    finally:
        change(ctypes.byref(before), None)


class OpenVinoNetwork:
    """A network compiled for this processor: (n, 3, height, width) float32 → its outputs.

    Thread-safe: `streams` calls run side by side, further ones wait. Each has its share of the threads, so that no
    core waits for another within a layer; that is as fast on a machine of its own and twice as fast beside neighbours.
    Small batches are the fastest, since what one layer hands to the next then stays in the processor's cache.
    """

    def __init__(self, model: Any, precision: Precision = Precision.FLOAT32, at_once: int | None = None) -> None:
        """`at_once` pictures go through it at a time, others wait or black ones fill up; None: as many as there are."""
        openvino = _import_openvino()
        self._at_once = at_once
        if at_once is not None:
            # Compiled for one shape it is a tenth faster.
            model.reshape([at_once, *list(model.inputs[0].partial_shape)[1:]])
        hint = {Precision.FLOAT32: "f32", Precision.BFLOAT16: "bf16"}[precision]
        self.streams = side_by_side()
        options = {
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": self.streams,
            # Streams of several networks would be tied to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        with kept_signal_stack():
            self._compiled: Any = openvino.Core().compile_model(model, "CPU", options)
            self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
            for _ in range(self.streams):
                self._requests.put(self._compiled.create_infer_request())

    def __del__(self) -> None:
        with kept_signal_stack():
            self._requests = queue.SimpleQueue()
            self._compiled = None

    def __call__(self, batch: Tensor) -> tuple[Tensor, ...]:
        if self._at_once is None or len(batch) == self._at_once:
            return self._run(batch)
        parts = torch.split(batch, self._at_once)
        answers = [self._run(_filled(part, self._at_once)) for part in parts]
        return tuple(torch.cat(outputs)[: len(batch)] for outputs in zip(*answers, strict=True))

    def _run(self, batch: Tensor) -> tuple[Tensor, ...]:
        request = self._requests.get()
        try:
            # The arrays that come back belong to the request and change with its next run.
            answer = request.infer([batch.contiguous().numpy()], share_inputs=True, share_outputs=True)
            return tuple(torch.from_numpy(answer[place].copy()) for place in range(len(self._compiled.outputs)))
        finally:
            self._requests.put(request)


def _filled(batch: Tensor, count: int) -> Tensor:
    return torch.cat([batch, batch.new_zeros(count - len(batch), *batch.shape[1:])]) if len(batch) < count else batch


def side_by_side() -> int:
    """How many pictures this process works on at once; each takes the memory of a network's intermediate results."""
    return min(torch.get_num_threads(), MOST_STREAMS)


def accelerate(
    network: nn.Module,
    example: Tensor,
    *,
    key: str = "",
    precision: Precision = Precision.FLOAT32,
    at_once: int | None = None,
) -> tuple[Function, Engine]:
    """The fastest way known to run `network`, a module in evaluation mode on the processor, and what it is.

    `example` is a typical input; the number of pictures and their size may differ in use. OpenVINO works on `at_once`
    pictures at a time, or on all. `key` names the weights for the cache and must change with them. Falls back on torch
    with a warning in the log.
    """
    if chosen_engine() is Engine.OPENVINO:
        try:
            return openvino_network(network, example, key=key, precision=precision, at_once=at_once), Engine.OPENVINO
        except EngineError as error:
            logger.warning("torch runs %s instead of OpenVINO: %s", key or type(network).__name__, error)
    return torch_network(network), Engine.TORCH


def chosen_engine() -> Engine:
    """What SENTINEL_ENGINE asks for. Raises ValueError for a name that is none of the three."""
    name = os.environ.get(ENGINE_VARIABLE, "") or "auto"
    return Engine.OPENVINO if name == "auto" else Engine(name)


def keep_float32() -> None:
    """Have convolutions on GPUs done in all of float32, and not in TensorFloat-32, in which boxes and scores move.

    For the whole process, since a setting for a while would also be one for the threads beside.
    """
    torch.backends.cudnn.allow_tf32 = False


def torch_network(network: nn.Module) -> Function:
    """The network itself, its answer always a tuple and no gradients kept."""

    def run(batch: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            answer = network(batch)
        return answer if isinstance(answer, tuple) else (answer,)

    return run


def openvino_network(
    network: nn.Module,
    example: Tensor,
    *,
    key: str = "",
    precision: Precision = Precision.FLOAT32,
    at_once: int | None = None,
) -> OpenVinoNetwork:
    """Convert (or read from the cache), compile and compare with torch in float32. Raises EngineError."""
    try:
        openvino = _import_openvino()
    except ImportError as error:
        raise EngineError(str(error)) from error
    kept = _cache_file(key, openvino.get_version())
    if kept is not None and kept.is_file():
        try:
            return _compiled(openvino.Core().read_model(kept), network, example, precision, at_once)
        except (EngineError, RuntimeError) as error:
            logger.warning("%s is made anew: %s", kept, error)
    try:
        model = _convert(network, example)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise EngineError(f"{type(error).__name__}: {error}") from error
    # A copy, since compiling fixes its shape.
    compiled = _compiled(model.clone(), network, example, precision, at_once)
    if kept is not None:
        _keep(model, kept)
    return compiled


def _compiled(
    model: Any, network: nn.Module, example: Tensor, precision: Precision, at_once: int | None
) -> OpenVinoNetwork:
    """Raises EngineError where it differs from torch in float32; bfloat16 differs by what the caller accepted."""
    try:
        compiled = OpenVinoNetwork(model, Precision.FLOAT32, at_once)
        answer = compiled(example)
        for ours, theirs in zip(answer, torch_network(network)(example), strict=True):
            # A logit of a thousand may differ by more than one of one.
            difference = float(((ours - theirs).abs() / theirs.abs().clamp(min=1)).max())
            # Written so that NaN fails too.
            if not difference <= TOLERANCE:
                raise EngineError(f"differs from torch by {difference:.2g}")
        if precision is Precision.FLOAT32:
            return compiled
        # Let go of first: two of a B7 are a worker's memory.
        del compiled
        return OpenVinoNetwork(model, precision, at_once)
    except (RuntimeError, ValueError) as error:
        raise EngineError(str(error)) from error


def _import_openvino() -> Any:
    """OpenVINO without its telemetry, which would report each start to its makers over the network.

    Raises ImportError where it is not installed.
    """
    # None makes `import openvino_telemetry` fail, and OpenVINO then goes without.
    cast(dict[str, object], sys.modules).setdefault("openvino_telemetry", None)
    return importlib.import_module("openvino")


def _convert(network: nn.Module, example: Tensor) -> Any:
    _import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings(), torch.no_grad():
        # torch announces that tracing will go one day; OpenVINO's converter still rests on it.
        warnings.simplefilter("ignore")
        traced = TorchScriptPythonDecoder(network, example_input=(example.contiguous(),))
    converter = FrontEndManager().load_by_framework("pytorch")
    model = converter.convert(converter.load(traced))
    # Any number of pictures of any size.
    model.reshape([-1, example.shape[1], *((-1, -1) if _takes_any_size(network) else example.shape[2:])])
    return model


def _takes_any_size(network: nn.Module) -> bool:
    """Whether it is convolutions all the way: no linear layer that fixes the size."""
    return not any(isinstance(module, nn.Linear) for module in network.modules())


def _cache_file(key: str, version: str) -> Path | None:
    folder = cache_folder()
    if folder is None or not key:
        return None
    return folder / f"{key}-openvino-{version.partition('-')[0]}.xml"


def _keep(model: Any, target: Path) -> None:
    """Save for the next start. Two processes may do so at once; a failure only costs the next start its time."""
    openvino = _import_openvino()
    partial = target.with_name(f"{target.stem}.{os.getpid()}.part.xml")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        openvino.save_model(model, partial, compress_to_fp16=False)
        partial.with_suffix(".bin").replace(target.with_suffix(".bin"))
        partial.replace(target)
    except (OSError, RuntimeError) as error:
        logger.warning("The converted network could not be kept: %s", error)
    finally:
        # A disk that is full would stay so. What a kill left goes too, once nobody can be at it any more.
        for left in (partial, partial.with_suffix(".bin"), *_forgotten(target)):
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)


def _forgotten(target: Path) -> list[Path]:
    """Unfinished files of this network that have not been written to for an hour."""
    long_ago = time.time() - 3600
    with contextlib.suppress(OSError):
        return [path for path in target.parent.glob(f"{target.stem}.*.part.*") if path.stat().st_mtime < long_ago]
    return []
