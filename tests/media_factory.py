"""Makes the videos and photos that the tests need, with PyAV and Pillow: no media file lies in the repository.

Drawn clips have a frame counter painted as bars, so that a test can tell which frame it holds
(:func:`read_counter`). Clips with a face move over `skimage.data.astronaut`, NASA's public-domain portrait of
Eileen Collins, which travels in the scikit-image wheel.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Frame = NDArray[np.uint8]
FrameMaker = Callable[[int], Frame]

COUNTER_BITS = 10
# Where the face lies in the 512×512 portrait, for tests that check boxes.
FACE_CENTRE = (222, 115)
FACE_WIDTH = 85


def counter_frame(number: int, size: tuple[int, int] = (320, 240)) -> Frame:
    """A grey picture (height, width, 3) with `number` written as ten black or white bars along the top.

    The lower right quarter is red, which tells the orientation.
    """
    width, height = size
    frame = np.full((height, width, 3), 96, dtype=np.uint8)
    bar = width // COUNTER_BITS
    for bit in range(COUNTER_BITS):
        value = 255 if number >> bit & 1 else 0
        frame[: height // 4, bit * bar : (bit + 1) * bar] = value
    frame[height // 2 :, width // 2 :] = (220, 20, 20)
    return frame


def read_counter(frame: Frame) -> int:
    """The number that :func:`counter_frame` painted; survives lossy coding."""
    height, width = frame.shape[:2]
    bar = width // COUNTER_BITS
    bars = [frame[height // 8, bit * bar + bar // 2].mean() > 128 for bit in range(COUNTER_BITS)]
    return sum(1 << bit for bit, is_set in enumerate(bars) if is_set)


def make_video(
    path: Path,
    *,
    codec: str = "libx264",
    seconds: float = 2.0,
    fps: int = 25,
    size: tuple[int, int] = (320, 240),
    audio: bool = False,
    rotation: int = 0,
    frames: FrameMaker | None = None,
    count: int | None = None,
    times: Sequence[int] | None = None,
    hidden: int = 0,
    container: str | None = None,
    faststart: bool = False,
    options: dict[str, str] | None = None,
    pixel_format: str = "yuv420p",
) -> Path:
    """Write a video of `count` frames (or seconds × fps) and return its path.

    `frames(i)` gives frame i as RGB (height, width, 3). `rotation` is what a player turns the picture by, in degrees
    clockwise. `times` are presentation times in milliseconds, for a variable frame rate. `hidden` leading frames are
    stored but cut off by an edit list (mp4 only). `container` is FFmpeg's name where the suffix should not decide.
    `faststart` puts the index in front, so that a truncated copy still opens (mp4 only). `options` are the encoder's.
    """
    total = count if count is not None else max(round(seconds * fps), 1)
    maker = frames or (lambda number: counter_frame(number, size))
    container_options = {"avoid_negative_ts": "disabled", "use_editlist": "1"} if hidden else {}
    if faststart:
        container_options["movflags"] = "faststart"
    with _same_priority(), av.open(str(path), "w", format=container, options=container_options) as output:
        quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream: Any = output.add_stream(codec, rate=fps, options={**quiet, **(options or {})})
        first = maker(0)
        stream.width, stream.height = first.shape[1], first.shape[0]
        stream.pix_fmt = pixel_format
        if rotation:
            # FFmpeg counts display rotation anticlockwise.
            stream.set_display_rotation(-rotation)
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        sound: Any = output.add_stream("aac", rate=16000, layout="mono") if audio else None
        for number in range(total):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(maker(number)), format="rgb24")
            frame.pts = times[number] if times is not None else number - hidden
            frame.time_base = Fraction(1, 1000) if times is not None else Fraction(1, fps)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            _write_tone(output, sound, total / fps)
    return path


@contextmanager
def _same_priority() -> Iterator[None]:
    """Root's SVT-AV1 gives the thread that encodes real-time priority for good: everything else would starve."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def _write_tone(output: Any, stream: Any, seconds: float, rate: int = 16000) -> None:
    block = 1024
    for start in range(0, int(seconds * rate), block):
        angle = (start + np.arange(block)) * 2 * np.pi * 440 / rate
        frame = av.AudioFrame.from_ndarray((np.sin(angle) * 0.2).astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        frame.pts = start
        frame.time_base = Fraction(1, rate)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


@cache
def portrait() -> Frame:
    """The portrait with one frontal face, (512, 512, 3) RGB. Do not write into it."""
    from skimage import data

    picture = np.ascontiguousarray(data.astronaut()[..., :3], dtype=np.uint8)  # type: ignore[no-untyped-call]
    picture.flags.writeable = False
    return picture


def face_frame(
    number: int, size: tuple[int, int] = (320, 240), *, zoom: float = 1.2, centre: tuple[float, float] = (0.5, 0.5)
) -> Frame:
    """The portrait's head, slowly swaying, its face centred at `centre` (shares of the frame).

    `zoom` scales the face: its width in the frame is about 85 · zoom pixels.
    """
    width, height = size
    sway_x, sway_y = _sway(number)
    matrix = np.array(
        [
            [zoom, 0, width * centre[0] - zoom * FACE_CENTRE[0] + sway_x],
            [0, zoom, height * centre[1] - zoom * FACE_CENTRE[1] + sway_y],
        ]
    )
    moved = cv2.warpAffine(
        portrait(),
        matrix,
        (width, height),
        flags=cv2.INTER_AREA,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(60, 60, 70),
    )
    return np.asarray(moved, dtype=np.uint8)


def _sway(number: int) -> tuple[float, float]:
    """How far the head is from its place, in pixels."""
    return 6 * math.sin(number / 7), 3 * math.cos(number / 5)


def two_faces_frame(number: int, size: tuple[int, int] = (480, 240)) -> Frame:
    """Two copies of the same head side by side, swaying; the right one mirrored and darker."""
    half = (size[0] // 2, size[1])
    left = face_frame(number, half, zoom=1.0)
    right = face_frame(number + 11, half, zoom=0.9)[:, ::-1]
    return np.concatenate([left, (right * 0.8).astype(np.uint8)], axis=1)


def three_faces_frame(number: int, size: tuple[int, int] = (720, 240)) -> Frame:
    """Three heads side by side; into the middle one another face is blended, as face swaps do: mirrored, recoloured."""
    third = (size[0] // 3, size[1])
    left, middle, right = (face_frame(number + shift, third, zoom=0.9) for shift in (0, 11, 23))
    # Mirrored about the swaying face, not about the picture: two faces beside each other are none to a detector.
    mirrored = np.roll(middle[:, ::-1], round(2 * _sway(number + 11)[0]), axis=1)
    donor = np.clip(mirrored * np.array([0.8, 1.0, 1.25]), 0, 255)
    mask = np.zeros(third[::-1], dtype=np.float32)
    cv2.ellipse(mask, (third[0] // 2, third[1] // 2), (36, 48), 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 5)[..., None]
    blended = (middle * (1 - mask) + donor * mask).astype(np.uint8)
    return np.concatenate([left, blended, right[:, ::-1]], axis=1)


def make_face_video(path: Path, *, zoom: float = 1.2, size: tuple[int, int] = (320, 240), **video: Any) -> Path:
    """A clip of one swaying face; the other arguments are those of :func:`make_video`."""
    return make_video(path, size=size, frames=lambda number: face_frame(number, size, zoom=zoom), **video)


def make_two_faces_video(path: Path, *, size: tuple[int, int] = (480, 240), **video: Any) -> Path:
    """A clip of two swaying faces side by side."""
    return make_video(path, size=size, frames=lambda number: two_faces_frame(number, size), **video)


def make_audio(path: Path, *, seconds: float = 1.0, cover: bool = False) -> Path:
    """Sound only, AAC in MP4 whatever the suffix; with `cover` an attached picture, which is no video."""
    with av.open(str(path), "w", format="mp4") as output:
        sound: Any = output.add_stream("aac", rate=16000, layout="mono")
        picture: Any = None
        if cover:
            picture = output.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 200, dtype=np.uint8), format="rgb24")
            output.mux(picture.encode(frame.reformat(format="yuvj420p")))
            output.mux(picture.encode(None))
        _write_tone(output, sound, seconds)
    return path


def make_image(
    path: Path,
    *,
    picture: Frame | None = None,
    size: tuple[int, int] = (320, 240),
    file_format: str | None = None,
    orientation: int = 1,
    **save: Any,
) -> Path:
    """Write `picture` (or a drawn one) as a photo; the suffix or `file_format` (Pillow's name) decides the format.

    `orientation` is the EXIF tag: 6 means that a viewer turns the stored picture by 90° clockwise.
    """
    if (file_format or path.suffix.lower().lstrip(".")).lower() in {"heic", "heif"}:
        import pillow_heif

        pillow_heif.register_heif_opener()
        file_format = "HEIF"
    image = Image.fromarray(picture if picture is not None else counter_frame(5, size))
    if orientation != 1:
        exif = Image.Exif()
        exif[0x0112] = orientation
        if file_format == "HEIF":
            # HEIC turns pictures by a property of its own, which pillow-heif writes from here.
            image.info["exif"] = exif.tobytes()
        else:
            save["exif"] = exif
    image.save(path, format=file_format, **save)
    return path


def make_face_image(path: Path, **image: Any) -> Path:
    """A photo of one face, 512×512; other arguments as for :func:`make_image`."""
    return make_image(path, picture=portrait(), **image)


def make_animation(path: Path, *, count: int = 3) -> Path:
    """An animated GIF, PNG or WebP, by the suffix."""
    images = [Image.fromarray(counter_frame(number, (64, 48))) for number in range(count)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=100)
    return path


def make_png_bomb(path: Path, *, width: int = 50_000, height: int = 50_000) -> Path:
    """A valid PNG under a megabyte that would need gigabytes to decode: one bit a pixel, all black, deflated."""
    row = b"\0" * (1 + (width + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


def truncate(source: Path, target: Path, share: float) -> Path:
    """Copy the first `share` of a file."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def damage(source: Path, target: Path, *, start: float = 0.45, end: float = 0.55) -> Path:
    """Copy a file with the bytes between two shares of it replaced by noise."""
    data = bytearray(source.read_bytes())
    first, last = int(len(data) * start), int(len(data) * end)
    data[first:last] = np.random.default_rng(0).integers(0, 256, last - first, dtype=np.uint8).tobytes()
    target.write_bytes(bytes(data))
    return target
