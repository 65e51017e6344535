"""Frames of a video, chosen evenly; of long ones only what the chosen frames depend on is decoded.

Seeking as players do lands on wrong frames where the rate varies, and decodes the same stretches again and again:
see :mod:`ml.media.seeking` for what is done instead. Frame counts in headers and even counts of packets lie; where
there is doubt, all frames are decoded in order and what counts is what decodes.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from ml.contracts import AnalysisError, ErrorCode
from ml.media.container import most_threads, open_container, packets_of, video_stream
from ml.media.probe import nominal_rate, orientation, probe
from ml.media.seeking import KeyFrameReader, NotSeekable, read_packet_table

SAMPLED_FRAMES = 32
# A file of fewer frames for each one wanted is decoded in order: there is little to save, and that checks all of it.
SEEK_FROM = 4

logger = logging.getLogger(__name__)


class Decoding(StrEnum):
    """How the sampled frames were reached."""

    IN_ORDER = "in_order"
    BETWEEN_KEY_FRAMES = "between_key_frames"


@dataclass(frozen=True, slots=True, eq=False)
class VideoPicture:
    """One frame: its index among those that decode, seconds after the first, upright RGB (height, width, 3) uint8."""

    index: int
    time: float
    pixels: NDArray[np.uint8]


def sample_indices(total: int, count: int = SAMPLED_FRAMES) -> list[int]:
    """`count` indices spread evenly over `total` frames, first and last among them, truncated as the reference does.

    Fewer frames than `count` give each index once.
    """
    if total <= 0 or count <= 0:
        return []
    return sorted(set(np.linspace(0, total - 1, count).astype(int).tolist()))


class FrameReader:
    """One pass over a video that hands out the frames whose index is in `wanted`.

    After the iteration `decoded` is the number of frames that decode, `damaged` the number of packets that did not
    (a damaged one may still leave a picture with errors in it).
    """

    def __init__(self, path: Path, wanted: Container[int]) -> None:
        self.path = path
        self.wanted = wanted
        self.decoded = 0
        self.damaged = 0

    def __iter__(self) -> Iterator[VideoPicture]:
        """Raises AnalysisError as :func:`ml.media.container.open_container` does."""
        self.decoded = self.damaged = 0
        with open_container(self.path) as container:
            stream = video_stream(container)
            stream.thread_type = "AUTO"
            stream.thread_count = most_threads()
            rate = nominal_rate(stream)
            origin: float | None = None
            latest = 0.0
            for frame in self._frames(packets_of(container, stream)):
                index = self.decoded
                self.decoded += 1
                time = frame.time if frame.pts is not None and frame.time_base else None
                if origin is None:
                    origin = time if time is not None else 0.0
                # Never backwards: streams joined together start their clock again.
                latest = max(latest, time - origin if time is not None else index / rate)
                if index in self.wanted:
                    yield VideoPicture(index, latest, _upright(frame))

    def _frames(self, packets: Iterator[av.Packet[av.VideoStream]]) -> Iterator[av.VideoFrame]:
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError:
                # The container breaks off here. What came before stands.
                self.damaged += 1
                return
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self.damaged += 1
                continue
            yield from frames


def _upright(frame: av.VideoFrame) -> NDArray[np.uint8]:
    pixels = frame.to_ndarray(format="rgb24")
    shown = orientation(frame)
    if shown.mirrored:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(np.rot90(pixels, -(shown.degrees // 90)), dtype=np.uint8)


class FrameSampler:
    """Evenly spaced frames of a video, one at a time, so that memory holds one however long or large the video is.

    It first trusts the number of frames that demuxing found. If another number decodes, the video is read again for
    the frames then missing. So when the iteration has ended, `indices` says which of the frames given are the
    sample: one that is not among them is to be dropped, and of one given twice the later holds.

    Afterwards `total` is the number of frames in the file, `decoded` how many of them were decoded, `damaged` the
    number of packets that failed, and `decoding` how they were reached.
    """

    def __init__(self, path: Path | str, count: int = SAMPLED_FRAMES, *, claimed: int | None = None) -> None:
        """`claimed` is the number of frames that :func:`ml.media.probe.probe` found; it is called if none is given."""
        self.path = Path(path)
        self.count = count
        self._claimed = claimed
        self.indices: list[int] = []
        self.total = 0
        self.decoded = 0
        self.damaged = 0
        self.decoding = Decoding.IN_ORDER

    def __iter__(self) -> Iterator[VideoPicture]:
        """Raises AnalysisError: UNREADABLE_MEDIA if nothing decodes, and what opening raises."""
        claimed = self._claimed if self._claimed is not None else probe(self.path).frame_count
        if claimed >= SEEK_FROM * self.count:
            try:
                yield from self._between_key_frames(claimed)
                return
            except NotSeekable as reason:
                logger.info("%s is decoded in order: %s", self.path, reason)
        self.decoding = Decoding.IN_ORDER
        yield from self._in_order(claimed)

    def _between_key_frames(self, claimed: int) -> Iterator[VideoPicture]:
        table = read_packet_table(self.path)
        self.total = len(table.frames)
        if self.total != claimed:
            raise NotSeekable(f"{self.total} packets, {claimed} before")
        self.indices = sample_indices(self.total, self.count)
        self.decoding, self.damaged = Decoding.BETWEEN_KEY_FRAMES, 0
        reader = KeyFrameReader(self.path, table, set(self.indices))
        for number, time, frame in reader:
            yield VideoPicture(number, time, _upright(frame))
        self.decoded = reader.decoded

    def _in_order(self, claimed: int) -> Iterator[VideoPicture]:
        given: set[int] = set()
        while True:
            self.indices = sample_indices(claimed, self.count)
            reader = FrameReader(self.path, set(self.indices) - given)
            for picture in reader:
                given.add(picture.index)
                yield picture
            self.total = self.decoded = reader.decoded
            self.damaged = reader.damaged
            if reader.decoded == 0:
                raise AnalysisError(ErrorCode.UNREADABLE_MEDIA, "no frame decodes")
            if given.issuperset(sample_indices(reader.decoded, self.count)):
                self.indices = sample_indices(reader.decoded, self.count)
                return
            if reader.decoded == claimed:
                # Two passes over the same bytes differed: keep what both gave rather than read for ever.
                self.indices = sorted(given.intersection(self.indices))
                return
            claimed = reader.decoded


def sample_frames(path: Path | str, count: int = SAMPLED_FRAMES) -> list[VideoPicture]:
    """The whole sample at once: 32 frames of 1080p take 200 MB. Raises AnalysisError as :class:`FrameSampler` does."""
    sampler = FrameSampler(path, count)
    pictures = {picture.index: picture for picture in sampler}
    return [pictures[index] for index in sampler.indices if index in pictures]
