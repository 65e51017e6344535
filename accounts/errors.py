"""Everything that can be refused or fail, each with its machine name, HTTP status and plain text.

The machine names are part of the published API. A user only ever sees the text that belongs to a name, never
``str()`` of an exception.
"""

from __future__ import annotations

import errno
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


class Code(StrEnum):
    FILE_MISSING = "file_missing"
    FILE_TOO_LARGE = "file_too_large"
    VIDEO_TOO_LONG = "video_too_long"
    FPS_TOO_HIGH = "fps_too_high"
    NO_VIDEO_STREAM = "no_video_stream"
    UNREADABLE_MEDIA = "unreadable_media"
    UNSUPPORTED_TYPE = "unsupported_type"
    RATE_LIMITED = "rate_limited"
    TOO_OFTEN = "too_often"
    NOT_AUTHENTICATED = "not_authenticated"
    SECOND_FACTOR_REQUIRED = "second_factor_required"
    PASSKEY_REFUSED = "passkey_refused"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    USER_NOT_FOUND = "user_not_found"
    VIDEO_NOT_FOUND = "video_not_found"
    IMAGE_NOT_FOUND = "image_not_found"
    NOT_FINISHED = "not_finished"
    NO_RESULT = "no_result"
    ALREADY_EXISTS = "already_exists"
    INVALID_FIELD = "invalid_field"
    KEY_REUSED = "idempotency_key_reused"
    UPLOAD_CONFLICT = "upload_conflict"
    UPLOAD_UNFINISHED = "upload_unfinished"
    UPLOAD_LOCKED = "upload_locked"
    UPLOAD_TOO_LARGE = "upload_too_large"
    TOO_MANY_UPLOADS = "too_many_uploads"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    TUS_VERSION = "tus_version_not_supported"
    NOT_FAILED = "not_failed"
    CASE_CLOSED = "case_closed"
    DOCUMENT_OUTDATED = "document_outdated"
    LINK_NOT_SUPPORTED = "link_not_supported"
    LINK_UNREACHABLE = "link_unreachable"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_ACCEPTABLE = "not_acceptable"
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable"
    BODY_NOT_SUPPORTED = "body_not_supported"
    MODEL_UNAVAILABLE = "model_unavailable"
    LANGUAGE_UNAVAILABLE = "language_unavailable"
    REPORTS_BUSY = "reports_busy"
    TOO_SLOW = "too_slow"
    UNAVAILABLE = "unavailable"
    STORAGE_FULL = "storage_full"
    STORAGE_AWAY = "storage_unavailable"
    FILE_DAMAGED = "stored_file_damaged"
    INTERNAL_ERROR = "internal_error"


STATUS: dict[Code, int] = {
    Code.FILE_MISSING: 400,
    Code.FILE_TOO_LARGE: 412,
    Code.VIDEO_TOO_LONG: 413,
    Code.FPS_TOO_HIGH: 413,
    Code.NO_VIDEO_STREAM: 422,
    Code.UNREADABLE_MEDIA: 422,
    Code.UNSUPPORTED_TYPE: 422,
    Code.RATE_LIMITED: 429,
    Code.TOO_OFTEN: 429,
    Code.NOT_AUTHENTICATED: 401,
    Code.SECOND_FACTOR_REQUIRED: 401,
    Code.PASSKEY_REFUSED: 400,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.USER_NOT_FOUND: 404,
    Code.VIDEO_NOT_FOUND: 404,
    Code.IMAGE_NOT_FOUND: 404,
    Code.NOT_FINISHED: 409,
    Code.NO_RESULT: 409,
    Code.ALREADY_EXISTS: 409,
    Code.INVALID_FIELD: 400,
    Code.KEY_REUSED: 422,
    Code.UPLOAD_CONFLICT: 409,
    Code.UPLOAD_UNFINISHED: 409,
    Code.UPLOAD_LOCKED: 423,
    # The tus protocol wants this number where the eleven endpoints answer 412, and has that for versions.
    Code.UPLOAD_TOO_LARGE: 413,
    Code.TOO_MANY_UPLOADS: 409,
    # Also the tus protocol's, and nobody else's.
    Code.CHECKSUM_MISMATCH: 460,
    Code.TUS_VERSION: 412,
    Code.NOT_FAILED: 409,
    Code.CASE_CLOSED: 409,
    Code.DOCUMENT_OUTDATED: 410,
    Code.LINK_NOT_SUPPORTED: 422,
    Code.LINK_UNREACHABLE: 422,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.NOT_ACCEPTABLE: 406,
    Code.BODY_NOT_SUPPORTED: 415,
    Code.RANGE_NOT_SATISFIABLE: 416,
    Code.MODEL_UNAVAILABLE: 503,
    Code.LANGUAGE_UNAVAILABLE: 503,
    Code.REPORTS_BUSY: 503,
    Code.TOO_SLOW: 408,
    Code.UNAVAILABLE: 503,
    Code.STORAGE_FULL: 503,
    Code.STORAGE_AWAY: 503,
    Code.FILE_DAMAGED: 500,
    Code.INTERNAL_ERROR: 500,
}

TEXTS: dict[Code, Promise | str] = {
    Code.FILE_MISSING: _("Choose a video or a photo first."),
    Code.FILE_TOO_LARGE: _("The file is larger than %(megabytes)s MB."),
    Code.VIDEO_TOO_LONG: _(
        "The video is longer than %(seconds)s seconds. Cut out the part that matters and try again."
    ),
    Code.FPS_TOO_HIGH: _("The video has more than %(frame_rate)s frames a second."),
    Code.NO_VIDEO_STREAM: _("There is no picture in this file: it holds sound only."),
    Code.UNREADABLE_MEDIA: _("This file cannot be read as a video or a photo. It may be damaged or incomplete."),
    Code.UNSUPPORTED_TYPE: _("This kind of file cannot be examined."),
    Code.RATE_LIMITED: _(
        "You have used all %(limit)s classifications of today. There are new ones at midnight, Indian time."
    ),
    Code.TOO_OFTEN: _("This was changed too often today. Try again tomorrow."),
    Code.NOT_AUTHENTICATED: _("Log in first."),
    Code.SECOND_FACTOR_REQUIRED: _("This account is also protected by a code: give the one that your app shows now."),
    Code.PASSKEY_REFUSED: _("The passkey was not accepted. Try again, or log in in another way."),
    Code.FORBIDDEN: _("You are not allowed to do this."),
    Code.NOT_FOUND: _("There is nothing here."),
    # The phone apps' contract has these two word for word: they are the same in every language.
    Code.USER_NOT_FOUND: "User not found",
    Code.VIDEO_NOT_FOUND: "Video not found",
    Code.IMAGE_NOT_FOUND: _("Image not found"),
    Code.NOT_FINISHED: _("The examination is not finished yet."),
    Code.NO_RESULT: _("The examination failed, so there is no report. Have the file examined again."),
    Code.ALREADY_EXISTS: _("This user name or e-mail address is taken."),
    Code.INVALID_FIELD: _("Something in the request is not right."),
    Code.KEY_REUSED: _("This Idempotency-Key was used for another file."),
    Code.UPLOAD_CONFLICT: _("The upload stands elsewhere than this part begins: ask how far it is and go on there."),
    Code.UPLOAD_UNFINISHED: _("The upload is not complete yet: send the rest first."),
    Code.UPLOAD_LOCKED: _("Another request is at work on this upload. Try again in a moment."),
    Code.UPLOAD_TOO_LARGE: _("The file is larger than %(megabytes)s MB, or than was announced."),
    Code.TOO_MANY_UPLOADS: _("You have %(uploads)s uploads open. Have one examined or delete one first."),
    Code.CHECKSUM_MISMATCH: _("The part did not arrive as it was sent. Send it again."),
    Code.TUS_VERSION: _("This address speaks version 1.0.0 of the tus protocol."),
    Code.NOT_FAILED: _("Only a failed examination can be tried again."),
    Code.CASE_CLOSED: _("This case is closed. Its owner can reopen it."),
    Code.DOCUMENT_OUTDATED: _("A file in it was deleted or taken out of the case. Make it again."),
    Code.LINK_NOT_SUPPORTED: _("This site does not let us fetch the video. Download it yourself and upload the file."),
    Code.LINK_UNREACHABLE: _(
        "The video at this link could not be fetched. Check the link, or download it yourself and upload the file."
    ),
    Code.METHOD_NOT_ALLOWED: _("This address does not take such requests."),
    Code.NOT_ACCEPTABLE: _("This answer cannot be had in the format asked for."),
    Code.BODY_NOT_SUPPORTED: _("This address does not take bodies of this type."),
    Code.RANGE_NOT_SATISFIABLE: _("The file ends before the part that was asked for."),
    Code.MODEL_UNAVAILABLE: _("The detector could not be loaded. The file is kept: try again later."),
    Code.LANGUAGE_UNAVAILABLE: _("This server cannot make reports in this language. Ask for the English one."),
    Code.REPORTS_BUSY: _("Many reports are being made just now. Try again in a moment."),
    Code.TOO_SLOW: _("The file stopped coming, so the connection was given up. Try again."),
    Code.UNAVAILABLE: _(
        "The site cannot reach its database just now. What was accepted is kept. Try again in a moment."
    ),
    Code.STORAGE_FULL: _("There is no room for more files just now. Nothing was counted: try again in a few minutes."),
    Code.STORAGE_AWAY: _("Files cannot be reached just now. Nothing was lost or counted: try again in a few minutes."),
    Code.FILE_DAMAGED: _(
        "The file kept here is no longer as it was received, so it was not examined. Upload it once more."
    ),
    Code.INTERNAL_ERROR: _("Something went wrong on our side. The file is kept: try again."),
}

# Says more than the text of FORBIDDEN where a page's mark against forged requests is not the browser's any more.
PAGE_OUTDATED_CODE = "page_outdated"
PAGE_OUTDATED = _("You logged in or out in another tab since this page was opened. Reload it and try again.")

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


class SentinelError(Exception):
    """A refusal or failure with a machine name.

    ``text`` says more than the usual text of the code; ``params`` fill the placeholders of either. ``headers`` go
    with an HTTP answer. ``errors`` say what is wrong with which field.
    """

    def __init__(
        self,
        code: Code,
        *,
        text: Promise | str | None = None,
        headers: dict[str, str] | None = None,
        errors: dict[str, list[str]] | None = None,
        **params: Any,
    ) -> None:
        super().__init__(str(code))
        self.code = code
        self._text = text
        self.params = params
        self.headers = headers or {}
        self.errors = errors or {}

    @property
    def status(self) -> int:
        return STATUS[self.code]

    @property
    def text(self) -> str:
        """The text in the active language."""
        if self._text is not None:
            return str(self._text) % self.params if self.params else str(self._text)
        return text_of(self.code, **self.params)


def is_disk_full(error: BaseException) -> bool:
    """Whether an OSError says that a disk, or one's share of it, has no room left."""
    return isinstance(error, OSError) and error.errno in _DISK_FULL


def text_of(code: Code | str, **params: Any) -> str:
    """The plain text of a machine name in the active language; of an unknown one, that of an internal error."""
    known = Code(code) if code in set(Code) else Code.INTERNAL_ERROR
    defaults = {
        "megabytes": settings.SENTINEL_MAX_UPLOAD_BYTES // (1024 * 1024),
        "seconds": settings.SENTINEL_MAX_DURATION_SECONDS,
        "frame_rate": settings.SENTINEL_MAX_FRAME_RATE,
        "limit": settings.SENTINEL_DAILY_LIMIT,
        "uploads": settings.SENTINEL_MAX_UPLOADS,
    }
    return gettext(str(TEXTS[known])) % {**defaults, **params} if "%(" in str(TEXTS[known]) else str(TEXTS[known])
