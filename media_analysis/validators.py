"""What is let in: limits on size, duration and frame rate, judged on what the decoder says of the content."""

from __future__ import annotations

import math

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from accounts.errors import Code, SentinelError
from media_analysis.uploads import StagedFile
from ml.contracts import AnalysisError, MediaInfo, MediaKind
from ml.media.sandbox import probe


def validate_size(size: int) -> None:
    """Raises ``file_too_large``."""
    if size > settings.SENTINEL_MAX_UPLOAD_BYTES:
        raise SentinelError(Code.FILE_TOO_LARGE)


def wrong_kind(wanted: MediaKind) -> SentinelError:
    """The refusal of a photo where a video is wanted, or of a video where a photo is."""
    if wanted is MediaKind.VIDEO:
        return SentinelError(Code.NO_VIDEO_STREAM, text=_("This file is a photo, not a video."))
    return SentinelError(Code.UNSUPPORTED_TYPE, text=_("This file is a video, not a photo."))


def probe_media(staged: StagedFile, *, kind: MediaKind | None = None) -> MediaInfo:
    """The facts about a staged file, if it may come in, and is of the `kind` wanted where one is.

    Raises ``file_too_large``, ``unreadable_media``, ``no_video_stream``, ``unsupported_type``, ``video_too_long`` or
    ``fps_too_high``.
    """
    validate_size(staged.size)
    try:
        info = probe(staged.path)
    except AnalysisError as error:
        raise SentinelError(Code(error.code)) from error
    if kind is not None and info.kind is not kind:
        raise wrong_kind(kind)
    if info.kind is MediaKind.VIDEO:
        # A fraction over is not over: 60.4 s and 30.03 frames a second come in, 61 s and 31 do not.
        if math.floor(info.duration) > settings.SENTINEL_MAX_DURATION_SECONDS:
            raise SentinelError(Code.VIDEO_TOO_LONG)
        if math.floor(info.frame_rate) > settings.SENTINEL_MAX_FRAME_RATE:
            raise SentinelError(Code.FPS_TOO_HIGH)
    return info
