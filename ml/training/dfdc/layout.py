"""Where things lie in a DFDC-shaped folder, and what its ``metadata.json`` files say.

The videos lie in ``dfdc_train_part_<n>/`` beside a ``metadata.json`` that maps file names to
``{"label": "REAL" | "FAKE", "original": file name}``. What the steps make lies in a folder of its own or in the same
one: ``boxes/``, ``crops/``, ``landmarks/``, ``diffs/``, ``folds.csv`` and ``reports/``. Everything is named by video
id, the file name without its suffix.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.training.dfdc.steps import Skip

PART_PATTERN = "dfdc_train_part_*"
METADATA_FILE = "metadata.json"
_PART_NUMBER = re.compile(r"_(\d+)$")
_CROP_NAME = re.compile(r"^(\d+)_(\d+)$")


@dataclass(frozen=True, slots=True)
class Video:
    """One video. ``original`` is the id of the real video that a fake was made of, and a real one's own id."""

    id: str
    path: Path
    part: int
    is_fake: bool
    original: str


@dataclass(frozen=True, slots=True)
class Layout:
    """``data`` holds the parts and is only read; ``out`` gets what the steps make."""

    data: Path
    out: Path

    @property
    def reports(self) -> Path:
        return self.out / "reports"

    @property
    def folds(self) -> Path:
        return self.out / "folds.csv"

    def boxes(self, video_id: str) -> Path:
        return self.out / "boxes" / f"{video_id}.json"

    def crops(self, video_id: str) -> Path:
        return self.out / "crops" / video_id

    def landmarks(self, video_id: str) -> Path:
        return self.out / "landmarks" / video_id

    def diffs(self, video_id: str) -> Path:
        return self.out / "diffs" / video_id


@dataclass(frozen=True, slots=True)
class Collection:
    """All usable videos, by id in order of part and name, and the entries that are of no use, with the reason."""

    videos: dict[str, Video]
    skipped: tuple[Skip, ...]

    @property
    def real(self) -> list[Video]:
        return [video for video in self.videos.values() if not video.is_fake]

    @property
    def fake(self) -> list[Video]:
        return [video for video in self.videos.values() if video.is_fake]


def read_collection(data: Path) -> Collection:
    """Read every part's metadata. Raises FileNotFoundError if there is none at all.

    A fake is of use only with its original, whose boxes and landmarks it shares. Names that two parts use are taken
    from the first, since everything made is named by them.
    """
    parts = sorted((path for path in data.glob(PART_PATTERN) if path.is_dir()), key=_part_order)
    found: dict[str, Video] = {}
    skipped: list[Skip] = []
    for folder in parts:
        number = _PART_NUMBER.search(folder.name)
        if number is None:
            skipped.append(Skip(folder.name, "bad_part_name", "it does not end in a number"))
            continue
        for entry in _part_videos(folder, int(number[1])):
            if isinstance(entry, Skip):
                skipped.append(entry)
            elif entry.id in found:
                skipped.append(Skip(_name(entry.path), "duplicate", f"also {_name(found[entry.id].path)}"))
            else:
                found[entry.id] = entry
    if not any((folder / METADATA_FILE).is_file() for folder in parts):
        raise FileNotFoundError(f"no {PART_PATTERN}/{METADATA_FILE} in {data}")
    usable: dict[str, Video] = {}
    for video in found.values():
        original = found.get(video.original)
        if video.is_fake and original is None:
            skipped.append(Skip(_name(video.path), "original_missing", video.original))
        elif original is not None and original.is_fake:
            skipped.append(Skip(_name(video.path), "original_is_fake", video.original))
        else:
            usable[video.id] = video
    return Collection(usable, tuple(skipped))


def _part_videos(folder: Path, part: int) -> Iterator[Video | Skip]:
    path = folder / METADATA_FILE
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield Skip(f"{folder.name}/{METADATA_FILE}", "unreadable_metadata", str(error))
        return
    if not isinstance(entries, Mapping):
        yield Skip(f"{folder.name}/{METADATA_FILE}", "unreadable_metadata", "it is no JSON object")
        return
    for name, facts in sorted(entries.items()):
        yield _video(folder, part, name, facts)


def _video(folder: Path, part: int, name: str, facts: Any) -> Video | Skip:
    item = f"{folder.name}/{name}"
    if not _is_plain_name(name):
        return Skip(item, "bad_name", "it is no plain file name")
    label = facts.get("label") if isinstance(facts, Mapping) else None
    if label not in {"REAL", "FAKE"}:
        return Skip(item, "bad_label", repr(label))
    path = folder / name
    if not path.is_file():
        return Skip(item, "file_missing")
    if label == "REAL":
        return Video(path.stem, path, part, is_fake=False, original=path.stem)
    original = facts.get("original")
    if not isinstance(original, str) or not _is_plain_name(original):
        return Skip(item, "original_missing", repr(original))
    return Video(path.stem, path, part, is_fake=True, original=Path(original).stem)


def _is_plain_name(name: str) -> bool:
    """Nothing that leads out of the folder, nor a hidden file, which unfinished output is."""
    return bool(name) and Path(name).name == name and not name.startswith(".") and "\0" not in name


def _part_order(path: Path) -> tuple[int, str]:
    number = _PART_NUMBER.search(path.name)
    return (int(number[1]) if number else -1, path.name)


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def crop_names(folder: Path) -> list[str]:
    """``<frame>_<actor>`` of the crops in a video's folder, by frame and actor; none if there is no folder."""
    if not folder.is_dir():
        return []
    names = [path.stem for path in folder.iterdir() if path.suffix == ".png" and _CROP_NAME.match(path.stem)]
    return sorted(names, key=frame_and_actor)


def frame_and_actor(name: str) -> tuple[int, int]:
    """``120_1`` → (120, 1). Raises ValueError for other names."""
    match = _CROP_NAME.match(name)
    if match is None:
        raise ValueError(f"not <frame>_<actor>: {name!r}")
    return int(match[1]), int(match[2])
