"""Cuts a part out of a video without decoding it: its pictures stay the very ones that were there.

    python -m ml.media.cut SOURCE TARGET START END MAX_SECONDS MAX_BYTES

A part has to begin at a key frame, so it begins at the last one before START, and ends at END or MAX_SECONDS after
its beginning, whichever comes first. Writes "FROM TO" in seconds of the source. Exit codes: 0 done, 3 the video ends
before START, 4 it cannot be read or cut; a part that is larger than MAX_BYTES ends it by SIGXFSZ.

The source comes from strangers, and opening it runs decoders: so this is a process of its own, shut in as those are.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.packet import Packet
from av.video.stream import VideoStream

from ml.contracts import AnalysisError
from ml.media import files
from ml.media.confinement import Limits, confine, die_with_parent, load_all_of
from ml.media.container import open_container

MEMORY_BYTES, SECONDS = 2 << 30, 60
EXIT_OUTSIDE, EXIT_UNREADABLE = 3, 4


class OutsideVideoError(Exception):
    """The video ends before the part begins."""


@dataclass(frozen=True, slots=True)
class Part:
    """What was cut, in seconds of the source."""

    start: float
    end: float


def cut(source: Path, target: BinaryIO, start: float, end: float, max_seconds: float) -> Part:
    """Copy the part's packets of the first video stream, and of the first sound, into `target` (Matroska).

    Raises OutsideVideoError, and AnalysisError, av.FFmpegError, ValueError or OSError where it cannot be read or
    written.
    """
    with open_container(source) as container, av.open(target, "w", format="matroska") as output:
        if not container.streams.video:
            raise ValueError("no video")
        video: VideoStream = container.streams.video[0]
        if video.time_base is None:
            raise ValueError("no time base")
        offset = float((video.start_time or 0) * video.time_base)
        container.seek(int((start + offset) / video.time_base), stream=video, backward=True)
        streams = [video, *container.streams.audio[:1]]
        copies = {stream.index: output.add_stream_from_template(stream) for stream in streams}
        begins: float | None = None
        last = 0.0
        for packet in container.demux(streams):
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            time = float(packet.pts * packet.time_base) - offset
            if begins is None:
                # What comes before the first key frame of the video belongs to pictures that are not there.
                if packet.stream.index != video.index or not packet.is_keyframe:
                    continue
                if time > end:
                    raise OutsideVideoError
                begins = time
            limit = min(end, begins + max_seconds)
            if packet.stream.index == video.index:
                if float(packet.dts * packet.time_base) - offset >= limit:
                    break
                last = max(last, time + float((packet.duration or 0) * packet.time_base))
            elif time >= limit:
                continue
            _write(output, packet, copies[packet.stream.index], begins + offset)
        if begins is None or last <= start:
            raise OutsideVideoError
    return Part(begins, last)


def _write(output: av.container.OutputContainer, packet: Packet[Any], copy: Any, begins: float) -> None:
    """Add a packet to its copied stream, whose time begins with the part."""
    if packet.time_base is None or packet.pts is None or packet.dts is None:
        return
    shift = round(begins / packet.time_base)
    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
    packet.stream = copy
    output.mux(packet)


def main() -> int:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    start, end, max_seconds = (float(each) for each in sys.argv[3:6])
    die_with_parent()
    # Python would make an error like any other of it.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    load_all_of(av)
    try:
        with source.open("rb") as given, target.open("wb") as made:
            files.give(source, given.fileno())
            confine(Limits(MEMORY_BYTES, SECONDS, 10 * SECONDS, file_bytes=int(sys.argv[6])))
            part = cut(source, made, start, end, max_seconds)
    except OutsideVideoError:
        return EXIT_OUTSIDE
    except (AnalysisError, av.FFmpegError, ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_UNREADABLE
    sys.stdout.write(f"{part.start:.3f} {part.end:.3f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
