"""Facts about a media file, judged by its content and never by its name. Limits on length or rate are the caller's."""

from __future__ import annotations

import contextlib
import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
from av.container import InputContainer
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ml.contracts import AnalysisError, ErrorCode, MediaInfo, MediaKind
from ml.media.container import open_container, packets_of, video_stream
from ml.media.files import stat_file
from ml.media.photos import picture_format, probe_photo

# A rate outside is a broken header, not a camera.
HIGHEST_RATE = 1000.0
RATE_IF_UNKNOWN = 25.0
# How many packets may fail before the first picture; a clip cut out of a stream may begin between key frames.
PACKETS_TO_FIRST_PICTURE = 300


@dataclass(slots=True)
class _Packets:
    """What demuxing a stream showed. Times in seconds."""

    count: int = 0
    start: float = math.inf
    end: float = -math.inf
    picture: VideoFrame | None = None


def probe(path: Path | str) -> MediaInfo:
    """Facts about a video or photo.

    Photos are decoded whole. Of a video all packets are read, only the first picture is decoded: the duration and
    the number of frames are those of the packets that would be shown, since headers and edit lists lie.
    Raises AnalysisError: FILE_MISSING, UNREADABLE_MEDIA (damaged, empty, not media, too many pixels),
    NO_VIDEO_STREAM (sound only, cover art or not), UNSUPPORTED_TYPE (animated pictures, playlists, other formats).
    """
    path = Path(path)
    file_format = picture_format(path)
    if file_format is not None:
        return probe_photo(path, file_format)
    with open_container(path) as container:
        return _probe_video(container, path)


def _probe_video(container: InputContainer, path: Path) -> MediaInfo:
    stream = video_stream(container)
    has_audio = bool(container.streams.audio)
    packets = _read_packets(container, stream)
    if packets.picture is None:
        raise AnalysisError(ErrorCode.UNREADABLE_MEDIA, "no picture could be decoded")
    rotation = orientation(packets.picture).degrees
    width, height = packets.picture.width, packets.picture.height
    if rotation in {90, 270}:
        width, height = height, width
    count = max(packets.count, 1)
    duration, frame_rate = _timing(packets, stream, count)
    bit_rate = container.bit_rate or (stat_file(path).st_size * 8 / duration if duration > 0 else 0)
    return MediaInfo(
        kind=MediaKind.VIDEO,
        container=_container_name(container),
        codec=stream.codec_context.name,
        width=width,
        height=height,
        rotation=rotation,
        duration=duration,
        frame_rate=frame_rate,
        frame_count=count,
        bit_rate=max(int(bit_rate), 0),
        has_audio=has_audio,
    )


def _read_packets(container: InputContainer, stream: VideoStream) -> _Packets:
    # Frame threads would hold the first picture back, and this is one picture only.
    stream.thread_type = "NONE"
    found = _Packets()
    seen = 0
    packets = packets_of(container, stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return found
        except av.FFmpegError:
            # Cut off or damaged from here on: what was there counts.
            return found
        seen += 1
        if found.picture is None and seen <= PACKETS_TO_FIRST_PICTURE:
            # After a damaged packet the next may do; with none that does, the caller refuses the file.
            with contextlib.suppress(av.FFmpegError):
                found.picture = next(iter(packet.decode()), None)
        if packet.size == 0 or packet.is_discard:
            continue
        found.count += 1
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is not None and packet.time_base:
            start = float(ticks * packet.time_base)
            found.start = min(found.start, start)
            found.end = max(found.end, start + max(float((packet.duration or 0) * packet.time_base), 0.0))


def nominal_rate(stream: VideoStream) -> float:
    """The stream's own claim about its frame rate, or 25 where it makes none that can be true."""
    claims: tuple[Fraction | None, ...] = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    for claim in claims:
        if claim and 0 < float(claim) <= HIGHEST_RATE:
            return float(claim)
    return RATE_IF_UNKNOWN


def _timing(packets: _Packets, stream: VideoStream, count: int) -> tuple[float, float]:
    """(duration in seconds, average frames a second), both finite and above zero."""
    nominal = nominal_rate(stream)
    duration = packets.end - packets.start
    if not math.isfinite(duration) or duration <= 0:
        # No times, or a single picture without a length.
        return count / nominal, nominal
    # The length of a lone picture says nothing about a rate.
    return duration, nominal if count == 1 else count / duration


@dataclass(frozen=True, slots=True)
class Orientation:
    """How a player shows a frame: first ``mirrored`` left to right or not, then turned 0, 90, 180 or 270 ``degrees``
    clockwise."""

    mirrored: bool
    degrees: int


def orientation(frame: VideoFrame) -> Orientation:
    """As the display matrix says, if there is one."""
    try:
        # Not `frame.side_data`: the frame would hold what holds it, and stay until garbage is collected.
        matrix = cast(Any, SideDataContainer)(frame).get(SideData.DISPLAYMATRIX)
    except ValueError:
        # PyAV stumbles over kinds of side data that it does not know, as of films for two eyes.
        return Orientation(mirrored=False, degrees=round(-frame.rotation / 90) % 4 * 90)
    if matrix is None:
        return Orientation(mirrored=False, degrees=0)
    # One step to the right becomes (a, b), one down (c, d). The latter tells the turn, with a mirror or without;
    # FFmpeg's own rotation takes the former, and stands faces of front cameras on their heads.
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    # Matrices with odd angles exist; faces need the nearest quarter turn.
    turns = round(math.atan2(-c, d) / (math.pi / 2))
    return Orientation(mirrored=a * d < b * c, degrees=turns % 4 * 90)


def _container_name(container: InputContainer) -> str:
    name = container.format.name
    if name.startswith("mov,"):
        return "mov" if container.metadata.get("major_brand", "").startswith("qt") else "mp4"
    return name.split(",")[0]
