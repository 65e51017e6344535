"""One network of several trained ones, by averaging their weights (model soups: Wortsman et al., 2022).

It works for networks that began with the same weights and went not too far apart, as runs with other fakes do; the
average then is as good as all of them together, at the cost of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ml.detectors.checkpoints import read_state_dict


def average_weights(shares: Mapping[Path, float]) -> dict[str, Tensor]:
    """The mean of weights files of one architecture, weighted by ``shares``, which need not add up to one.

    Raises ValueError if the files hold other tensors than each other, or without a share above zero; AnalysisError
    for a file that can't be read.
    """
    total = sum(shares.values())
    if not shares or min(shares.values()) < 0 or total <= 0:
        raise ValueError("averaging needs shares of at least zero, one of them above")
    states = {path: read_state_dict(path) for path in shares}
    first = next(iter(states.values()))
    shapes = {name: value.shape for name, value in first.items()}
    for path, state in states.items():
        if {name: value.shape for name, value in state.items()} != shapes:
            raise ValueError(f"{path} holds the weights of another network")
    return {
        name: sum((states[path][name].float() * (share / total) for path, share in shares.items()), torch.zeros(()))
        if first[name].is_floating_point()
        else first[name]
        for name in first
    }


def write_average(shares: Mapping[Path, float], out: Path) -> None:
    """Average as :func:`average_weights` and write safetensors in half precision, whole or not at all."""
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in average_weights(shares).items()
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.part")
    save_file(state, temporary, metadata={"format": "pt"})
    temporary.chmod(0o644)
    temporary.replace(out)
