"""Runs a detector's networks over faces, on the processor or a GPU, in batches that fit.

On a processor OpenVINO does the work where it gives what torch gives (:mod:`ml.engines`): a face at a time, several
side by side. On a GPU it is torch; where its memory runs out the batch is halved, and stays so, and the work goes on.
Both in float32 unless SENTINEL_PRECISION asks for bfloat16, which is faster and moves scores: see the benchmark before
using it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ml.contracts import AnalysisError, ErrorCode
from ml.detectors.network import to_input
from ml.detectors.spec import Preprocessing
from ml.engines import Engine, Function, OpenVinoNetwork, Precision, accelerate, keep_float32, torch_network

# `float32` or `bfloat16`.
PRECISION_VARIABLE = "SENTINEL_PRECISION"
# On a processor larger batches are no faster, and a B7 takes another 80 MB for each face more.
BATCH_ON_CPU, BATCH_ON_GPU = 4, 32
# Converting smaller networks takes longer than they ever run.
WORTH_CONVERTING = 1_000_000

logger = logging.getLogger(__name__)

Faces = NDArray[np.uint8]


class Runner:
    """Faces in, fake probabilities out, for each of several networks of one kind. Not thread-safe."""

    def __init__(
        self,
        networks: Sequence[nn.Module],
        weights_sha256: Sequence[str],
        preprocessing: Preprocessing,
        device: torch.device,
    ) -> None:
        if device.type == "cuda":
            keep_float32()
        self._device = device
        self._mean, self._std = preprocessing.mean, preprocessing.std
        input_size = preprocessing.input_size
        self._batch_size = BATCH_ON_CPU if device.type == "cpu" else BATCH_ON_GPU
        self.precision = chosen_precision()
        # Colours flowing into each other: not zeros, for which an engine that forgets a layer might pass, and no
        # noise, which takes a network far from all that it knows.
        coarse = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 4 - 2
        example = nn.functional.interpolate(coarse, size=(input_size, input_size), mode="bilinear")
        self._functions: list[Function] = []
        engines: set[Engine] = set()
        for network, digest in zip(networks, weights_sha256, strict=True):
            if device.type == "cpu" and sum(each.numel() for each in network.parameters()) >= WORTH_CONVERTING:
                function, engine = accelerate(
                    network,
                    example,
                    key=f"{digest}-{input_size}" if digest else "",
                    precision=self.precision,
                    at_once=1,
                )
            else:
                function, engine = torch_network(network), Engine.TORCH
            self._functions.append(function)
            engines.add(engine)
        # Torch is named where it does any of the work.
        self.engine = Engine.TORCH if Engine.TORCH in engines else Engine.OPENVINO

    def probabilities(self, faces: Faces, *, mirrored: bool = False) -> NDArray[np.float32]:
        """RGB uint8 (n, size, size, 3) → fake probabilities (networks, n), the largest over the outputs.

        With `mirrored` each face's logits are the mean of its own and its mirror image's.
        Raises AnalysisError(MODEL_UNAVAILABLE) where not even one face fits into a GPU's memory.
        """
        done: list[NDArray[np.float32]] = []
        start = 0
        while start < len(faces):
            batch = faces[start : start + self._batch_size]
            try:
                done.append(self._run(batch, mirrored))
            except torch.OutOfMemoryError as error:
                self._halve(error)
                continue
            start += len(batch)
        return np.concatenate(done, axis=1) if done else np.zeros((len(self._functions), 0), dtype=np.float32)

    def _halve(self, error: Exception) -> None:
        if self._batch_size == 1:
            raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"not one face fits: {error}") from error
        self._batch_size //= 2
        logger.warning("Out of GPU memory: %s faces at a time from here on", self._batch_size)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _run(self, faces: Faces, mirrored: bool) -> NDArray[np.float32]:
        coarse = self.precision is Precision.BFLOAT16 and self.engine is Engine.TORCH
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=coarse),
        ):
            batch = self._to_input(faces)
            rows = [torch.sigmoid(self._logits(function, batch, mirrored)).amax(dim=1) for function in self._functions]
            return np.asarray(torch.stack(rows).cpu().numpy(), dtype=np.float32)

    def _logits(self, function: Function, batch: Tensor, mirrored: bool) -> Tensor:
        logits = self._outputs(function, batch)
        if not mirrored:
            return logits
        image = batch.flip(3).contiguous(memory_format=self._memory_format)
        return (logits + self._outputs(function, image)) / 2

    @staticmethod
    def _outputs(function: Function, batch: Tensor) -> Tensor:
        if not isinstance(function, OpenVinoNetwork) or len(batch) == 1:
            return function(batch)[0].float()
        with ThreadPoolExecutor(function.streams) as pool:
            return torch.cat([outputs[0] for outputs in pool.map(function, torch.split(batch, 1))])

    @property
    def _memory_format(self) -> torch.memory_format:
        # OpenVINO takes planes, torch is faster with channels together.
        return torch.contiguous_format if self.engine is Engine.OPENVINO else torch.channels_last

    def _to_input(self, faces: Faces) -> Tensor:
        pixels = torch.from_numpy(faces)
        if self._device.type == "cuda":
            # From pinned memory the copy runs beside the work of the batch before.
            pixels = pixels.pin_memory().to(self._device, non_blocking=True)
        return to_input(pixels, self._mean, self._std).contiguous(memory_format=self._memory_format)


def chosen_precision() -> Precision:
    """What SENTINEL_PRECISION asks for. Raises ValueError for a name that is neither of the two."""
    return Precision(os.environ.get(PRECISION_VARIABLE, "") or Precision.FLOAT32)
