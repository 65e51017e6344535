"""What an analysis tells while it runs, for a live view: each frame, box and score as soon as it is known.

Order: one :class:`MediaRead`; a :class:`FrameSearched` for each frame, mostly in order of time; between them a
:class:`FaceScored` for each face judged so far, which may turn out to belong to nobody who stays; then a
:class:`PersonFound` for each person, and one :class:`Concluded`. Of two events about one frame or face the later
holds. Probabilities are in [0, 1] and 1 means fake. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ml.contracts import AnalysisResult, FaceDetection, FaceScore, MediaInfo, SampledFrame, TrackResult


@dataclass(frozen=True, slots=True)
class MediaRead:
    """The file is readable. ``frames`` is how many frames will be looked at, as far as known."""

    info: MediaInfo
    frames: int


@dataclass(frozen=True, slots=True)
class FrameSearched:
    """A frame was searched for faces. ``jpeg`` shows it upright, at most 640 pixels wide or high."""

    frame: SampledFrame
    faces: tuple[FaceDetection, ...]
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class FaceScored:
    """A face of a frame was judged, before it is known whose it is."""

    face: FaceScore


@dataclass(frozen=True, slots=True)
class PersonFound:
    """One person with the score and all faces."""

    track: TrackResult


@dataclass(frozen=True, slots=True)
class Concluded:
    """The end: what :func:`ml.inference.analyze` returns."""

    result: AnalysisResult


Event = MediaRead | FrameSearched | FaceScored | PersonFound | Concluded

# May raise to stop the analysis.
EventCallback = Callable[[Event], None]
