"""Opens a video file so that only this file is read and only as a video: the one place that calls ``av.open``.

FFmpeg knows formats that are instructions rather than media: playlists (``hls``, ``concat``, ``dash``), image
patterns, capture devices, subtitles. An uploaded text file of that kind would have it read other files or the
network. Hence a list of allowed demuxers, a file object instead of a path, and no protocol but that object.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from ml.contracts import AnalysisError, ErrorCode
from ml.media.files import open_file, stat_file

# Demuxers that hold video, by FFmpeg's names, then some that hold only sound, so that a sound file is told
# "no video stream" rather than "unsupported".
VIDEO_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,vvc,flv,live_flv,asf,ogg,"
    "mxf,gxf,dv,nut,rm,wtv,yuv4mpegpipe,vc1,h263,h261,dirac,nsv"
)
SOUND_FORMATS = "mp3,wav,w64,flac,aac,ac3,eac3,aiff,au,amr,amrnb,amrwb,caf,dts,opus,tta,wv,ape"

# 8K. Larger pictures are refused by the decoder itself before it allocates them.
MAX_VIDEO_PIXELS = 8192 * 4352

_BUFFER_BYTES = 1 << 18
# Each decoding thread keeps a frame of its own: on hosts with many cores 8K clips would take gigabytes.
_MOST_THREADS = 8


class _Nameless:
    """The three methods that PyAV calls. Without a name, FFmpeg cannot let the suffix decide about the format."""

    def __init__(self, stream: BinaryIO) -> None:
        self.read = stream.read
        self.seek = stream.seek
        self.tell = stream.tell


# First bytes, with their offset, of the usual video files and of the pictures that are taken.
_SIGNATURES = (
    (4, b"ftyp"),
    (4, b"moov"),
    (4, b"mdat"),
    (0, b"\x1a\x45\xdf\xa3"),
    (8, b"AVI "),
    (8, b"WEBP"),
    (0, b"\x00\x00\x01\xba"),
    (0, b"\x00\x00\x01\xb3"),
    (0, b"\x47\x40"),
    (0, b"FLV\x01"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    (0, b"OggS"),
    (0, b"\xff\xd8\xff"),
    (0, b"\x89PNG\r\n\x1a\n"),
)


def has_media_signature(path: Path) -> bool:
    """Whether a file begins like a video or photo, sound or not: tells a damaged one from something else altogether."""
    try:
        # Opening a pipe would wait for whoever writes into it.
        check_regular_file(path)
        with open_file(path) as stream:
            head = stream.read(16)
    except (AnalysisError, OSError):
        return False
    return any(head[offset:].startswith(signature) for offset, signature in _SIGNATURES)


def check_regular_file(path: Path) -> int:
    """Size in bytes of a regular file with content.

    Raises AnalysisError: FILE_MISSING where there is nothing, UNREADABLE_MEDIA for folders, pipes, empty files and
    files without permission.
    """
    try:
        found = stat_file(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AnalysisError(ErrorCode.FILE_MISSING, str(path)) from error
    except (OSError, ValueError) as error:
        raise AnalysisError(ErrorCode.UNREADABLE_MEDIA, str(error)) from error
    if not stat.S_ISREG(found.st_mode):
        raise AnalysisError(ErrorCode.UNREADABLE_MEDIA, f"not a regular file: {path}")
    if found.st_size == 0:
        raise AnalysisError(ErrorCode.UNREADABLE_MEDIA, f"empty file: {path}")
    return found.st_size


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """Open a media file for demuxing.

    Raises AnalysisError: FILE_MISSING, UNREADABLE_MEDIA where no allowed format fits, UNSUPPORTED_TYPE where FFmpeg
    recognises a format that is not a video's (picture, playlist, subtitle).
    """
    check_regular_file(path)
    options = {
        "format_whitelist": f"{VIDEO_FORMATS},{SOUND_FORMATS}",
        "protocol_whitelist": "file",
        "max_pixels": str(MAX_VIDEO_PIXELS),
    }
    try:
        with open_file(path) as stream:
            try:
                container = av.open(
                    _Nameless(stream), "r", options=options, metadata_errors="replace", buffer_size=_BUFFER_BYTES
                )
            except (av.FFmpegError, ValueError, OverflowError) as error:
                raise _opening_error(error) from error
            with container:
                yield container
    except PermissionError as error:
        raise AnalysisError(ErrorCode.UNREADABLE_MEDIA, str(error)) from error


def _opening_error(error: Exception) -> AnalysisError:
    # FFmpeg answers EINVAL, and only then, for a format that it recognises and that is not on the list.
    if isinstance(error, av.FFmpegError) and error.errno == errno.EINVAL:
        return AnalysisError(ErrorCode.UNSUPPORTED_TYPE, f"format not allowed: {error}")
    return AnalysisError(ErrorCode.UNREADABLE_MEDIA, str(error))


@cache
def most_threads() -> int:
    """How many threads a decoder may use."""
    return min(os.cpu_count() or 1, _MOST_THREADS)


def packets_of(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The stream's packets, then an empty one that flushes the decoder.

    Raises av.FFmpegError where the file breaks off.
    """
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except IndexError:
            # A transport stream may announce more streams midway, and PyAV stumbles over their packets. The
            # container has moved past the packet, so go on after it.
            packets = container.demux(stream)
            continue
        yield packet


def video_stream(container: InputContainer) -> VideoStream:
    """The main moving picture, every other stream set to be skipped.

    Cover art does not count. Raises AnalysisError: NO_VIDEO_STREAM; UNSUPPORTED_TYPE where no decoder is known.
    """
    not_moving = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    moving = [stream for stream in container.streams.video if not stream.disposition & not_moving]
    if not moving:
        raise AnalysisError(ErrorCode.NO_VIDEO_STREAM)
    best = container.streams.best("video")
    chosen = next((stream for stream in moving if best is not None and stream.index == best.index), moving[0])
    if chosen.codec_context is None:
        raise AnalysisError(ErrorCode.UNSUPPORTED_TYPE, "no decoder for the video stream")
    for stream in container.streams:
        if stream.index != chosen.index:
            stream.discard = Discard.all
    return chosen
