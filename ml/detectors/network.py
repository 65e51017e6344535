"""The networks of the detectors here: a timm encoder, global average pooling, one linear layer of logits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import timm
import torch
from torch import Tensor, nn


class FaceClassifier(nn.Module):
    """Faces (n, 3, size, size), normalised → logits (n, outputs).

    The same shape as the reference's ``DeepFakeClassifier`` (encoder, pooling, dropout, one linear layer), so
    that its checkpoints map onto it by renaming keys.
    """

    def __init__(self, architecture: str, *, outputs: int = 1, dropout: float = 0.0, drop_path: float = 0.0) -> None:
        super().__init__()
        # No pretrained weights: they come from a file whose digest is known, or from training.
        self.encoder = timm.create_model(
            architecture, pretrained=False, num_classes=0, global_pool="avg", drop_path_rate=drop_path
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(cast(int, self.encoder.num_features), outputs)

    @property
    def members(self) -> tuple[FaceClassifier, ...]:
        """The networks whose logits are added: this one."""
        return (self,)

    def forward(self, faces: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.dropout(self.encoder(faces)))
        return logits


class ClassifierSum(nn.Module):
    """Several classifiers that judge the same faces; their logits are added. Weights between them lie in their
    last layers."""

    def __init__(self, classifiers: Iterable[FaceClassifier]) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(classifiers)

    @property
    def members(self) -> tuple[FaceClassifier, ...]:
        return tuple(cast(FaceClassifier, classifier) for classifier in self.classifiers)

    def forward(self, faces: Tensor) -> Tensor:
        return torch.stack([classifier(faces) for classifier in self.classifiers]).sum(dim=0)


Network = FaceClassifier | ClassifierSum


def build_network(architecture: str, outputs: int) -> Network:
    """An untrained network for a :class:`DetectorSpec`'s ``architecture``."""
    members = [FaceClassifier(name, outputs=outputs) for name in architecture.split("+")]
    return members[0] if len(members) == 1 else ClassifierSum(members)


def to_input(faces: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Tensor:
    """uint8 (n, size, size, 3) RGB → normalised float32 (n, 3, size, size)."""
    pixels = faces.permute(0, 3, 1, 2).float().div_(255.0)
    return pixels.sub_(torch.tensor(mean, device=pixels.device).view(1, 3, 1, 1)).div_(
        torch.tensor(std, device=pixels.device).view(1, 3, 1, 1)
    )
