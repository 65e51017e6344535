"""Writing a trained network as a detector folder: weights, their description, and a place for the model card."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from ml.detectors.catalog import SPEC_FILE
from ml.detectors.integrity import sha256_of
from ml.detectors.network import Network
from ml.detectors.spec import Aggregation, DetectorSpec, Preprocessing, Thresholds
from ml.training.config import TrainingConfig

WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "MODEL_CARD.md"


def export_detector(model: Network, config: TrainingConfig, folder: Path) -> DetectorSpec:
    """Write ``model.safetensors`` and ``detector.json`` into ``folder``; a model card that lies there is kept.

    Weights are stored in half precision, which halves the file and moves scores by far less than a frame does.

    The description goes last, so that a folder with one is a whole detector.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / WEIGHTS_FILE
    temporary = folder / f".{WEIGHTS_FILE}.{os.getpid()}"
    state = {name: _stored(value) for name, value in model.state_dict().items()}
    save_file(state, temporary, metadata={"format": "pt"})
    # safetensors creates files for their owner only; a web server runs as somebody else.
    temporary.chmod(0o644)
    temporary.replace(weights)
    spec = DetectorSpec(
        name=config.name,
        version=config.version,
        title=config.title,
        architecture="+".join(network.architecture for network in config.networks.values()),
        outputs=config.outputs,
        preprocessing=Preprocessing(
            input_size=config.input_size, padding_divisor=config.padding_divisor, mean=config.mean, std=config.std
        ),
        thresholds=Thresholds(**config.thresholds),
        aggregation=Aggregation(config.aggregation),
        licence=config.licence,
        weights_file=WEIGHTS_FILE,
        weights_sha256=sha256_of(weights),
        card=CARD_FILE,
        mirrored_photos=config.mirrored_photos,
    )
    (folder / SPEC_FILE).write_text(spec.to_json(), encoding="utf-8")
    return spec


def _stored(value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.half() if value.is_floating_point() else value
