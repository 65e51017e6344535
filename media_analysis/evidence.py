"""The pictures that go with a result: face crops and key frames, as JPEG files in the storage.

Each try of an analysis has a folder of its own, so that a late try never touches the pictures of the one that counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from media_analysis.models import Analysis

NAME_PATTERN = r"(?:(?:crop|heat)-\d+-\d+|frame-\d+)\.jpg"


def crop_name(track: int, frame: int) -> str:
    """The face of one track in one frame, cut out."""
    return f"crop-{track}-{frame}.jpg"


def heat_name(track: int, frame: int) -> str:
    """The same face with what the network looked at laid over it."""
    return f"heat-{track}-{frame}.jpg"


def frame_name(frame: int) -> str:
    """A whole frame, without boxes drawn on it."""
    return f"frame-{frame}.jpg"


def store(analysis: Analysis, pictures: Mapping[str, bytes]) -> list[str]:
    """Save the pictures of this try; returns their names in the storage, in the order given."""
    names = []
    for name, content in pictures.items():
        if not re.fullmatch(NAME_PATTERN, name):
            raise ValueError(f"not the name of an evidence picture: {name!r}")
        names.append(default_storage.save(f"{_folder_of_try(analysis)}/{name}", ContentFile(content)))
    return names


def find(analysis: Analysis, name: str) -> str | None:
    """The storage name of the evidence picture called ``name``, None if there is none."""
    return next((stored for stored in analysis.evidence if stored.rpartition("/")[2] == name), None)


def discard_try(analysis: Analysis) -> None:
    _remove_folder(_folder_of_try(analysis))


def discard_all(analysis: Analysis) -> None:
    _remove_folder(f"analyses/{analysis.public_id}")


def _folder_of_try(analysis: Analysis) -> str:
    return f"analyses/{analysis.public_id}/{analysis.claim_token}"


def _remove_folder(folder: str) -> None:
    try:
        folders, files = default_storage.listdir(folder)
    except FileNotFoundError:
        return
    for name in folders:
        _remove_folder(f"{folder}/{name}")
    for name in files:
        default_storage.delete(f"{folder}/{name}")
    # The storage for local folders removes an empty folder so; others have no folders.
    default_storage.delete(folder)
