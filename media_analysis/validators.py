"""What is let in: limits on size, duration and frame rate, judged on what the decoder says of the content."""

from __future__ import annotations

import math

from django.conf import settings

from accounts.errors import Code, SentinelError
from media_analysis.uploads import StagedFile
from ml.contracts import AnalysisError, MediaInfo, MediaKind
from ml.media.probe import probe


def validate_size(size: int) -> None:
    """Raises ``file_too_large``."""
    if size > settings.SENTINEL_MAX_UPLOAD_BYTES:
        raise SentinelError(Code.FILE_TOO_LARGE)


def probe_media(staged: StagedFile) -> MediaInfo:
    """The facts about a staged file, if it may come in.

    Raises ``file_too_large``, ``unreadable_media``, ``no_video_stream``, ``unsupported_type``, ``video_too_long`` or
    ``fps_too_high``.
    """
    validate_size(staged.size)
    try:
        info = probe(staged.path)
    except AnalysisError as error:
        raise SentinelError(Code(error.code)) from error
    if info.kind is MediaKind.VIDEO:
        # A fraction over is not over: 60.4 s and 30.03 frames a second come in, 61 s and 31 do not.
        if math.floor(info.duration) > settings.SENTINEL_MAX_DURATION_SECONDS:
            raise SentinelError(Code.VIDEO_TOO_LONG)
        if math.floor(info.frame_rate) > settings.SENTINEL_MAX_FRAME_RATE:
            raise SentinelError(Code.FPS_TOO_HIGH)
    return info
