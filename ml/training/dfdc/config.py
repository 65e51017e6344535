"""The settings of a run on DFDC crops. Read from a TOML file; see ``configs/reference-b7.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ml.detectors.spec import IMAGENET_MEAN, IMAGENET_STD
from ml.training.engine import EngineSettings, OptimizerKind, Precision, Schedule

# What a settings file says it is for, so that the other trainer's are not mistaken for it.
KIND = "dfdc"


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Probabilities in [0, 1], and how strong each change may be.

    ``jpeg_quality`` is the range of qualities, ``noise_variance`` that of the noise's variance for pixels in
    [0, 255]. Of the colour changes one is chosen: ``brightness`` and ``contrast`` are factors within 1 ± that,
    ``fancy_pca`` the standard deviation along the colours' principal axes, ``hue`` a share of the colour circle,
    ``saturation`` and ``value`` factors within 1 ± that. ``shift`` is a share of the side, ``scale`` a factor within
    1 ± that, ``rotate`` degrees. Erasing: ``landmarks``, else ``half_hull``, else ``half_mask``.
    """

    jpeg: float = 0.5
    jpeg_quality: tuple[int, int] = (60, 100)
    noise: float = 0.1
    noise_variance: tuple[float, float] = (10.0, 50.0)
    blur: float = 0.05
    blur_kernel: int = 3
    flip: float = 0.5
    colour: float = 0.7
    brightness: float = 0.2
    contrast: float = 0.2
    fancy_pca: float = 0.1
    hue: float = 0.11
    saturation: float = 0.2
    value: float = 0.1
    grey: float = 0.2
    shift_scale_rotate: float = 0.5
    shift: float = 0.1
    scale: float = 0.2
    rotate: float = 10.0
    erase_landmarks: float = 0.7
    half_hull: float = 0.2
    half_mask: float = 0.1


@dataclass(frozen=True, slots=True)
class DfdcConfig:
    """Everything that decides the weights, besides the crops and the software.

    A run is made for each of ``seeds``. ``fold`` validates, on every ``validation_every``-th frame; the others train.
    ``batch_size`` is that of each process. An epoch has ``batches_per_epoch`` steps, or fewer if the crops run out.
    ``start_weights``: empty for random ones, ``timm:<model>`` to have timm download them, ``package`` for those of
    :mod:`ml.training.start_weights`, or the path of a state dict of the encoder or the whole network.
    ``thresholds`` and ``aggregation`` go into the exported detector's description.
    """

    name: str
    version: str
    title: str
    licence: str
    engine: EngineSettings
    seeds: tuple[int, ...]
    architecture: str = "tf_efficientnet_b7"
    start_weights: str = ""
    input_size: int = 380
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    batch_size: int = 12
    batches_per_epoch: int = 2500
    fold: int = 0
    validation_every: int = 20
    label_smoothing: float = 0.01
    dropout: float = 0.0
    drop_path: float = 0.2
    augmentation: Augmentation = field(default_factory=Augmentation)
    thresholds: dict[str, float] = field(default_factory=lambda: {"fake": 0.65, "real": 0.35, "frame": 0.5})
    aggregation: str = "confident_strategy"

    @classmethod
    def load(cls, path: Path) -> DfdcConfig:
        """Read a TOML file. Raises ValueError on settings that don't exist, TypeError on missing ones."""
        with path.open("rb") as file:
            return cls.from_dict(tomllib.load(file))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DfdcConfig:
        data = dict(data)
        if data.pop("kind", None) != KIND:
            raise ValueError(f'these are no settings of this trainer: kind = "{KIND}" is missing')
        engine, augmentation = dict(data.pop("engine", {})), dict(data.pop("augmentation", {}))
        _refuse_unknown("", data, cls)
        _refuse_unknown("engine.", engine, EngineSettings)
        _refuse_unknown("augmentation.", augmentation, Augmentation)
        for name, choices in (("optimizer", OptimizerKind), ("schedule", Schedule), ("precision", Precision)):
            if name in engine:
                engine[name] = choices(engine[name])
        return cls(
            engine=EngineSettings(**engine),
            augmentation=Augmentation(**_with_tuples(augmentation)),
            **_with_tuples(data),
        )

    def fingerprint(self) -> dict[str, Any]:
        """What else than the engine's settings and the seed decides the weights."""
        facts = asdict(self)
        for name in ("name", "version", "title", "licence", "engine", "seeds", "thresholds", "aggregation"):
            del facts[name]
        return facts


def _refuse_unknown(prefix: str, data: dict[str, Any], kind: type) -> None:
    unknown = sorted(prefix + name for name in set(data) - {item.name for item in fields(kind)})
    if unknown:
        raise ValueError(f"unknown settings: {', '.join(unknown)}")


def _with_tuples(data: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
