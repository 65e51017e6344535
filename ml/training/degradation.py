"""What happens to a picture between the camera and the detector: scaling, noise, JPEG, H.264.

A degradation is drawn once and applied to the real and the fake of a pair alike, or the detector would learn the
codec instead of the manipulation. Compression decides how well a detector holds up on other people's videos.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

# x264 needs even sides, and below this the codec's blocks would be larger than the features of a face.
SMALLEST_SIDE = 48


class Codec(StrEnum):
    NONE = "none"
    JPEG = "jpeg"
    H264 = "h264"
    H264_JPEG = "h264_jpeg"  # A frame grabbed from a video and saved as a photo.


@dataclass(frozen=True, slots=True)
class Degradation:
    """One way of spoiling a picture. Applied twice to the same picture, it gives the same pixels.

    ``size``: longer side in pixels at which the picture is compressed. ``shrink``: that size is first reduced by
    this factor and enlarged again, 1.0 for not at all. ``blur``: sigma in pixels at that size. ``noise``: sigma in
    grey levels. ``quality``: JPEG, 1 to 100. ``crf``: x264's constant rate factor, larger is worse. ``drift``: how
    far the picture moves from frame to frame, in pixels, over ``frames`` frames of which the last one is kept.
    ``hue`` in degrees, ``saturation`` and ``contrast`` as factors, ``brightness`` in grey levels.
    """

    size: int
    shrink: float = 1.0
    blur: float = 0.0
    noise: float = 0.0
    noise_seed: int = 0
    codec: Codec = Codec.NONE
    quality: int = 90
    crf: int = 23
    preset: str = "veryfast"
    frames: int = 1
    drift: tuple[float, float] = (0.0, 0.0)
    hue: float = 0.0
    saturation: float = 1.0
    contrast: float = 1.0
    brightness: float = 0.0


def draw_degradation(rng: np.random.Generator, input_size: int, *, gentle: bool = False) -> Degradation:
    """Draw one. The shares follow what a first trial found to transfer to compressed videos.

    ``gentle`` ones are those of photos sent on once or twice: what gives a wholly generated face away is finer than
    a blending boundary, and harsh compression would leave nothing to learn.
    """
    if gentle and rng.random() < 0.7:
        return _draw_gentle(rng, input_size)
    choice = rng.random()
    if choice < 0.45:
        codec = Codec.H264
    elif choice < 0.52:
        codec = Codec.H264_JPEG
    elif choice < 0.82:
        codec = Codec.JPEG
    else:
        codec = Codec.NONE
    colour = rng.random() < 0.6
    return Degradation(
        size=int(input_size * rng.uniform(0.75, 1.7)),
        shrink=float(rng.uniform(0.35, 1.0)) if rng.random() < 0.45 else 1.0,
        blur=float(rng.uniform(0.3, 1.2)) if rng.random() < 0.12 else 0.0,
        noise=float(rng.uniform(1.0, 8.0)) if rng.random() < 0.2 else 0.0,
        noise_seed=int(rng.integers(2**31)),
        codec=codec,
        quality=int(rng.integers(30, 101)),
        crf=int(rng.integers(20, 45)),
        preset=str(rng.choice(["ultrafast", "veryfast", "fast"], p=[0.15, 0.6, 0.25])),
        frames=int(rng.choice(5, p=[0.3, 0.25, 0.2, 0.15, 0.1])) + 1,
        drift=(float(rng.uniform(-2, 2)), float(rng.uniform(-2, 2))),
        hue=float(rng.uniform(-6, 6)) if colour else 0.0,
        saturation=float(rng.uniform(0.6, 1.3)) if colour else 1.0,
        contrast=float(rng.uniform(0.75, 1.25)) if colour else 1.0,
        brightness=float(rng.uniform(-25, 25)) if colour else 0.0,
    )


def _draw_gentle(rng: np.random.Generator, input_size: int) -> Degradation:
    return Degradation(
        size=int(input_size * rng.uniform(0.9, 1.5)),
        shrink=float(rng.uniform(0.6, 1.0)) if rng.random() < 0.2 else 1.0,
        codec=Codec.JPEG if rng.random() < 0.5 else Codec.NONE,
        quality=int(rng.integers(60, 101)),
        hue=float(rng.uniform(-4, 4)),
        saturation=float(rng.uniform(0.8, 1.2)),
        contrast=float(rng.uniform(0.85, 1.15)),
        brightness=float(rng.uniform(-15, 15)),
    )


def degrade(picture: NDArray[np.float32], degradation: Degradation) -> Pixels:
    """RGB in [0, 255] (height, width, 3) → uint8 with the longer side ``degradation.size``."""
    height, width = picture.shape[:2]
    scale = degradation.size / max(height, width)
    size = (max(int(width * scale), SMALLEST_SIDE) & ~1, max(int(height * scale), SMALLEST_SIDE) & ~1)
    result = _resize(_change_colour(picture, degradation), size)
    if degradation.shrink < 1.0:
        small = (max(int(size[0] * degradation.shrink), 16), max(int(size[1] * degradation.shrink), 16))
        result = _resize(_resize(result, small), size)
    if degradation.blur > 0:
        result = np.asarray(cv2.GaussianBlur(result, (0, 0), degradation.blur), dtype=np.float32)
    if degradation.noise > 0:
        noise = np.random.default_rng(degradation.noise_seed).standard_normal(result.shape, dtype=np.float32)
        result = result + degradation.noise * noise
    pixels = np.clip(np.round(result), 0, 255).astype(np.uint8)
    if degradation.codec in (Codec.H264, Codec.H264_JPEG):
        moving = _drifting(pixels, degradation.frames, degradation.drift)
        pixels = through_h264(moving, crf=degradation.crf, preset=degradation.preset, last=1)[0]
    if degradation.codec in (Codec.JPEG, Codec.H264_JPEG):
        pixels = through_jpeg(pixels, degradation.quality)
    return pixels


def _resize(picture: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    shrinking = size[0] < picture.shape[1]
    resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
    return np.asarray(resized, dtype=np.float32)


def _change_colour(picture: NDArray[np.float32], degradation: Degradation) -> NDArray[np.float32]:
    """Brightness and contrast about mid-grey, saturation and hue as a rotation in the chroma plane (YIQ)."""
    result = (picture - 128.0) * degradation.contrast + 128.0 + degradation.brightness
    if degradation.saturation == 1.0 and degradation.hue == 0.0:
        return result.astype(np.float32)
    angle = np.deg2rad(degradation.hue)
    cos, sin = degradation.saturation * np.cos(angle), degradation.saturation * np.sin(angle)
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    matrix = np.linalg.inv(to_yiq) @ turn @ to_yiq
    return np.asarray(result @ matrix.T.astype(np.float32), dtype=np.float32)


def _drifting(pixels: Pixels, frames: int, drift: tuple[float, float]) -> list[Pixels]:
    """The picture moving into place: what video codecs predict from one frame to the next."""
    height, width = pixels.shape[:2]
    moved = []
    for back in range(frames - 1, 0, -1):
        matrix = np.array([[1, 0, drift[0] * back], [0, 1, drift[1] * back]], dtype=np.float64)
        frame = cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        moved.append(np.asarray(frame, dtype=np.uint8))
    return [*moved, pixels]


def through_jpeg(pixels: Pixels, quality: int) -> Pixels:
    """RGB → JPEG of the given quality → RGB."""
    ok, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise RuntimeError("OpenCV could not encode a JPEG")
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if decoded is None:
        raise RuntimeError("OpenCV could not decode its own JPEG")
    return np.asarray(decoded[..., ::-1], dtype=np.uint8)


def through_h264(frames: list[Pixels], *, crf: int, preset: str = "veryfast", last: int | None = None) -> list[Pixels]:
    """RGB frames with even sides → H.264 (4:2:0, no B-frame delay) → RGB. One thread, so that the bits repeat.

    ``last``: only so many frames from the end are given back, all by default.
    """
    height, width = frames[0].shape[:2]
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    encoder.options = {"crf": str(crf), "preset": preset, "tune": "zerolatency", "threads": "1"}
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets = []
    for index, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts = index
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoded = [frame for packet in packets for frame in decoder.decode(packet)]
    decoded += decoder.decode(None)
    if len(decoded) != len(frames):
        raise RuntimeError(f"H.264 gave back {len(decoded)} of {len(frames)} frames")
    wanted = decoded if last is None else decoded[-last:]
    return [np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8) for frame in wanted]
