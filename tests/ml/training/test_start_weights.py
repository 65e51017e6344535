from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from ml.training.start_weights import (
    _FIRST_BLOCK,
    _OTHER_BLOCKS,
    _OUTER_LAYERS,
    load_start_weights,
    package_state,
    to_timm_keys,
)


def package_style_state() -> tuple[torch.nn.Module, dict[str, Tensor]]:
    """A lite0 encoder and its own weights under the package's names."""
    encoder = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
    blocks: list[str] = []
    outer = {new: old for old, new in _OUTER_LAYERS.items()}
    first, others = ({new: old for old, new in names.items()} for names in (_FIRST_BLOCK, _OTHER_BLOCKS))
    state: dict[str, Tensor] = {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    for key, value in encoder.state_dict().items():
        parts = key.split(".")
        if parts[0] != "blocks":
            state[f"{outer[parts[0]]}.{parts[1]}"] = value
            continue
        block = ".".join(parts[:3])
        if block not in blocks:
            blocks.append(block)
        number = blocks.index(block)
        state[f"_blocks.{number}.{(others if number else first)[parts[3]]}.{parts[4]}"] = value
    return encoder, state


def test_every_weight_finds_its_place() -> None:
    encoder, state = package_style_state()
    renamed = to_timm_keys(state, encoder)
    assert renamed.keys() == encoder.state_dict().keys()
    for key, value in encoder.state_dict().items():
        assert renamed[key] is value or torch.equal(renamed[key], value), key


def test_a_weight_of_another_network_is_refused() -> None:
    encoder, state = package_style_state()
    state["_blocks.3._se_reduce.weight"] = torch.zeros(1)
    with pytest.raises(KeyError, match="_se_reduce"):
        to_timm_keys(state, encoder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "size"),
    # The package pads for these sizes only.
    [("tf_efficientnet_lite0", 224), ("tf_efficientnet_lite1", 240), ("tf_efficientnet_lite2", 260)],
)
def test_features_equal_those_of_the_packages_own_network(architecture: str, size: int) -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    original = package.EfficientNet.from_name(architecture.removeprefix("tf_").replace("_lite", "-lite")).eval()
    original.load_state_dict(package_state(architecture), strict=True)
    encoder: Any = timm.create_model(architecture, pretrained=False, num_classes=0).eval()
    load_start_weights(encoder, architecture)
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(encoder.forward_features(pixels), original.extract_features(pixels))


def test_an_architecture_without_start_weights_is_named() -> None:
    with pytest.raises(ValueError, match="no start weights for tf_efficientnet_b7"):
        package_state("tf_efficientnet_b7")
