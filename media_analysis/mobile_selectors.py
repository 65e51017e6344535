"""What the phone apps read: files by the published ids and names, and the whole history at once.

Published names of files are made of their ids: ``video-<id>.mp4``, ``image-<id>.jpg``, with the 24 characters of the
file's public id, so that a name leads back to one file. An image's is that of its labelled picture, always a JPEG.
"""

from __future__ import annotations

import re
from datetime import UTC
from typing import Any

from django.core.files.storage import default_storage
from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts import limits
from accounts.errors import Code, SentinelError
from accounts.ids import PUBLIC_ID_PATTERN
from accounts.models import User
from media_analysis import evidence, selectors
from media_analysis.models import Analysis, Feedback, Media, Submission

IMAGE_FILE = re.compile(rf"image-({PUBLIC_ID_PATTERN})\.jpg")
# By FFmpeg's name of the container, which the probe stores; what is not listed is its own suffix.
SUFFIXES = {"matroska": "mkv", "mpegts": "ts", "mpegvideo": "mpg", "mpeg": "mpg", "asf": "wmv"}
NOT_FOUND = {Media.Kind.VIDEO: Code.VIDEO_NOT_FOUND, Media.Kind.IMAGE: Code.IMAGE_NOT_FOUND}
NOT_YOURS: dict[Media.Kind, Promise | str] = {
    # The contract has the first word for word: it is the same in every language.
    Media.Kind.VIDEO: "Video doesn't belong to the user",
    Media.Kind.IMAGE: _("Image doesn't belong to the user"),
}
# A certainty that no detector has is never told.
MOST_CERTAIN = 99.9
CHUNK_ROWS = 1000

ANALYSIS_COLUMNS = (
    "public_id",
    "status",
    "outcome",
    "reason",
    "error_code",
    "confidence",
    "real_frames",
    "fake_frames",
    "timestamps",
    "seconds",
)
MEDIA_COLUMNS = (
    "public_id",
    "kind",
    "container",
    "md5",
    "sha256",
    "duration",
    "frame_count",
    "frame_rate",
    "size",
    "created_at",
)


class HistoryStatus(models.TextChoices):
    """What the published history says of a file."""

    PROCESSING = "PROCESSING"
    REAL = Analysis.Outcome.REAL.value
    FAKE = Analysis.Outcome.FAKE.value
    INCONCLUSIVE = Analysis.Outcome.INCONCLUSIVE.value
    NOT_ASSESSABLE = Analysis.Outcome.NOT_ASSESSABLE.value
    FAILED = "FAILED"


def not_yours(kind: Media.Kind) -> SentinelError:
    return SentinelError(Code.FORBIDDEN, text=NOT_YOURS[kind])


def get_media(user: User, public_id: str, kind: Media.Kind) -> Media:
    """A file of `user` by its published id.

    Raises ``video_not_found`` or ``image_not_found`` for an id that no file of this kind has, and ``forbidden`` for
    somebody else's: the published contract, which lets its existence be known.
    """
    media = Media.objects.filter(public_id=public_id, kind=kind, deleted_at__isnull=True).first()
    if media is None:
        raise SentinelError(NOT_FOUND[kind])
    if media.owner_id != user.pk:
        raise not_yours(kind)
    return media


def latest_analysis(media: Media) -> Analysis:
    """The analysis that the published answers are about. Raises ``video_not_found`` or ``image_not_found``."""
    analysis = selectors.standing(media.analyses.all()).order_by("-created_at", "-id").first()
    if analysis is None:
        raise SentinelError(NOT_FOUND[Media.Kind(media.kind)])
    return analysis


def labelled_picture(analysis: Analysis) -> str:
    """Its name in the storage. Raises ``image_not_found`` if there is none: not finished, or older than they are."""
    stored = evidence.find(analysis, evidence.LABELLED_NAME)
    if stored is None or not default_storage.exists(stored):
        raise SentinelError(Code.IMAGE_NOT_FOUND)
    return stored


def file_name(kind: str, public_id: str, container: str) -> str:
    """The published name of a file."""
    if kind == Media.Kind.IMAGE:
        return f"image-{public_id}.jpg"
    # Without a suffix while the file of a link is still to come: its content decides.
    return f"video-{public_id}.{SUFFIXES.get(container, container)}".rstrip(".")


def id_in_image_file(name: str) -> str:
    """The id of the image whose published name this is. Raises ``image_not_found`` for anything else."""
    match = IMAGE_FILE.fullmatch(name)
    if match is None:
        raise SentinelError(Code.IMAGE_NOT_FOUND)
    return match.group(1)


def history(user: User) -> tuple[dict[str, Any], dict[str, str]]:
    """Everything of `user`, oldest first, as the published answer has it: four queries however much there is.

    `vid` and `img` say what the user said of each file, `vdata` and `idata` what was found, in the same order. Beside
    the answer: of each file whose result it shows, by its public id, the public id of the analysis.
    """
    opinions = {
        analysis: f"{opinion}: {comment}" if comment else opinion
        for analysis, opinion, comment in Feedback.objects.filter(
            given_by=user, analysis__media__owner=user
        ).values_list("analysis_id", "opinion", "comment")
    }
    tweets = _tweets(user)
    rows = (
        selectors.standing(Analysis.objects.filter(selectors.of_own_files(user)))
        # Of several analyses of one file the latest comes last, and stays.
        .order_by("media__created_at", "media_id", "created_at", "id")
        .values("id", "media_id", *ANALYSIS_COLUMNS, *(f"media__{name}" for name in MEDIA_COLUMNS))
    )
    said: dict[str, dict[int, dict[str, str]]] = {kind: {} for kind in Media.Kind.values}
    found: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in Media.Kind.values}
    shown: dict[str, str] = {}
    for row in rows.iterator(chunk_size=CHUNK_ROWS):
        kind, key = row["media__kind"], row["media_id"]
        said[kind][key] = {
            "feedback": opinions.get(row["id"], ""),
            "tweetId": tweets.get(key, ""),
            "_id": row["media__public_id"],
        }
        found[kind][key] = _found(row)
        shown.pop(row["media__public_id"], None)
        if row["status"] in {Analysis.Status.DONE, Analysis.Status.FAILED}:
            shown[row["media__public_id"]] = row["public_id"]
    videos, images = Media.Kind.VIDEO, Media.Kind.IMAGE
    answer = {
        "data": {
            "id": user.public_id,
            "vid": list(said[videos].values()),
            "img": list(said[images].values()),
            "remaining": limits.remaining(user),
        },
        "vdata": list(found[videos].values()),
        "idata": list(found[images].values()),
    }
    return answer, shown


def _tweets(user: User) -> dict[int, str]:
    """Of each file of `user` that the bot handed in, by its key: the number of the tweet, the first of several."""
    asked = Submission.objects.filter(
        submitted_by=user, source=Submission.Source.BOT, idempotency_key__startswith=Submission.TWEET_KEY
    )
    keys = asked.order_by("-created_at", "-pk").values_list("media_id", "idempotency_key")
    return {media_id: str(key).removeprefix(Submission.TWEET_KEY) for media_id, key in keys}


def _found(row: dict[str, Any]) -> dict[str, Any]:
    """One file with what was found, under the published names, which say `bitrate` and mean the number of frames."""
    status, reason = _status(row)
    confidence, real, fake, seconds = row["confidence"], row["real_frames"], row["fake_frames"], row["seconds"]
    found = {
        "_id": row["media__public_id"],
        "fileName": file_name(row["media__kind"], row["media__public_id"], row["media__container"]),
        "status": status,
        "confidence": None if confidence is None else min(round(confidence, 1), MOST_CERTAIN),
        "realToFakeRatio": round(real / fake, 3) if fake and real is not None else None,
        "timestamps": row["timestamps"],
        "fileChecksum": row["media__md5"],
        "sha256": row["media__sha256"],
        "duration": round(row["media__duration"], 6),
        "bitrate": row["media__frame_count"],
        "fps": round(row["media__frame_rate"], 6),
        "fileSize": row["media__size"],
        "timeToProcess": None if seconds is None else round(1000 * seconds, 1),
        "createdAt": row["media__created_at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return {**found, "reason": reason} if reason else found


def _status(row: dict[str, Any]) -> tuple[str, str]:
    """The published status, and the machine name of the reason where there is one."""
    if row["status"] == Analysis.Status.DONE:
        return row["outcome"], row["reason"]
    if row["status"] == Analysis.Status.FAILED:
        return HistoryStatus.FAILED.value, row["error_code"]
    return HistoryStatus.PROCESSING.value, ""
