"""The list of training faces: which portraits are usable, where the face is, and why others were skipped.

The data folder has the layout ``<root>/real/<source>/*.jpg`` and ``<root>/fake/<source>/*.jpg``. Nothing of it is
copied: the index names files relative to the root and holds boxes and landmarks.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from ml.contracts import Box, FaceDetection
from ml.faces.detection import FaceDetector

logger = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]

FACES_FILE = "faces.jsonl"
SKIPPED_FILE = "skipped.jsonl"
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
# Below this width a face enlarged to the network's input has no detail left to learn from.
SMALLEST_FACE = 40
LANDMARKS = 5

# `Some_Name_0001` is one of several pictures of a person; other names stand for a person each.
_NUMBERED_NAME = re.compile(r"^(?P<person>.*[A-Za-z])_\d{4}$")


@dataclass(frozen=True, slots=True)
class TrainingFace:
    """A usable portrait.

    ``path`` is relative to the data root, with forward slashes. ``box`` is (x1, y1, x2, y2) in pixels of the
    picture, ``landmarks`` five (x, y): left eye, right eye, nose, left and right mouth corner.
    """

    path: str
    label: str
    source: str
    person: str
    width: int
    height: int
    box: tuple[int, int, int, int]
    landmarks: tuple[tuple[float, float], ...]
    probability: float

    @classmethod
    def from_json(cls, line: str) -> TrainingFace:
        data: dict[str, Any] = json.loads(line)
        data["box"] = tuple(data["box"])
        data["landmarks"] = tuple((float(x), float(y)) for x, y in data["landmarks"])
        return cls(**data)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


class PortraitDetector(FaceDetector):
    """Searches at the picture's own size: portraits show one large face, and enlarging costs four times as much."""

    def scale_for(self, width: int, height: int) -> float:
        return 1.0


def person_of(path: Path) -> str:
    """A name under which pictures of one person are kept on one side of the validation split."""
    match = _NUMBERED_NAME.match(path.stem)
    return f"{path.parent.name}/{match['person'] if match else path.stem}"


def portrait_paths(root: Path) -> list[Path]:
    """Every picture under ``root/real`` and ``root/fake``, sorted by path."""
    paths = [
        path
        for label in ("real", "fake")
        for path in (root / label).glob("*/**/*")
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not paths:
        raise FileNotFoundError(f"no pictures under {root}/real/<source> or {root}/fake/<source>")
    return sorted(paths)


def read_picture(path: Path) -> Pixels:
    """RGB pixels (height, width, 3). Raises OSError if the file is no readable picture."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except UnidentifiedImageError as error:
        raise OSError(f"not a picture: {path.name}") from error


def choose_face(detections: Iterable[FaceDetection], width: int, height: int) -> FaceDetection | None:
    """The face a portrait is of: large and near the centre. Bystanders lose on both counts."""

    def merit(face: FaceDetection) -> float:
        centre_x, centre_y = (face.box.x1 + face.box.x2) / 2, (face.box.y1 + face.box.y2) / 2
        distance = np.hypot((centre_x - width / 2) / width, (centre_y - height / 2) / height)
        return float(face.box.width * (1.0 - distance))

    usable = [face for face in detections if len(face.landmarks) == LANDMARKS]
    return max(usable, key=merit, default=None)


def index_faces(root: Path, work: Path, *, batch_size: int = 32, device: str = "cpu") -> Counter[str]:
    """Find the face of every portrait under ``root``; write ``faces.jsonl`` and ``skipped.jsonl`` into ``work``.

    Portraits named in either file are left out, so that an interrupted run goes on where it stopped. Returns how
    many portraits ended as ``used`` and how many were skipped for each reason, over all runs.
    """
    work.mkdir(parents=True, exist_ok=True)
    done = _finished_paths(work)
    todo = [path for path in portrait_paths(root) if path.relative_to(root).as_posix() not in done]
    detector = PortraitDetector(device=device)
    with (
        (work / FACES_FILE).open("a", encoding="utf-8") as faces_file,
        (work / SKIPPED_FILE).open("a", encoding="utf-8") as skipped_file,
        tqdm(total=len(todo) + len(done), initial=len(done), unit="portrait", desc="finding faces") as bar,
    ):
        for start in range(0, len(todo), batch_size):
            batch = todo[start : start + batch_size]
            for result in _examine(batch, root, detector):
                if isinstance(result, TrainingFace):
                    _write_line(faces_file, result.to_json())
                else:
                    _write_line(skipped_file, json.dumps(result, sort_keys=True))
            bar.update(len(batch))
    return index_report(work)


def index_report(work: Path) -> Counter[str]:
    """Portraits by fate: ``used`` or the reason for skipping."""
    report: Counter[str] = Counter(used=len(read_index(work)))
    report.update(json.loads(line)["reason"] for line in _lines(work / SKIPPED_FILE))
    return report


def read_index(work: Path) -> list[TrainingFace]:
    """The usable faces, sorted by path, so that the order does not depend on how often the search was resumed."""
    return sorted((TrainingFace.from_json(line) for line in _lines(work / FACES_FILE)), key=lambda face: face.path)


def index_digest(faces: Iterable[TrainingFace]) -> str:
    """SHA-256 over the sorted index lines: names the training data in logs and model cards."""
    digest = hashlib.sha256()
    for face in faces:
        digest.update(face.to_json().encode() + b"\n")
    return digest.hexdigest()


def _examine(batch: list[Path], root: Path, detector: FaceDetector) -> Iterator[TrainingFace | dict[str, str]]:
    pictures: list[tuple[Path, Pixels]] = []
    for path in batch:
        try:
            pictures.append((path, read_picture(path)))
        except OSError as error:
            logger.warning("skipping %s: %s", path.name, error)
            yield {"path": path.relative_to(root).as_posix(), "reason": "unreadable"}
    # The face detector wants pictures of one size in a call.
    for _, group in groupby(sorted(pictures, key=_by_size), key=lambda item: item[1].shape):
        same_size = list(group)
        found = detector.detect([pixels for _, pixels in same_size])
        for (path, pixels), detections in zip(same_size, found, strict=True):
            yield _judge(path, pixels, detections, root)


def _by_size(item: tuple[Path, Pixels]) -> tuple[tuple[int, ...], Path]:
    return item[1].shape, item[0]


def _judge(path: Path, pixels: Pixels, detections: list[FaceDetection], root: Path) -> TrainingFace | dict[str, str]:
    name = path.relative_to(root).as_posix()
    height, width = pixels.shape[:2]
    face = choose_face(detections, width, height)
    if face is None:
        return {"path": name, "reason": "no face"}
    if face.box.width < SMALLEST_FACE:
        return {"path": name, "reason": "face too small"}
    label, source = path.relative_to(root).parts[:2]
    box: Box = face.box
    return TrainingFace(
        path=name,
        label=label,
        source=source,
        person=person_of(path),
        width=width,
        height=height,
        box=(box.x1, box.y1, box.x2, box.y2),
        landmarks=face.landmarks,
        probability=face.probability,
    )


def _finished_paths(work: Path) -> set[str]:
    return {json.loads(line)["path"] for name in (FACES_FILE, SKIPPED_FILE) for line in _whole_lines(work / name)}


def _whole_lines(path: Path) -> list[str]:
    """Lines of the file; a last line that a killed run left unfinished is cut off the file first."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return whole.splitlines()


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _write_line(file: TextIO, line: str) -> None:
    file.write(line + "\n")
    file.flush()
