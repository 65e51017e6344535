"""What an analysis shows besides numbers: pictures for the live view, the result page and the report.

The pipeline hands each picture to an :class:`EvidenceSink` as soon as it has it, as JPEG bytes, and forgets it. A sink
writes to storage, pushes to a page, or both; :class:`Evidence` keeps everything, for small uses and tests.
No boxes are drawn: they are in the result, in pixels of the upright frame, whose size `MediaInfo` tells. The one
exception is a photo's labelled picture (:mod:`ml.labelling`), which leaves the site by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.contracts import FaceScore, SampledFrame

Picture = NDArray[np.uint8]

# Longest sides in pixels.
PREVIEW_SIZE = 640
SAMPLE_SIZE = 480
KEY_FRAME_SIZE = 1280
CROP_SIZE = 160
HEAT_MAP_SIZE = 320
# So many of the most suspicious frames are key frames.
KEY_FRAMES = 6
JPEG_QUALITY = 88
# Sampled frames are kept for as long as the result: enough to see which moment it is and whose face.
SAMPLE_QUALITY = 70


@dataclass(frozen=True, slots=True)
class JudgedFace:
    """A face of one frame with its score and its person's track."""

    track: int
    face: FaceScore


class EvidenceSink(Protocol):
    """Takes the pictures of one analysis. Called from the thread that runs it; may raise to stop it.

    Order: `add_frame` for each sampled frame in order of time, each followed by `add_crop` for its faces; at the end
    `add_key_frame` and `add_heat_map`, most suspicious first, then `add_labelled` for a photo. Nothing comes of a file
    that is NOT_ASSESSABLE except the frames and the labelled picture.
    """

    def add_frame(self, frame: SampledFrame, jpeg: bytes, faces: Sequence[JudgedFace]) -> None:
        """A sampled frame, at most 480 pixels wide or high and strongly compressed, with its judged faces, if any."""

    def add_crop(self, track: int, frame: int, jpeg: bytes) -> None:
        """A judged face as the network saw it, with its surroundings, at most 160 pixels wide or high."""

    def add_key_frame(self, frame: int, jpeg: bytes) -> None:
        """One of up to six most suspicious frames, at most 1280 pixels wide or high."""

    def add_heat_map(self, track: int, frame: int, jpeg: bytes) -> None:
        """The most suspicious face of a key frame with what the network looked at laid over it in colours."""

    def add_labelled(self, jpeg: bytes) -> None:
        """The photo with its judged faces boxed and their scores written on, at most 2560 pixels wide or high."""


@dataclass(slots=True)
class Evidence:
    """A sink that keeps everything in memory: about ten megabytes for a video."""

    frames: dict[int, bytes] = field(default_factory=dict)
    faces: dict[int, tuple[JudgedFace, ...]] = field(default_factory=dict)
    crops: dict[tuple[int, int], bytes] = field(default_factory=dict)
    key_frames: dict[int, bytes] = field(default_factory=dict)
    heat_maps: dict[tuple[int, int], bytes] = field(default_factory=dict)
    labelled: bytes | None = None

    def add_frame(self, frame: SampledFrame, jpeg: bytes, faces: Sequence[JudgedFace]) -> None:
        self.frames[frame.index] = jpeg
        self.faces[frame.index] = tuple(faces)

    def add_crop(self, track: int, frame: int, jpeg: bytes) -> None:
        self.crops[track, frame] = jpeg

    def add_key_frame(self, frame: int, jpeg: bytes) -> None:
        self.key_frames[frame] = jpeg

    def add_heat_map(self, track: int, frame: int, jpeg: bytes) -> None:
        self.heat_maps[track, frame] = jpeg

    def add_labelled(self, jpeg: bytes) -> None:
        self.labelled = jpeg


def shrink(picture: Picture, size: int) -> Picture:
    """At most `size` pixels on the longer side; never enlarged."""
    height, width = picture.shape[:2]
    longer = max(height, width)
    if longer <= size:
        return picture
    new_size = (max(width * size // longer, 1), max(height * size // longer, 1))
    return np.asarray(cv2.resize(picture, new_size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def to_jpeg(picture: Picture, quality: int = JPEG_QUALITY) -> bytes:
    """RGB uint8 (height, width, 3) → JPEG."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"no JPEG of a picture of shape {picture.shape}")
    return data.tobytes()


def from_jpeg(data: bytes) -> Picture:
    """JPEG → RGB uint8 (height, width, 3)."""
    picture = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("not a JPEG")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def overlay(crop: Picture, heat: NDArray[np.float32]) -> Picture:
    """A face with its heat map (height, width) in [0, 1] laid over it: stronger where hotter, untouched where cold."""
    colours = cv2.cvtColor(cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    share = (0.65 * heat)[..., None]
    return np.asarray(crop * (1 - share) + colours * share, dtype=np.uint8)
