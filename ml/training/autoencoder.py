"""A small face autoencoder, whose output is pasted into portraits as face-swapping tools do.

The first face-swapping tools were autoencoders: what they paste is a face squeezed through a narrow code and
decoded again, softer than the original and with an expression and features slightly off. No such tool's output is
in the training data, but an autoencoder of our own leaves the same kind of traces. Mixing the codes of two people
gives a face of neither.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from ml.training.faces_index import TrainingFace, read_picture
from ml.training.fakes import Donor, similarity
from ml.training.regions import Points

logger = logging.getLogger(__name__)

WEIGHTS_FILE = "autoencoder.safetensors"
# The first tools worked at 64 to 128 pixels.
SIZE = 96
CODE = 384
# Where the five points lie in an aligned face, as shares of its side: chin and brows are in the picture.
TEMPLATE: Points = np.asarray([(0.34, 0.38), (0.66, 0.38), (0.5, 0.56), (0.375, 0.73), (0.625, 0.73)], dtype=np.float32)
LEARNING_RATE = 1e-3
BATCH = 256

Pixels = NDArray[np.uint8]


class FaceAutoencoder(nn.Module):
    """Aligned faces (n, 3, 96, 96) in [0, 1] → the same from a code of 384 numbers."""

    def __init__(self) -> None:
        super().__init__()
        down: list[nn.Module] = []
        channels = 3
        for wider in (32, 64, 128, 256, 384):
            down += [nn.Conv2d(channels, wider, 4, stride=2, padding=1), nn.BatchNorm2d(wider), nn.LeakyReLU(0.1)]
            channels = wider
        self.down = nn.Sequential(*down)
        self.to_code = nn.Linear(384 * 9, CODE)
        self.from_code = nn.Linear(CODE, 384 * 9)
        up: list[nn.Module] = []
        for narrower in (256, 128, 64, 32):
            # A convolution and a shuffle, as those tools upsample; their checkerboard is part of what is learnt.
            up += [nn.Conv2d(channels, 4 * narrower, 3, padding=1), nn.PixelShuffle(2), nn.LeakyReLU(0.1)]
            channels = narrower
        up += [nn.Conv2d(channels, 12, 3, padding=1), nn.PixelShuffle(2)]
        self.up = nn.Sequential(*up)

    def encode(self, faces: Tensor) -> Tensor:
        """Codes (n, 384)."""
        codes: Tensor = self.to_code(self.down(faces).flatten(1))
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Faces in (0, 1)."""
        faces: Tensor = torch.sigmoid(self.up(self.from_code(codes).view(-1, 384, 3, 3)))
        return faces

    def forward(self, faces: Tensor) -> Tensor:
        return self.decode(self.encode(faces))


def align(picture: NDArray[np.float32] | Pixels, landmarks: Points) -> Pixels:
    """The face of a picture, turned upright: (96, 96, 3) RGB."""
    matrix = similarity(landmarks, TEMPLATE * SIZE)
    aligned = cv2.warpAffine(picture, matrix, (SIZE, SIZE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
    return np.clip(np.round(aligned), 0, 255).astype(np.uint8)


@torch.inference_mode()
def generated_donor(model: FaceAutoencoder, faces: Sequence[Pixels], share: float) -> Donor:
    """A face decoded from the code of the first aligned face, mixed with ``share`` of the second one's, if any."""
    pixels = torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2).float() / 255.0
    codes = model.encode(pixels)
    code = codes[:1] if len(faces) == 1 else torch.lerp(codes[:1], codes[1:2], share)
    picture = model.decode(code)[0].permute(1, 2, 0).numpy() * 255.0
    return Donor(np.asarray(picture, dtype=np.float32), TEMPLATE * SIZE)


def load_autoencoder(path: Path) -> FaceAutoencoder:
    """For making fakes: on the CPU, in eval mode. Raises FileNotFoundError, or RuntimeError on other weights."""
    model = FaceAutoencoder()
    model.load_state_dict(load_file(path), strict=True)
    return model.eval()


def train_autoencoder(
    faces: Sequence[TrainingFace], root: Path, folder: Path, *, steps: int, seed: int, device: torch.device | str
) -> Path:
    """Train on real portraits and write the weights to ``folder``. Differences of neighbouring pixels count beside
    the pixels themselves, or the result would be softer than that of any tool."""
    device = torch.device(device)
    torch.manual_seed(seed)
    model = FaceAutoencoder().to(device)
    aligned = [
        align(read_picture(root / face.path), np.asarray(face.landmarks, dtype=np.float32))
        for face in faces
        if face.label == "real"
    ]
    pictures = torch.from_numpy(np.stack(aligned)).permute(0, 3, 1, 2).contiguous().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        chosen = torch.randint(len(pictures), (min(BATCH, len(pictures)),), generator=generator)
        batch = pictures[chosen.to(device)].float() / 255.0
        batch = torch.where(
            (torch.rand(len(batch), generator=generator) < 0.5).to(device)[:, None, None, None], batch.flip(3), batch
        )
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            decoded = model(batch)
        loss = _difference(decoded.float(), batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (step + 1) % 100 == 0 or step + 1 == steps:
            logger.info("autoencoder step %d/%d loss %.4f", step + 1, steps, float(loss.detach()))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WEIGHTS_FILE
    temporary = folder / f".{WEIGHTS_FILE}.{os.getpid()}"
    save_file({key: value.cpu().contiguous() for key, value in model.state_dict().items()}, temporary)
    temporary.replace(path)
    return path


def _difference(decoded: Tensor, faces: Tensor) -> Tensor:
    edges = sum(functional.l1_loss(decoded.diff(dim=axis), faces.diff(dim=axis)) for axis in (2, 3))
    return functional.l1_loss(decoded, faces) + edges
