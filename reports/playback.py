"""A video beside its scores: the frames that were looked at, the stretches called fake, and the curve to draw.

Everything that lies in time is a share of one length, so that curve, seek bar and marks stand under each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

# So many looks of a line (colour, dash, marker) the style sheet has; further persons begin again with the first.
LOOKS = 6
TICKS = 8


@dataclass(frozen=True, slots=True)
class Dot:
    """A face of one frame: `x` and `y` in percent of the plot, from the left and from the top."""

    x: float
    y: float
    time: float
    percent: float


@dataclass(frozen=True, slots=True)
class PlotLine:
    """One person's faces. ``parts`` join the dots of neighbouring frames: where nobody was seen, nothing is
    drawn. They are points as SVG takes them, in a picture of 100 by 100.
    """

    number: int
    look: int
    parts: tuple[str, ...]
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Seconds called fake, and where they lie: in percent of the length, from the left."""

    start: float
    end: float
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Tick:
    """``position`` in percent of the plot. Those of `rank` 3 and then 2 are left out where there is no room."""

    position: float
    value: float
    rank: int


@dataclass(frozen=True, slots=True)
class Plot:
    """``fake_y`` and ``real_y`` are the thresholds, in percent from the top; None where they are not known."""

    lines: tuple[PlotLine, ...]
    time_ticks: tuple[Tick, ...]
    percent_ticks: tuple[Tick, ...]
    fake_y: float | None
    real_y: float | None

    @property
    def real_height(self) -> float:
        return 0.0 if self.real_y is None else round(100 - self.real_y, 2)


@dataclass(frozen=True, slots=True)
class SampleFace:
    """``box`` is x1, y1, x2, y2 in pixels of the upright frame."""

    person: int
    box: tuple[int, int, int, int]
    percent: float
    fake: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """A frame that was looked at. ``url`` is empty where no picture of it was kept."""

    frame: int
    time: float
    url: str
    faces: tuple[SampleFace, ...]


@dataclass(frozen=True, slots=True)
class Playback:
    """``length`` in seconds: of the video, or until the last frame where that is later."""

    length: float
    samples: tuple[Sample, ...]
    stretches: tuple[Stretch, ...]
    plot: Plot | None

    @property
    def poster(self) -> str:
        return self.samples[0].url if self.samples else ""

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script needs, as JSON."""
        stretches = [[stretch.start, stretch.end] for stretch in self.stretches]
        return {"length": self.length, "samples": [asdict(sample) for sample in self.samples], "stretches": stretches}


def prepare_playback(
    found: dict[str, Any], duration: float, *, frame_threshold: float, url_of: Callable[[int], str]
) -> Playback:
    """From ``found``, the result of a video `duration` seconds long. ``url_of`` gives the address of a frame."""
    tracks: list[dict[str, Any]] = found.get("tracks", [])
    times = {frame["index"]: frame["time"] for frame in found.get("frames", [])}
    faces: dict[int, list[SampleFace]] = {}
    for track in tracks:
        for face in track["faces"]:
            times.setdefault(face["frame"], face["time"])
            probability = face["fake_probability"]
            x1, y1, x2, y2 = face["box"]
            faces.setdefault(face["frame"], []).append(
                SampleFace(track["index"] + 1, (x1, y1, x2, y2), 100 * probability, probability > frame_threshold)
            )
    length = max(duration, max(times.values(), default=0.0), 0.001)
    samples = tuple(
        Sample(frame, time, url_of(frame), tuple(faces.get(frame, [])))
        for frame, time in sorted(times.items(), key=lambda item: item[1])
    )
    stretches = tuple(
        Stretch(start, end, _share(start, length), _share(end - start, length))
        for start, end in found.get("timestamps", [])
    )
    thresholds: dict[str, float] = found.get("settings", {}).get("thresholds", {})
    return Playback(length, samples, stretches, _plot(tracks, samples, thresholds, length) if tracks else None)


def _plot(
    tracks: list[dict[str, Any]], samples: tuple[Sample, ...], thresholds: dict[str, float], length: float
) -> Plot:
    places = {sample.frame: place for place, sample in enumerate(samples)}
    lines = []
    for track in tracks:
        dots: list[Dot] = []
        parts: list[list[str]] = []
        before = None
        for face in track["faces"]:
            probability, place = face["fake_probability"], places[face["frame"]]
            dots.append(Dot(_share(face["time"], length), _from_top(probability), face["time"], 100 * probability))
            if before is None or place - before > 1:
                parts.append([])
            parts[-1].append(f"{dots[-1].x},{dots[-1].y}")
            before = place
        joined = tuple(" ".join(part) for part in parts if len(part) > 1)
        lines.append(PlotLine(track["index"] + 1, track["index"] % LOOKS + 1, joined, tuple(dots)))
    return Plot(
        lines=tuple(lines),
        time_ticks=tuple(
            Tick(_share(place, TICKS), length * place / TICKS, 1 if place % 4 == 0 else 2 + place % 2)
            for place in range(TICKS + 1)
        ),
        percent_ticks=tuple(Tick(100 - 25 * place, 25 * place, 1) for place in range(5)),
        fake_y=_from_top(thresholds["fake"]) if "fake" in thresholds else None,
        real_y=_from_top(thresholds["real"]) if "real" in thresholds else None,
    )


def _share(part: float, whole: float) -> float:
    return round(100 * part / whole, 3)


def _from_top(probability: float) -> float:
    return round(100 * (1 - probability), 2)
