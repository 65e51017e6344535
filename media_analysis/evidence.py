"""The pictures that go with a result: JPEG files in the storage.

Face crops, key frames, small copies of a video's sampled frames, a photo with its faces boxed.

Each try of an analysis has a folder of its own, so that a late try never touches the pictures of the one that counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db.models import Q

from accounts.errors import Code, SentinelError
from accounts.ids import PUBLIC_ID_PATTERN
from media_analysis.models import Analysis
from media_analysis.storage import StorageFull, media_storage

# Of the storage, with a folder for each analysis.
FOLDER = "analyses"
# The photo with its faces boxed and their scores written on it; videos have none.
LABELLED_NAME = "labelled.jpg"
NAME_PATTERN = r"(?:(?:crop|heat)-\d+-\d+|(?:frame|sample)-\d+|labelled)\.jpg"
# Sampled frames of a try under way, which only those who watch it see.
PREVIEW_PREFIX = "preview-"


def crop_name(track: int, frame: int) -> str:
    """The face of one track in one frame, cut out."""
    return f"crop-{track}-{frame}.jpg"


def heat_name(track: int, frame: int) -> str:
    """The same face with what the network looked at laid over it."""
    return f"heat-{track}-{frame}.jpg"


def frame_name(frame: int) -> str:
    """A whole frame, without boxes drawn on it."""
    return f"frame-{frame}.jpg"


def sample_name(frame: int) -> str:
    """A frame that was looked at, small, without boxes drawn on it; photos have none."""
    return f"sample-{frame}.jpg"


def store(analysis: Analysis, pictures: Mapping[str, bytes]) -> list[str]:
    """Save the pictures of this try; returns their names in the storage, in the order given.

    Raises ``storage_full`` and ``storage_unavailable``: then it may be done again.
    """
    names: list[str] = []
    try:
        for name, content in pictures.items():
            if not re.fullmatch(NAME_PATTERN, name):
                raise ValueError(f"not the name of an evidence picture: {name!r}")
            names.append(default_storage.save(f"{_folder_of_try(analysis)}/{name}", ContentFile(content)))
    except StorageFull:
        for stored in names:
            default_storage.delete(stored)
        raise
    return names


def copy(of: Analysis, to: Analysis) -> list[str]:
    """Copy the pictures of a result for this try of another analysis; returns their names, in the same order."""
    return store(to, {stored.rpartition("/")[2]: _read(stored) for stored in of.evidence})


def read(stored: str | None) -> bytes:
    """A picture by its storage name, whole: they are small. Raises ``not_found``, ``storage_unavailable``."""
    if stored is None:
        raise SentinelError(Code.NOT_FOUND)
    try:
        return _read(stored)
    except FileNotFoundError as error:
        raise SentinelError(Code.NOT_FOUND) from error


def _read(stored: str) -> bytes:
    with default_storage.open(stored) as picture:
        return bytes(picture.read())


def find(analysis: Analysis, name: str) -> str | None:
    """The storage name of the evidence picture called ``name``, None if there is none."""
    return next((stored for stored in analysis.evidence if stored.rpartition("/")[2] == name), None)


def discard_try(analysis: Analysis) -> None:
    media_storage().remove_folder(_folder_of_try(analysis))


def discard_all(analysis: Analysis) -> None:
    media_storage().remove_folder(f"analyses/{analysis.public_id}")


def discard_orphans(folders: Sequence[str]) -> int:
    """Delete those of these folders of pictures whose analyses are gone: a worker killed during a deletion leaves them.

    Returns how many.
    """
    # Asked after the folders were listed: an analysis is there before its folder.
    known = set(Analysis.objects.filter(public_id__in=folders).values_list("public_id", flat=True))
    orphans = [public_id for public_id in folders if public_id not in known]
    for public_id in orphans:
        media_storage().remove_folder(f"{FOLDER}/{public_id}")
    return len(orphans)


def discard_dead_tries(folders: Sequence[str], *, ended_before: datetime) -> int:
    """Of analyses with these folders, delete the pictures of tries that were killed, once they ended long enough ago.

    The result's own try keeps them, and so do reports. Returns how many tries. Only those that can have a dead one are
    looked into.
    """
    ended = Analysis.objects.filter(
        Q(status=Analysis.Status.DONE, attempts__gt=1) | Q(status=Analysis.Status.FAILED),
        public_id__in=folders,
        finished_at__lt=ended_before,
    )
    discarded = 0
    for public_id, names in ended.values_list("public_id", "evidence"):
        of_result = {name.split("/")[-2] for name in names}
        for claim_token in _list(f"{FOLDER}/{public_id}")[0]:
            if re.fullmatch(PUBLIC_ID_PATTERN, claim_token) and claim_token not in of_result:
                media_storage().remove_folder(f"{FOLDER}/{public_id}/{claim_token}")
                discarded += 1
    return discarded


def _folder_of_try(analysis: Analysis) -> str:
    return f"analyses/{analysis.public_id}/{analysis.claim_token}"


def _list(folder: str) -> tuple[list[str], list[str]]:
    """Folders and files in a folder, none if it is not there."""
    try:
        folders, files = default_storage.listdir(folder)
    except FileNotFoundError:
        return [], []
    return list(folders), list(files)


def store_preview(analysis: Analysis, frame: int, jpeg: bytes) -> None:
    """Save a sampled frame of this try while it runs, for those who watch."""
    default_storage.save(preview_path(analysis.public_id, analysis.claim_token, frame), ContentFile(jpeg))


def preview_path(public_id: str, claim_token: str, frame: int) -> str:
    """The storage name of a sampled frame of one try of an analysis, whether it is there or not."""
    return f"analyses/{public_id}/{claim_token}/{PREVIEW_PREFIX}{frame}.jpg"


def discard_previews(analysis: Analysis, *, but_of: str = "") -> None:
    """Delete the sampled frames of all tries, `but_of` the one with this claim. What belongs to a result stays."""
    folder = f"analyses/{analysis.public_id}"
    tries, _ = _list(folder)
    for claim_token in tries:
        if claim_token == but_of:
            continue
        _, files = _list(f"{folder}/{claim_token}")
        previews = [name for name in files if name.startswith(PREVIEW_PREFIX)]
        for name in previews:
            default_storage.delete(f"{folder}/{claim_token}/{name}")
        if len(previews) == len(files):
            # A try thought dead may just be writing there: what it leaves goes with the analysis.
            with suppress(OSError):
                default_storage.delete(f"{folder}/{claim_token}")
