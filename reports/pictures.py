"""Pictures as a report prints them: small enough to send, key frames with the faces boxed."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

import segno
from PIL import Image, ImageDraw, ImageFont

from reports.presentation import FrameBox, KeyFrame

# Longest side in pixels: about 200 dots an inch where the largest are printed.
KEY_FRAME_SIZE = 1000
PHOTO_SIZE = 1400
HEAT_MAP_SIZE = 400
CROP_SIZE = 200
# Bytes for all pictures of a kind in a report, which can be mailed together with its English original (3 MB): noisy
# ones are made smaller until each fits into its share.
FRAMES_BUDGET = 600_000
HEAT_MAPS_BUDGET = 150_000
CROPS_BUDGET = 350_000
# No single picture needs more.
MOST_BYTES = 220_000
SMALLEST_SIZE = 64
JPEG_QUALITY = 82
# As on the result page, and told apart by colour-blind eyes; the line is unbroken only round a face called fake.
FAKE_COLOUR, REAL_COLOUR, RIM = "#ff9d8f", "#7fdcff", "#000000"


def share_of(budget: int, count: int) -> int:
    """Bytes that each of so many pictures may have."""
    return min(budget // max(count, 1), MOST_BYTES)


def shrink(jpeg: bytes, *, longest: int, most_bytes: int) -> bytes:
    """The picture as JPEG of no more pixels a side and no more bytes; as it is, if it is small enough."""
    with Image.open(BytesIO(jpeg)) as kept:
        if max(kept.size) <= longest and len(jpeg) <= most_bytes:
            return jpeg
        picture = kept.convert("RGB")
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return _to_jpeg(picture, most_bytes)


def draw_qr_code(text: str) -> bytes:
    """A QR code as SVG, with the four modules of white around it that scanners want.

    A seventh of it may be unreadable: printed, copied and folded, it still leads there.
    """
    target = BytesIO()
    segno.make_qr(text, error="m").save(target, kind="svg", scale=4, border=4, light="#fff", xmldecl=False, nl=False)
    return target.getvalue()


def draw_key_frame(
    jpeg: bytes, frame: KeyFrame, *, longest: int = KEY_FRAME_SIZE, most_bytes: int = MOST_BYTES
) -> bytes:
    """The kept frame as JPEG, no larger than `longest`, with a box, its person's number and score on each face."""
    with Image.open(BytesIO(jpeg)) as kept:
        picture = kept.convert("RGB")
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    scale = picture.width / frame.width
    draw = ImageDraw.Draw(picture)
    stroke = max(round(max(picture.size) / 300), 2)
    for box in frame.boxes:
        _draw_box(draw, box, scale, stroke)
    for box in frame.boxes:
        _draw_label(draw, box, scale, picture.size)
    return _to_jpeg(picture, most_bytes)


def _draw_box(draw: ImageDraw.ImageDraw, box: FrameBox, scale: float, stroke: int) -> None:
    left, top = round(box.x * scale), round(box.y * scale)
    right, bottom = round((box.x + box.width) * scale), round((box.y + box.height) * scale)
    draw.rectangle((left - stroke, top - stroke, right + stroke, bottom + stroke), outline=RIM, width=3 * stroke)
    if box.called_fake:
        draw.rectangle((left, top, right, bottom), outline=FAKE_COLOUR, width=stroke)
        return
    dash = max((right - left) // 9, 3 * stroke)
    for start in range(left, right, 2 * dash):
        end = min(start + dash, right)
        draw.line((start, top, end, top), fill=REAL_COLOUR, width=stroke)
        draw.line((start, bottom, end, bottom), fill=REAL_COLOUR, width=stroke)
    for start in range(top, bottom, 2 * dash):
        end = min(start + dash, bottom)
        draw.line((left, start, left, end), fill=REAL_COLOUR, width=stroke)
        draw.line((right, start, right, end), fill=REAL_COLOUR, width=stroke)


def _draw_label(draw: ImageDraw.ImageDraw, box: FrameBox, scale: float, size: tuple[int, int]) -> None:
    font_size = max(max(size) // 32, 14)
    rim = max(font_size // 8, 1)
    left, top = box.x * scale, box.y * scale
    text = f"{box.person}: {box.percent:.0f} %"
    font = _font(font_size)
    width = draw.textlength(text, font=font) + 2 * rim
    x = min(max(left, rim), size[0] - width)
    # Above the box, or below it, or inside it where there is no room.
    y = top - 1.5 * font_size
    if y < 0:
        below = top + box.height * scale + 0.4 * font_size
        y = below if below + 1.3 * font_size <= size[1] else top + 0.4 * font_size
    colour = FAKE_COLOUR if box.called_fake else REAL_COLOUR
    draw.text((x, y), text, font=font, fill=colour, stroke_width=rim, stroke_fill=RIM)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own: digits only are written, and a system's font may be missing."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow has no FreeType: it cannot write in any size")
    return font


def _to_jpeg(picture: Image.Image, most_bytes: int) -> bytes:
    while True:
        target = BytesIO()
        picture.save(target, "JPEG", quality=JPEG_QUALITY, optimize=True)
        if target.tell() <= most_bytes or max(picture.size) <= SMALLEST_SIZE:
            return target.getvalue()
        smaller = (max(picture.width * 4 // 5, 1), max(picture.height * 4 // 5, 1))
        picture = picture.resize(smaller, Image.Resampling.LANCZOS)
