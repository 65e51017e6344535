"""The labelled picture: a photo with each judged face boxed and its score written on it, to show and to hand on.

It carries no metadata of the photo. What it says does not hang on colour: the verdict is a word, and only a face called
fake has an unbroken box. Words and number are not translated; they are those of :class:`ml.contracts.Outcome`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ml.contracts import Box, Outcome
from ml.evidence import Picture, shrink

# Longest side in pixels.
LABELLED_SIZE = 2560
# Bright, so that they stand out from their black rim on any picture; told apart by colour-blind eyes too.
COLOURS = {Outcome.FAKE: "#ff9d8f", Outcome.REAL: "#7fdcff", Outcome.INCONCLUSIVE: "#ffd75e"}
RIM = "#000000"
SMALLEST_TEXT = 12

Area = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class LabelledFace:
    """A face to draw. ``person`` counts from 1; ``box`` is in pixels of the upright photo as received."""

    person: int
    box: Box
    fake_probability: float
    outcome: Outcome


def label_faces(picture: Picture, faces: Sequence[LabelledFace], *, scale: float = 1.0) -> Picture:
    """`picture`, RGB uint8 (height, width, 3), with the faces drawn on a copy of it no larger than LABELLED_SIZE.

    `scale` is the width of `picture` in pixels divided by that of the photo which the boxes are in.
    """
    small = shrink(picture, LABELLED_SIZE)
    scale *= small.shape[1] / picture.shape[1]
    image = Image.fromarray(small)
    draw = ImageDraw.Draw(image)
    stroke = max(round(max(image.size) / 400), 1)
    areas = [_scaled(face.box, scale, image.size) for face in faces]
    for face, area in zip(faces, areas, strict=True):
        _draw_box(draw, area, COLOURS[face.outcome], stroke, dashed=face.outcome is not Outcome.FAKE)
    taken: list[Area] = []
    for number, (face, area) in enumerate(zip(faces, areas, strict=True)):
        text = f"{face.person}: {face.outcome}\n{100 * face.fake_probability:.0f} % fake"
        font = _font(_text_size(area, image.size))
        rim = max(round(font.size / 8), 1)
        left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font=font, stroke_width=rim, spacing=rim)
        others = [*taken, *areas[:number], *areas[number + 1 :]]
        place = _place(area, (right - left, bottom - top), image.size, others, gap=2 * stroke)
        taken.append(place)
        draw.multiline_text(
            (place[0] - left, place[1] - top),
            text,
            font=font,
            fill=COLOURS[face.outcome],
            stroke_width=rim,
            stroke_fill=RIM,
            spacing=rim,
        )
    return np.asarray(image, dtype=np.uint8)


def _scaled(box: Box, scale: float, size: tuple[int, int]) -> Area:
    """The box on the smaller picture, inside it."""
    width, height = size
    return (
        min(max(box.x1 * scale, 0), width - 1),
        min(max(box.y1 * scale, 0), height - 1),
        min(max(box.x2 * scale, 0), width - 1),
        min(max(box.y2 * scale, 0), height - 1),
    )


def _text_size(area: Area, size: tuple[int, int]) -> int:
    """Pixels: as fits the face, but neither too small to read on the whole picture nor shouting."""
    longest = max(size)
    return round(min(max((area[2] - area[0]) / 5, longest / 90, SMALLEST_TEXT), max(longest / 25, SMALLEST_TEXT)))


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font: a system's may be missing. Raises RuntimeError where Pillow was built without FreeType."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow has no FreeType: it cannot write in any size")
    return font


def _draw_box(draw: ImageDraw.ImageDraw, area: Area, colour: str, stroke: int, *, dashed: bool) -> None:
    left, top, right, bottom = area
    draw.rectangle(area, outline=RIM, width=3 * stroke)
    inner = (left + stroke, top + stroke, right - stroke, bottom - stroke)
    if inner[2] <= inner[0] or inner[3] <= inner[1]:
        return
    if not dashed:
        draw.rectangle(inner, outline=colour, width=stroke)
        return
    left, top, right, bottom = inner
    dash = max((right - left) / 15, 2 * stroke)
    for start, end in _dashes(left, right, dash):
        draw.rectangle((start, top, end, top + stroke - 1), fill=colour)
        draw.rectangle((start, bottom - stroke + 1, end, bottom), fill=colour)
    for start, end in _dashes(top, bottom, dash):
        draw.rectangle((left, start, left + stroke - 1, end), fill=colour)
        draw.rectangle((right - stroke + 1, start, right, end), fill=colour)


def _dashes(start: float, end: float, dash: float) -> Iterable[tuple[float, float]]:
    while start < end:
        yield start, min(start + dash, end)
        start += 2 * dash


def _place(
    area: Area, size: tuple[float, float], picture: tuple[int, int], others: Sequence[Area], *, gap: float
) -> Area:
    """Where a label of `size` stands: above its box, below, beside or in it, where it covers least of `others`."""
    width, height = size
    left, top, right, bottom = area
    corners = [
        (left, top - gap - height),
        (left, bottom + gap),
        (right + gap, top),
        (left - gap - width, top),
        (left + gap, bottom - gap - height),
    ]
    places = []
    for x, y in corners:
        kept_x = min(max(x, 0), max(picture[0] - width, 0))
        kept_y = min(max(y, 0), max(picture[1] - height, 0))
        places.append((kept_x, kept_y, kept_x + width, kept_y + height))
    # Its own face is not to be covered either, as long as there is room elsewhere.
    return min(places, key=lambda place: sum(_overlap(place, other) for other in (*others, area)))


def _overlap(one: Area, other: Area) -> float:
    """Pixels that both cover."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0
