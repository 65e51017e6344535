"""What a training run is made of. Read from a TOML file; logged and stored with the checkpoints."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from ml.detectors.spec import IMAGENET_MEAN, IMAGENET_STD


class BatchNorm(StrEnum):
    """FROZEN keeps the start weights' statistics, which a CPU trains a third faster; LIVE learns new ones."""

    FROZEN = "frozen"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """One of the networks that learn from the same faces. ``architecture`` is a timm model name.

    ``sharpness_radius`` above 0 is the ρ of sharpness-aware minimisation (Foret et al., 2021), which doubles the cost.
    """

    architecture: str
    learning_rate: float = 3e-4
    batch_norm: BatchNorm = BatchNorm.FROZEN
    sharpness_radius: float = 0.0
    dropout: float = 0.2
    drop_path: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything that decides the weights, besides the data and the software.

    ``networks`` all see every batch: making fakes costs more than learning from them, and networks of several
    architectures err differently. The exported detector is made of all of them.
    ``split_seed`` chooses the held-out people; stages that follow on each other need the same one, or the later
    one's validation is of people that the earlier one saw. ``source_shares``: how often a pair's face comes from
    each source of real portraits. ``kind_shares``: how often each kind of fake is made; ``blending_ratios`` and
    ``colour_strength`` are those of :class:`ml.training.fakes.FakeStyle`. ``step_pairs`` and
    ``step_synthesis_pairs`` pairs make one step; a synthesis pair is a generated portrait and a real one of
    ``synthesis_real_source``, and ``mosaic_share`` of these pairs are mosaics of several portraits.
    ``micro_batch`` faces go through the network at once (32 no longer fit the caches of small machines); it changes
    the speed, not the result, but for networks with live batch normalisation. ``box_jitter`` is the largest shift
    of a face box's edges, ``padding_jitter`` the largest change of the margin around it, both as shares of its
    side. The learning rate warms up, stays, and falls over the last ``decay_steps`` to the share ``decay_floor``.
    ``calibration`` says for each output how its logit is made of the networks' ones: a scale by the name of each
    network, and ``offset``. It is applied at export; without it the logit is their mean. ``mirrored_photos`` goes
    into the detector.
    """

    name: str
    version: str
    title: str
    licence: str
    seed: int
    steps: int
    split_seed: int
    source_shares: dict[str, float]
    kind_shares: dict[str, float]
    synthesis_real_source: str
    networks: dict[str, NetworkConfig]
    outputs: tuple[str, ...] = ("blending", "synthesis")
    input_size: int = 192
    padding_divisor: float = 3.0
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    step_pairs: int = 12
    step_synthesis_pairs: int = 4
    micro_batch: int = 16
    mosaic_share: float = 0.0
    box_jitter: float = 0.08
    padding_jitter: float = 0.1
    blending_ratios: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
    colour_strength: tuple[float, float] = (0.15, 1.0)
    weight_decay: float = 0.01
    warmup_steps: int = 80
    decay_steps: int = 900
    decay_floor: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.998
    label_smoothing: float = 0.02
    validation_share: float = 0.06
    validation_pairs: int = 240
    validation_synthesis_pairs: int = 60
    validate_every: int = 250
    checkpoint_every: int = 100
    threads: int = 2
    workers: int = 1
    thresholds: dict[str, float] = field(default_factory=lambda: {"fake": 0.7, "real": 0.3, "frame": 0.5})
    aggregation: str = "mean"
    mirrored_photos: bool = False
    calibration: dict[str, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> TrainingConfig:
        """Read a TOML file. Raises ValueError on settings that don't exist, TypeError on missing ones."""
        with path.open("rb") as file:
            return cls.from_dict(tomllib.load(file))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TrainingConfig:
        unknown = sorted(set(data) - {item.name for item in fields(cls)})
        if unknown:
            raise ValueError(f"unknown settings: {', '.join(unknown)}")
        tuples: dict[str, Any] = {name: tuple(value) for name, value in data.items() if isinstance(value, list)}
        if "networks" in data:
            tuples["networks"] = {name: _network(value) for name, value in data["networks"].items()}
        return cls(**{**data, **tuples})

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True)

    def digest(self) -> str:
        """SHA-256 of the settings: a checkpoint belongs to one configuration only."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def _network(data: dict[str, Any]) -> NetworkConfig:
    unknown = sorted(set(data) - {item.name for item in fields(NetworkConfig)})
    if unknown:
        raise ValueError(f"unknown settings of a network: {', '.join(unknown)}")
    return NetworkConfig(**{**data, "batch_norm": BatchNorm(data.get("batch_norm", BatchNorm.FROZEN))})
