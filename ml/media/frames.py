"""Frames of a video, chosen evenly and decoded in order.

Seeking is slower than decoding in order on usual clips and lands on wrong frames where the rate varies. Frame counts
in headers and even counts of packets lie; what counts is what decodes.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from ml.contracts import AnalysisError, ErrorCode
from ml.media.container import open_container, packets_of, video_stream
from ml.media.probe import clockwise_rotation, nominal_rate, probe

SAMPLED_FRAMES = 32
# Each decoding thread keeps a frame of its own: on hosts with many cores 8K clips would take gigabytes.
MOST_THREADS = 8


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
            stream.thread_count = min(os.cpu_count() or 1, MOST_THREADS)
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
    turns = clockwise_rotation(frame) // 90
    return np.ascontiguousarray(np.rot90(pixels, -turns), dtype=np.uint8)


class FrameSampler:
    """Evenly spaced frames of a video, one at a time, so that memory holds one however long or large the video is.

    It first trusts the number of frames that demuxing found. If another number decodes, the video is read again for
    the frames then missing. So when the iteration has ended, `indices` says which of the frames given are the
    sample: one that is not among them is to be dropped.
    """

    def __init__(self, path: Path | str, count: int = SAMPLED_FRAMES, *, claimed: int | None = None) -> None:
        """`claimed` is the number of frames that :func:`ml.media.probe.probe` found; it is called if none is given."""
        self.path = Path(path)
        self.count = count
        self._claimed = claimed
        self.indices: list[int] = []
        self.decoded = 0
        self.damaged = 0

    def __iter__(self) -> Iterator[VideoPicture]:
        """Raises AnalysisError: UNREADABLE_MEDIA if nothing decodes, and what opening raises."""
        claimed = self._claimed if self._claimed is not None else probe(self.path).frame_count
        given: set[int] = set()
        while True:
            self.indices = sample_indices(claimed, self.count)
            reader = FrameReader(self.path, set(self.indices) - given)
            for picture in reader:
                given.add(picture.index)
                yield picture
            self.decoded, self.damaged = reader.decoded, reader.damaged
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
    pictures = list(sampler)
    wanted = set(sampler.indices)
    return sorted((picture for picture in pictures if picture.index in wanted), key=lambda picture: picture.index)
