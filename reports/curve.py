"""The score curve: fake probability over time, one line a person, as coordinates for an SVG drawing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# The drawing's own units; the page scales it.
WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 48, 44, 12, 32
TICKS = 6
# So many looks of a line (colour, dash, marker) the style sheet has; further persons begin again with the first.
LOOKS = 6


@dataclass(frozen=True, slots=True)
class Line:
    """One person's scores: ``points`` as SVG takes them, and each dot with its time and percentage for the tooltips.

    ``look`` from 1 to LOOKS chooses colour, dash and marker.
    """

    number: int
    look: int
    points: str
    dots: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Tick:
    position: float
    value: float


@dataclass(frozen=True, slots=True)
class Curve:
    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    lines: tuple[Line, ...]
    time_ticks: tuple[Tick, ...]
    percent_ticks: tuple[Tick, ...]
    fake_y: float | None
    real_y: float | None


def draw_curve(tracks: list[dict[str, Any]], thresholds: dict[str, float], duration: float) -> Curve | None:
    """Coordinates of all tracks' scores; None if there is nothing to draw."""
    if not tracks:
        return None
    last: float = max(face["time"] for track in tracks for face in track["faces"])
    end = max(duration, last, 0.001)

    def x(time: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * time / end, 1)

    def y(probability: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - probability), 1)

    lines = []
    for track in tracks:
        dots = tuple(
            (x(face["time"]), y(face["fake_probability"]), face["time"], 100 * face["fake_probability"])
            for face in track["faces"]
        )
        points = " ".join(f"{dot[0]},{dot[1]}" for dot in dots)
        lines.append(Line(track["index"] + 1, track["index"] % LOOKS + 1, points, dots))
    return Curve(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        bottom=HEIGHT - BOTTOM,
        lines=tuple(lines),
        time_ticks=tuple(Tick(x(end * i / TICKS), end * i / TICKS) for i in range(TICKS + 1)),
        percent_ticks=tuple(Tick(y(share / 4), 25 * share) for share in range(5)),
        fake_y=y(thresholds["fake"]) if "fake" in thresholds else None,
        real_y=y(thresholds["real"]) if "real" in thresholds else None,
    )
