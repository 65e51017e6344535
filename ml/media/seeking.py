"""Decodes chosen frames of a video without decoding all of it, and only where that gives the very same pictures.

A first pass reads the packets and decodes nothing. Their presentation times tell which packet shows the n-th frame,
and where the decoder may start for it: at the last key frame at or before it in both orders, of decoding and of
showing, so that leading pictures of an open GOP begin one earlier. A second pass feeds the decoder only the stretches
from those starts to the frames wanted, and lets it skip pictures that no other refers to where the codec says so
reliably. Anything that leaves doubt (times missing or repeated, a clock that restarts, damage, a codec not on the
list) raises :class:`NotSeekable`, and the caller decodes in order instead.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from ml.media.container import most_threads, open_container, packets_of, video_stream

# Codecs whose key frames start afresh for all that is shown after them. Not among them: VP8, whose hidden frames are
# packets of their own, and whatever was never compared with decoding in order.
SEEKABLE_CODECS = {"h264", "hevc", "mpeg4", "mpeg1video", "mpeg2video", "vp9", "av1", "mjpeg", "prores"}
# Where "no other picture refers to it" stands in the stream itself. HEVC's flag holds within one temporal layer only.
SKIPPABLE_CODECS = {"h264", "mpeg4", "mpeg1video", "mpeg2video"}
_IDR = 5


class NotSeekable(Exception):
    """This file's frames have to be decoded in order. The text says why, for logs."""


@dataclass(frozen=True, slots=True)
class _Packet:
    """``shown`` is False for what an edit list cuts off; ``start`` where decoding may begin."""

    pts: int
    shown: bool
    start: bool


@dataclass(frozen=True, slots=True)
class PacketTable:
    """The packets of a stream in order of decoding, and the frames that they show in order of showing.

    ``frames[n]`` is the place in ``packets`` of the packet that shows frame n.
    """

    packets: tuple[_Packet, ...]
    frames: tuple[int, ...]
    codec: str

    def places_to_decode(self, wanted: Container[int]) -> set[int]:
        """Places of all packets that the `wanted` frames depend on."""
        needed: set[int] = set()
        for number, place in enumerate(self.frames):
            if number not in wanted or place in needed:
                continue
            start = place
            while not (self.packets[start].start and self.packets[start].pts <= self.packets[place].pts):
                start -= 1
            needed.update(range(start, place + 1))
        return needed


def read_packet_table(path: Path) -> PacketTable:
    """Demux the whole file. Raises NotSeekable, and AnalysisError as :func:`open_container` does."""
    packets: list[_Packet] = []
    with open_container(path) as container:
        stream = video_stream(container)
        # By its standard's name: decoders have names of their own, such as libdav1d.
        codec = stream.codec_context.codec.canonical_name
        if codec not in SEEKABLE_CODECS:
            raise NotSeekable(f"codec {codec}")
        length_prefix = _nal_length(stream.codec_context) if codec == "h264" else 0
        latest: int | None = None
        try:
            for packet in packets_of(container, stream):
                if packet.size == 0:
                    continue
                if packet.pts is None or packet.is_corrupt:
                    raise NotSeekable("a packet without a time, or damaged")
                if packet.dts is not None:
                    if latest is not None and packet.dts <= latest:
                        raise NotSeekable("the clock runs backwards")
                    latest = packet.dts
                if packets and (packet.has_sidedata("new_extradata") or packet.has_sidedata("param_change")):
                    # A packet left out must not carry what changes the decoder's setup from there on.
                    raise NotSeekable("the stream's setup changes midway")
                start = packet.is_keyframe and (codec != "h264" or _starts_with_idr(bytes(packet), length_prefix))
                packets.append(_Packet(packet.pts, not packet.is_discard, start))
        except av.FFmpegError as error:
            raise NotSeekable(f"breaks off: {error}") from error
    return _table(packets, codec)


def _table(packets: list[_Packet], codec: str) -> PacketTable:
    if not packets or not packets[0].start:
        raise NotSeekable("does not begin with a key frame")
    times = [packet.pts for packet in packets]
    if len(set(times)) != len(times):
        raise NotSeekable("two packets of one time")
    if min(times) < times[0]:
        raise NotSeekable("leading pictures before the first key frame")
    shown = [place for place, packet in enumerate(packets) if packet.shown]
    return PacketTable(tuple(packets), tuple(sorted(shown, key=lambda place: times[place])), codec)


def _nal_length(context: VideoCodecContext) -> int:
    """Bytes of the length in front of each H.264 unit; 0 where start codes part them."""
    setup = context.extradata or b""
    # An avcC box begins with version 1 and has the length in its fifth byte (ISO/IEC 14496-15, 5.3.3.1).
    return (setup[4] & 3) + 1 if len(setup) > 6 and setup[0] == 1 else 0


def _starts_with_idr(data: bytes, length_prefix: int) -> bool:
    """Whether an H.264 key frame is an IDR picture. Others (recovery points) may only promise to look right soon."""
    if length_prefix:
        position = 0
        while position + length_prefix < len(data):
            size = int.from_bytes(data[position : position + length_prefix], "big")
            position += length_prefix
            if data[position] & 31 == _IDR:
                return True
            position += size
        return False
    position = data.find(b"\0\0\1")
    while 0 <= position < len(data) - 3:
        if data[position + 3] & 31 == _IDR:
            return True
        position = data.find(b"\0\0\1", position + 3)
    return False


class KeyFrameReader:
    """Decodes the `wanted` frames (numbers in order of showing) by way of the key frames before them.

    After the iteration `decoded` is the number of pictures that were decoded for it.
    """

    def __init__(self, path: Path, table: PacketTable, wanted: Container[int]) -> None:
        self.path = path
        self.table = table
        self.decoded = 0
        self._numbers = {table.packets[place].pts: n for n, place in enumerate(table.frames) if n in wanted}
        self._needed = table.places_to_decode(wanted)

    @property
    def share(self) -> float:
        """Share of the packets that it feeds to the decoder."""
        return len(self._needed) / len(self.table.packets)

    def __iter__(self) -> Iterator[tuple[int, float, av.VideoFrame]]:
        """Each frame with its number and its seconds after the first.

        Raises NotSeekable as soon as the file turns out other than its table says: what came before is void."""
        missing = set(self._numbers.values())
        first = self.table.packets[self.table.frames[0]].pts
        for frame in self._frames():
            self.decoded += 1
            number = self._numbers.get(frame.pts) if frame.pts is not None else None
            if number is None or frame.time is None or frame.time_base is None:
                continue
            if frame.is_corrupt or number not in missing:
                raise NotSeekable(f"frame {number} came out damaged or twice")
            missing.discard(number)
            yield number, frame.time - float(first * frame.time_base), frame
        if missing:
            raise NotSeekable(f"{len(missing)} frames did not come out")

    def _frames(self) -> Iterator[av.VideoFrame]:
        """The decoder's output, whose time base PyAV leaves open unless a packet decodes itself."""
        with open_container(self.path) as container:
            stream = video_stream(container)
            context = stream.codec_context
            stream.thread_type = "AUTO"
            stream.thread_count = most_threads()
            skips = self.table.codec in SKIPPABLE_CODECS
            fed = False
            try:
                packets = (packet for packet in packets_of(container, stream) if packet.size)
                for place, packet in enumerate(packets):
                    if place >= len(self.table.packets) or packet.pts != self.table.packets[place].pts:
                        raise NotSeekable("two passes over the file differ")
                    if place in self._needed:
                        if skips:
                            context.skip_frame = "DEFAULT" if packet.pts in self._numbers else "NONREF"
                        yield from self._timed(context.decode(packet), stream)
                        fed = True
                    elif fed:
                        yield from self._timed(self._drain(context), stream)
                        fed = False
                yield from self._timed(self._drain(context), stream)
            except av.FFmpegError as error:
                raise NotSeekable(f"does not decode: {error}") from error

    @staticmethod
    def _timed(frames: Iterable[av.VideoFrame], stream: VideoStream) -> Iterator[av.VideoFrame]:
        for frame in frames:
            frame.time_base = stream.time_base
            yield frame

    @staticmethod
    def _drain(context: VideoCodecContext) -> list[av.VideoFrame]:
        """What the decoder still holds back; afterwards it is ready for another start."""
        frames = context.decode(None)
        context.flush_buffers()
        return frames
