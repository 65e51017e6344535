"""Reads weights, of this project's format or the reference's, into the one network class. Runs no code from a file."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ml.contracts import AnalysisError, ErrorCode
from ml.detectors.network import Network, build_network
from ml.detectors.spec import DetectorSpec

# DataParallel puts this in front of every key.
PARALLEL_PREFIX = "module."
# The reference keeps its encoder's ImageNet head, which nothing runs.
UNUSED_PREFIX = "encoder.classifier."

# `bce_best` in the reference's checkpoints is a NumPy scalar. To rebuild one takes these three, and no code runs.
_SCALAR = np.float64(0).__reduce__()[0]
_NUMPY_SCALARS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
    type(np.dtype(np.float32)),
]


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Weights under the names that :func:`ml.detectors.network.build_network` uses.

    Takes safetensors and torch files (zip or the older format), told apart by content, holding a state dict or the
    reference's {epoch, state_dict, bce_best}. Encoder names are the same in timm 0.4.12, which the reference used.
    Raises AnalysisError(MODEL_UNAVAILABLE).
    """
    content = _read(path)
    if "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{path}: holds no state dict")
    state: dict[str, Tensor] = {}
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{path}: {key!r} is no tensor")
        name = key.removeprefix(PARALLEL_PREFIX)
        if not name.startswith(UNUSED_PREFIX):
            state[name] = value
    return state


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as stream:
            head = stream.read(9)
        # A safetensors file begins with the length of its JSON header, then the header.
        if head[8:9] == b"{":
            return dict(load_file(str(path)))
        with torch.serialization.safe_globals(_NUMPY_SCALARS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    # Besides its own errors torch.load raises whatever the broken pickle or zip leads to.
    except (OSError, RuntimeError, pickle.UnpicklingError, SafetensorError, ValueError, KeyError, EOFError) as error:
        raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{path}: {error}") from error
    except (AttributeError, TypeError, IndexError, AssertionError) as error:
        raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{path}: not a weights file: {error!r}") from error
    if not isinstance(content, Mapping):
        raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{path}: holds no state dict")
    return content


def load_network(spec: DetectorSpec, path: Path) -> Network:
    """The spec's network with the file's weights, in evaluation mode, float32 (whatever is stored), on the CPU.

    Every parameter must be in the file and nothing else: a partly loaded network would answer with noise.
    Raises AnalysisError(MODEL_UNAVAILABLE).
    """
    state = read_state_dict(path)
    network = build_network(spec.architecture, len(spec.outputs))
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{path}: {error}") from error
    if not all(torch.isfinite(value).all() for value in network.state_dict().values()):
        raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{path}: holds values that are not numbers")
    return network.float().eval()
