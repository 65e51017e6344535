"""From portraits to training batches, one step at a time.

Step number and seed decide a batch completely, whatever was drawn before. So a resumed run sees the same batches as
an uninterrupted one, and they can be made by other processes in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ml.contracts import Box
from ml.faces.geometry import fit_face, pad_box
from ml.training.autoencoder import FaceAutoencoder, align, generated_donor
from ml.training.config import TrainingConfig
from ml.training.degradation import Degradation, degrade, draw_degradation
from ml.training.faces_index import TrainingFace, read_picture
from ml.training.fakes import Donor, FakeKind, FakeStyle, make_fake
from ml.training.regions import Points, smooth_field

Pixels = NDArray[np.uint8]

BLENDING, SYNTHESIS = "blending", "synthesis"
# A donor is the most alike of this many: more cost time, fewer make swaps that anybody would spot.
DONOR_CANDIDATES = 32


@dataclass(frozen=True, slots=True)
class Sample:
    """A face for the network with what it teaches.

    ``targets`` name the outputs that this face informs, with 1.0 for fake and 0.0 for real. A pasted region says
    nothing about whole-face synthesis, nor a generated face about blending: those outputs get no gradient.
    """

    pixels: Pixels
    targets: dict[str, float]
    kind: str


@dataclass(frozen=True, slots=True)
class Batch:
    """``faces`` (n, size, size, 3) uint8; ``targets`` and ``informed`` (n, outputs) float32, the latter 0 or 1."""

    faces: Tensor
    targets: Tensor
    informed: Tensor
    kinds: tuple[str, ...]

    def to(self, device: torch.device) -> Batch:
        """The same batch in a device's memory."""
        faces, targets, informed = (part.to(device) for part in (self.faces, self.targets, self.informed))
        return Batch(faces, targets, informed, self.kinds)


@dataclass(frozen=True, slots=True)
class Portrait:
    """A cropped portrait, float32 RGB in [0, 255], and the landmarks in its pixels."""

    picture: NDArray[np.float32]
    landmarks: Points


class FacePool:
    """The faces to draw from, by source. Given a seed, drawing is deterministic."""

    def __init__(
        self,
        faces: Sequence[TrainingFace],
        root: Path,
        config: TrainingConfig,
        autoencoder: FaceAutoencoder | None = None,
    ) -> None:
        self.root = root
        self.config = config
        self.autoencoder = autoencoder
        if autoencoder is None and config.kind_shares.get(FakeKind.AUTOENCODE, 0.0) > 0:
            raise ValueError("fakes of the kind autoencode need an autoencoder")
        self.real = {
            source: [face for face in faces if face.label == "real" and face.source == source]
            for source in config.source_shares
        }
        self.synthesised = [face for face in faces if face.label == "fake"]
        empty = [source for source, found in self.real.items() if not found]
        if empty or (config.step_synthesis_pairs and not self.synthesised):
            raise ValueError(f"no faces for: {', '.join(empty) or 'synthesis'}")
        shares = np.asarray(list(config.source_shares.values()), dtype=np.float64)
        self._source_shares = shares / shares.sum()
        kinds = np.asarray(list(config.kind_shares.values()), dtype=np.float64)
        self._kind_shares = kinds / kinds.sum()
        self._style = FakeStyle(config.blending_ratios, config.colour_strength)
        self._shapes = {source: np.stack([_face_shape(face) for face in found]) for source, found in self.real.items()}

    def draw_real(self, rng: np.random.Generator) -> TrainingFace:
        source = str(rng.choice(list(self.real), p=self._source_shares))
        found = self.real[source]
        return found[int(rng.integers(len(found)))]

    def draw_kind(self, rng: np.random.Generator) -> FakeKind:
        return FakeKind(str(rng.choice(list(self.config.kind_shares), p=self._kind_shares)))

    def draw_donor(self, face: TrainingFace, rng: np.random.Generator) -> Donor:
        """Somebody else whose head is turned alike, judged by the landmarks."""
        candidates = rng.integers(len(self.real[face.source]), size=DONOR_CANDIDATES)
        others = [int(i) for i in candidates if self.real[face.source][int(i)].person != face.person]
        if not others:
            raise ValueError(f"nobody to swap with in {face.source}")
        distances = np.abs(self._shapes[face.source][others] - _face_shape(face)).sum(axis=1)
        chosen = self.real[face.source][others[int(distances.argmin())]]
        portrait = self.load(chosen, None, flip=False)
        return Donor(portrait.picture, portrait.landmarks)

    def load(self, face: TrainingFace, rng: np.random.Generator | None, *, flip: bool) -> Portrait:
        """Crop a portrait as inference would; with ``rng`` the box is jittered as face detectors do."""
        return self._crop(read_picture(self.root / face.path), face, rng, flip=flip)

    def _crop(self, pixels: Pixels, face: TrainingFace, rng: np.random.Generator | None, *, flip: bool) -> Portrait:
        box = np.asarray(face.box, dtype=np.float64)
        if rng is not None:
            sides = np.asarray([face.box[2] - face.box[0], face.box[3] - face.box[1]] * 2)
            box = box + rng.uniform(-self.config.box_jitter, self.config.box_jitter, 4) * sides
            margin = rng.uniform(-self.config.padding_jitter, self.config.padding_jitter)
            box = box + margin * sides * [-1, -1, 1, 1]
        padded = pad_box(
            Box(*(int(value) for value in box)), pixels.shape[1], pixels.shape[0], self.config.padding_divisor
        )
        picture = pixels[padded.y1 : padded.y2, padded.x1 : padded.x2].astype(np.float32)
        landmarks = np.asarray(face.landmarks, dtype=np.float32) - np.asarray([padded.x1, padded.y1], dtype=np.float32)
        if flip:
            picture = np.ascontiguousarray(picture[:, ::-1])
            landmarks[:, 0] = picture.shape[1] - 1 - landmarks[:, 0]
            landmarks = landmarks[[1, 0, 2, 4, 3]]
        return Portrait(picture, landmarks)

    def blending_pair(self, rng: np.random.Generator) -> tuple[Sample, Sample]:
        """A real portrait and a fake made of it, degraded alike."""
        face = self.draw_real(rng)
        kind = self.draw_kind(rng)
        portrait = self.load(face, rng, flip=bool(rng.random() < 0.5))
        donor = self._donor(kind, face, portrait, rng)
        pair = make_fake(kind, portrait.picture, portrait.landmarks, rng, donor=donor, style=self._style)
        degradation = draw_degradation(rng, self.config.input_size)
        real, fake = self._finish(pair.real, degradation), self._finish(pair.fake, degradation)
        return Sample(real, {BLENDING: 0.0, SYNTHESIS: 0.0}, "real"), Sample(fake, {BLENDING: 1.0}, kind.value)

    def _donor(self, kind: FakeKind, face: TrainingFace, portrait: Portrait, rng: np.random.Generator) -> Donor | None:
        if kind is FakeKind.SWAP:
            return self.draw_donor(face, rng)
        if kind is not FakeKind.AUTOENCODE or self.autoencoder is None:
            return None
        faces = [align(portrait.picture, portrait.landmarks)]
        if rng.random() < 0.6:
            other = self.draw_donor(face, rng)
            faces.append(align(other.picture, other.landmarks))
        return generated_donor(self.autoencoder, faces, float(rng.uniform(0.1, 0.8)))

    def degraded(self, face: TrainingFace, rng: np.random.Generator) -> Pixels:
        """A portrait as some video or forwarded photo would show it."""
        return self._finish(self.load(face, rng, flip=False).picture, draw_degradation(rng, self.config.input_size))

    def synthesis_pair(self, rng: np.random.Generator, *, mosaic_share: float = 0.0) -> tuple[Sample, Sample]:
        """A real portrait and a wholly generated one, degraded alike; mosaics of several with the given chance.

        The real ones come from the source whose alignment and framing the generator imitates, so that neither
        gives the generated ones away.
        """
        real_faces = self.real[self.config.synthesis_real_source]
        degradation = draw_degradation(rng, self.config.input_size, gentle=True)
        mosaic = bool(rng.random() < mosaic_share)
        real, fake = (
            self._finish(self._mosaic(faces, rng) if mosaic else self._portrait(faces, rng), degradation)
            for faces in (real_faces, self.synthesised)
        )
        # The seams of a mosaic are no manipulation to be found, so it says nothing about blending.
        untouched = {SYNTHESIS: 0.0} if mosaic else {BLENDING: 0.0, SYNTHESIS: 0.0}
        return Sample(real, untouched, "real"), Sample(fake, {SYNTHESIS: 1.0}, "synthesis")

    def _portrait(self, faces: Sequence[TrainingFace], rng: np.random.Generator) -> NDArray[np.float32]:
        return self.load(faces[int(rng.integers(len(faces)))], rng, flip=bool(rng.random() < 0.5)).picture

    def _mosaic(self, faces: Sequence[TrainingFace], rng: np.random.Generator) -> NDArray[np.float32]:
        """A face of one to three pictures of a kind, each showing in some places; often only a part of it.

        There are few generated portraits and the network would soon know each: what has to be learnt is how their
        texture differs, which every part of them shows.
        """
        chosen = [faces[int(i)] for i in rng.integers(len(faces), size=int(rng.integers(1, 4)))]
        pixels = read_picture(self.root / chosen[0].path).astype(np.float32)
        height, width = pixels.shape[:2]
        for other in chosen[1:]:
            overlay = read_picture(self.root / other.path)
            if overlay.shape[:2] != (height, width):
                continue  # Scaling would wash out the texture.
            if rng.random() < 0.5:
                overlay = overlay[:, ::-1]
            level = smooth_field(height, width, 1.0, width * float(rng.uniform(0.2, 0.5)), rng)[..., :1]
            weight = np.clip(0.5 + level * float(rng.uniform(2.0, 8.0)), 0.0, 1.0)
            pixels = pixels * (1.0 - weight) + overlay * weight
        picture = self._crop(np.round(pixels).astype(np.uint8), chosen[0], rng, flip=bool(rng.random() < 0.5)).picture
        if rng.random() < 0.5:
            share = float(rng.uniform(0.5, 1.0))
            rows, columns = (max(int(side * share), 1) for side in picture.shape[:2])
            top, left = (
                int(rng.integers(side - part + 1)) for side, part in zip(picture.shape, (rows, columns), strict=False)
            )
            picture = picture[top : top + rows, left : left + columns]
        return picture

    def _finish(self, picture: NDArray[np.float32], degradation: Degradation) -> Pixels:
        return fit_face(degrade(picture, degradation), self.config.input_size)


def _face_shape(face: TrainingFace) -> NDArray[np.float64]:
    """The landmarks relative to the box, flattened: position and size of the face removed."""
    x1, y1, x2, y2 = face.box
    points = (np.asarray(face.landmarks) - [x1, y1]) / [x2 - x1, y2 - y1]
    return np.asarray(points.ravel(), dtype=np.float64)


def to_batch(samples: Sequence[Sample], outputs: Sequence[str]) -> Batch:
    targets = [[sample.targets.get(output, 0.0) for output in outputs] for sample in samples]
    informed = [[float(output in sample.targets) for output in outputs] for sample in samples]
    return Batch(
        torch.from_numpy(np.stack([sample.pixels for sample in samples])),
        torch.tensor(targets, dtype=torch.float32),
        torch.tensor(informed, dtype=torch.float32),
        tuple(sample.kind for sample in samples),
    )


class StepDataset(Dataset[Batch]):
    """Item i is the whole batch of step ``first_step + i``."""

    def __init__(self, pool: FacePool, *, first_step: int, steps: int) -> None:
        self.pool = pool
        self.first_step = first_step
        self.steps = steps

    def __len__(self) -> int:
        return self.steps - self.first_step

    def __getitem__(self, index: int) -> Batch:
        # One thread a process: the network's own threads need the cores.
        cv2.setNumThreads(0)
        config = self.pool.config
        rng = np.random.default_rng([config.seed, self.first_step + index])
        pairs = [self.pool.blending_pair(rng) for _ in range(config.step_pairs)]
        share = config.mosaic_share
        pairs += [self.pool.synthesis_pair(rng, mosaic_share=share) for _ in range(config.step_synthesis_pairs)]
        return to_batch([sample for pair in pairs for sample in pair], config.outputs)


def validation_samples(pool: FacePool) -> list[Sample]:
    """A fixed set of degraded pairs of held-out people, the same for every run with this seed."""
    config = pool.config
    samples: list[Sample] = []
    for index in range(config.validation_pairs):
        samples += pool.blending_pair(np.random.default_rng([config.seed, 1, index]))
    for index in range(config.validation_synthesis_pairs):
        samples += pool.synthesis_pair(np.random.default_rng([config.seed, 2, index]))
    return samples


def held_out_reals(pool: FacePool) -> list[Sample]:
    """Every real face once, degraded: for false alarms, which a few odd faces drawn often would distort."""
    rng = np.random.default_rng([pool.config.seed, 4])
    untouched = {BLENDING: 0.0, SYNTHESIS: 0.0}
    return [
        Sample(pool.degraded(face, rng), untouched, "real")
        for source in sorted(pool.real)
        for face in pool.real[source]
    ]


def split_people(
    faces: Sequence[TrainingFace], share: float, seed: int
) -> tuple[list[TrainingFace], list[TrainingFace]]:
    """Training and validation faces; a person is only ever in one of them, and each source gives its share."""
    held_out: set[str] = set()
    for source in sorted({face.source for face in faces}):
        people = sorted({face.person for face in faces if face.source == source})
        order = np.random.default_rng([seed, 3]).permutation(len(people))
        held_out.update(people[int(i)] for i in order[: round(share * len(people))])
    training = [face for face in faces if face.person not in held_out]
    return training, [face for face in faces if face.person in held_out]
