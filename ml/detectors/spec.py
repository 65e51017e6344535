"""What travels with a detector's weights. Imports no torch, so that web code may read it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Aggregation(StrEnum):
    """How face scores become a track's score."""

    CONFIDENT_STRATEGY = "confident_strategy"
    MEAN = "mean"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From a face box to the network's input.

    ``padding_divisor``: the box grows by side // divisor on each side. ``mean`` and ``std`` apply to RGB values
    in [0, 1].
    """

    input_size: int
    padding_divisor: float = 3.0
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


@dataclass(frozen=True, slots=True)
class Thresholds:
    """On fake probabilities in [0, 1].

    A track at or above ``fake`` is called fake, at or below ``real`` real, between them neither.
    ``frame`` calls a single frame fake (above it) for the real-to-fake ratio and the timestamps.
    """

    fake: float
    real: float
    frame: float = 0.5


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """A detector without its weights.

    ``architecture`` is a timm model name, or several joined by ``+`` whose logits are added. ``outputs`` names the
    network's logits; a face's fake probability is the largest of their sigmoids, since each looks for another kind
    of fake. With ``mirrored_photos`` a face in a photo is judged together with its mirror image, by the mean of
    their logits: a single picture is noisier than a video. ``weights_sha256`` is the digest that the weights file
    must have, empty where none is known yet. ``card`` is the model card's file name.
    """

    name: str
    version: str
    title: str
    architecture: str
    outputs: tuple[str, ...]
    preprocessing: Preprocessing
    thresholds: Thresholds
    aggregation: Aggregation
    licence: str
    weights_file: str = ""
    weights_sha256: str = ""
    card: str = ""
    mirrored_photos: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> DetectorSpec:
        """Read what :meth:`to_json` wrote. Raises ValueError or TypeError on anything else."""
        data: dict[str, Any] = json.loads(text)
        preprocessing = dict(data.pop("preprocessing"))
        preprocessing["mean"] = tuple(preprocessing["mean"])
        preprocessing["std"] = tuple(preprocessing["std"])
        return cls(
            preprocessing=Preprocessing(**preprocessing),
            thresholds=Thresholds(**data.pop("thresholds")),
            aggregation=Aggregation(data.pop("aggregation")),
            outputs=tuple(data.pop("outputs")),
            **data,
        )

    @classmethod
    def load(cls, path: Path) -> DetectorSpec:
        return cls.from_json(path.read_text(encoding="utf-8"))
