"""Training with batch normalisation folded into the convolutions, and back.

The statistics of the start weights are kept anyway (batches of faces, half of them fakes, would spoil them), and a
normalisation with fixed statistics is a scaling that its convolution can do. This trains a third faster on a CPU.
"""

from __future__ import annotations

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn


def fold_batch_norm(model: nn.Module) -> dict[str, str]:
    """Fold each normalisation of a timm encoder into the convolution before it, in place.

    Returns the name of the normalisation by that of its convolution, which :func:`unfolded_state` needs. Outputs in
    eval mode stay the same up to rounding.
    """
    folded: dict[str, str] = {}
    convolution: tuple[str, nn.Conv2d] | None = None
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Conv2d):
            convolution = (name, module)
        elif isinstance(module, BatchNormAct2d):
            if convolution is None or convolution[1].out_channels != module.num_features:
                raise ValueError(f"no convolution before {name}")
            _absorb(convolution[1], module)
            folded[convolution[0]] = name
            model.set_submodule(name, nn.Sequential(module.drop, module.act))
            convolution = None
    return folded


def _absorb(convolution: nn.Conv2d, norm: BatchNormAct2d) -> None:
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a normalisation without statistics can't be folded")
    with torch.no_grad():
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        bias = norm.bias - norm.running_mean * scale
        if convolution.bias is not None:
            bias = bias + convolution.bias * scale
        convolution.weight.mul_(scale.view(-1, 1, 1, 1))
        convolution.bias = nn.Parameter(bias)


def unfolded_state(folded_state: dict[str, Tensor], folded: dict[str, str], template: nn.Module) -> dict[str, Tensor]:
    """A folded model's state in the keys of ``template``, an unfolded one: identity statistics, the bias as shift."""
    state = dict(folded_state)
    for convolution, norm in folded.items():
        epsilon = template.get_submodule(norm).eps
        if not isinstance(epsilon, float):
            raise TypeError(f"{norm} is no normalisation")
        bias = state.pop(f"{convolution}.bias")
        state[f"{norm}.weight"] = torch.ones_like(bias)
        state[f"{norm}.bias"] = bias
        state[f"{norm}.running_mean"] = torch.zeros_like(bias)
        # So that the square root of variance plus epsilon is one.
        state[f"{norm}.running_var"] = torch.full_like(bias, 1.0 - epsilon)
        state[f"{norm}.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    return state
