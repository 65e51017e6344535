"""What the detection pipeline takes, gives back and raises. Imports neither torch nor Django.

Two conventions hold everywhere: a *fake probability* lies in [0, 1] and 1 means fake; times are in
seconds from the first decoded frame. A failure is never a score: what could not be examined has an
outcome with a reason, or raises :class:`AnalysisError`, and carries no probability.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

# Of AnalysisResult.to_dict.
RESULT_SCHEMA = 1


class Outcome(StrEnum):
    """What a finished analysis found."""

    FAKE = "FAKE"
    REAL = "REAL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_ASSESSABLE = "NOT_ASSESSABLE"


class Reason(StrEnum):
    """Why an outcome is INCONCLUSIVE or NOT_ASSESSABLE; empty for FAKE and REAL."""

    NO_FACE = "no_face"
    FACES_TOO_SMALL = "faces_too_small"
    TOO_FEW_FRAMES = "too_few_frames"
    WEAK_EVIDENCE = "weak_evidence"
    UNSTABLE_EVIDENCE = "unstable_evidence"
    UNSTABLE_COPIES = "unstable_copies"


class ErrorCode(StrEnum):
    """Why an analysis could not be made at all. The values are the machine names of the API."""

    FILE_MISSING = "file_missing"
    UNREADABLE_MEDIA = "unreadable_media"
    NO_VIDEO_STREAM = "no_video_stream"
    UNSUPPORTED_TYPE = "unsupported_type"
    MODEL_UNAVAILABLE = "model_unavailable"
    INTERNAL_ERROR = "internal_error"


class AnalysisError(Exception):
    """The file or the detector does not allow an analysis.

    ``code`` is for machines and for looking up a translated text; ``detail`` is for logs only and may
    name paths or library messages, so it must not reach a user.
    """

    def __init__(self, code: ErrorCode, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else str(code))
        self.code = code
        self.detail = detail


class MediaKind(StrEnum):
    VIDEO = "video"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """Facts about a file, judged by its content.

    ``width`` and ``height`` are in pixels as displayed, that is after ``rotation`` (degrees clockwise: 0, 90, 180 or
    270) has been applied. ``duration`` is in seconds and ``frame_rate`` in frames a second; both are 0.0 for a photo.
    ``frame_count`` counts the video packets that would be shown, 1 for a photo. ``bit_rate`` is in bits a second, 0
    if unknown. ``jpeg_quality`` is estimated from a JPEG's quantisation tables, 1 to 100 on libjpeg's scale; 0 for
    everything else.
    """

    kind: MediaKind
    container: str
    codec: str
    width: int
    height: int
    rotation: int = 0
    duration: float = 0.0
    frame_rate: float = 0.0
    frame_count: int = 1
    bit_rate: int = 0
    has_audio: bool = False
    jpeg_quality: int = 0


class CredentialsStatus(StrEnum):
    """What became of a file's Content Credentials. NONE means that nothing is known, not that something is wrong."""

    NONE = "none"
    INTACT = "intact"
    BROKEN = "broken"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class ContentCredentials:
    """Signed claims in a file (C2PA); empty texts where they say nothing.

    INTACT: the signature fits and the file was not changed since; whether the ``signer`` is who the certificate says
    was not checked. ``actions`` are declared edits by their C2PA names; ``declares_generated``: they say that a
    machine made the picture or part of it, which is the signer's word only where they are INTACT.
    """

    status: CredentialsStatus
    signer: str = ""
    issuer: str = ""
    signed_at: str = ""
    generator: str = ""
    actions: tuple[str, ...] = ()
    declares_generated: bool = False


class FactsPart(StrEnum):
    """A part of a file's facts that could not be read."""

    METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file says about itself: claims that anyone can write or remove. What is absent is unknown.

    ``created`` is as written, in whatever form. ``has_location``: whether a place is recorded, which is not kept.
    ``software_tags`` are texts as found, ``known_software`` the names of programs recognised in any of them.
    """

    encoders: tuple[str, ...] = ()
    created: str = ""
    has_location: bool = False
    camera: str = ""
    software_tags: tuple[str, ...] = ()
    known_software: tuple[str, ...] = ()
    credentials: ContentCredentials = field(default_factory=lambda: ContentCredentials(CredentialsStatus.NONE))
    problems: tuple[FactsPart, ...] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright frame: left, top, right, bottom (right and bottom exclusive)."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def width(self) -> int:
        return self.x2 - self.x1

    @property
    def height(self) -> int:
        return self.y2 - self.y1

    def iou(self, other: Box) -> float:
        """Intersection over union with another box, in [0, 1]."""
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        if width <= 0 or height <= 0:
            return 0.0
        overlap = width * height
        return overlap / (self.width * self.height + other.width * other.height - overlap)


@dataclass(frozen=True, slots=True)
class FaceDetection:
    """One face found in one frame. ``probability`` is the face detector's own, in [0, 1].

    ``landmarks`` are (x, y) pixels of left eye, right eye, nose, left and right mouth corner.
    """

    box: Box
    probability: float
    landmarks: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class FaceScore:
    """One judged face: where, when, and its fake probability (mean over the networks)."""

    frame: int
    time: float
    box: Box
    detection_probability: float
    fake_probability: float


class Branch(StrEnum):
    """Which face scores an aggregate averages: see :func:`ml.detectors.aggregation.confident_strategy`."""

    CONFIDENT_FAKES = "confident_fakes"
    CLEARLY_REAL = "clearly_real"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Voting:
    """How face scores became one score.

    ``branches``: for each network, which scores were averaged. ``plain_mean`` is the mean of all, for comparison.
    ``confident`` counts the ``faces`` above 0.8, ``clearly_real`` those below 0.2.
    """

    branches: tuple[Branch, ...]
    plain_mean: float
    faces: int
    confident: int
    clearly_real: int


class Copy(StrEnum):
    """How a copy of a face was made for :mod:`ml.stability`."""

    JPEG_90 = "jpeg_90"
    JPEG_60 = "jpeg_60"
    HALF_SIZE = "half_size"
    H264_MEDIUM = "h264_crf_28"
    H264_STRONG = "h264_crf_36"


@dataclass(frozen=True, slots=True)
class CopyScore:
    """The mean fake probability of the chosen faces on copies made in one way."""

    copy: Copy
    fake_probability: float


@dataclass(frozen=True, slots=True)
class Stability:
    """Faces judged again on worse copies: how many, their mean fake probability as they were, and on each copy.

    ``seconds`` is what it cost.
    """

    faces: int
    original: float
    copies: tuple[CopyScore, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class TrackResult:
    """One person through the media.

    ``fake_probability`` is the track's own score. ``timestamps`` are the (start, end) seconds called
    fake. ``best_frame`` is the frame index with the most suspicious face.
    """

    index: int
    fake_probability: float
    faces: tuple[FaceScore, ...]
    timestamps: tuple[tuple[float, float], ...] = ()
    best_frame: int = 0
    voting: Voting | None = None


@dataclass(frozen=True, slots=True)
class SampledFrame:
    """A frame that was looked at: its index among the decoded frames and its time in seconds."""

    index: int
    time: float


class Compression(StrEnum):
    """How strongly a file is compressed, in coarse steps: see :mod:`ml.error_rates`."""

    STRONG = "strong"
    MEDIUM = "medium"
    LIGHT = "light"


class FaceSize(StrEnum):
    """How large the deciding person's face is, in coarse steps: see :mod:`ml.error_rates`."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


@dataclass(frozen=True, slots=True)
class CountedShare:
    """``count`` of ``files``, as a share with its exact 95 % interval from ``low`` to ``high``, all three in [0, 1]."""

    count: int
    files: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """How often the detector erred on labelled files of the same kind that got a verdict or were inconclusive.

    ``compression`` and ``face_size`` are None where files of all kinds had to be taken together. ``false_alarms``:
    real files called fake; ``misses``: fake ones called real; ``found``: fake ones called fake. ``measured_on`` is an
    ISO date. ``used_for_choosing``: the detector or its thresholds were chosen by these files, so it errs more often on
    others.
    """

    kind: MediaKind
    compression: Compression | None
    face_size: FaceSize | None
    false_alarms: CountedShare
    misses: CountedShare
    found: CountedShare
    measured_on: str
    used_for_choosing: bool = False
    measured: bool = field(default=True, init=False)


class NotMeasuredReason(StrEnum):
    """Why there is no error rate to go with a verdict."""

    NO_MEASUREMENT = "no_measurement"
    OTHER_WEIGHTS = "other_weights"
    OTHER_SETTINGS = "other_settings"
    TOO_FEW_FILES = "too_few_files"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """No error rate is known for this detector and kind of file."""

    reason: NotMeasuredReason
    measured: bool = field(default=False, init=False)


@dataclass(frozen=True, slots=True)
class AnalysisResult:
    """Everything found in one file by one detector.

    ``fake_probability`` is that of the worst track and decides the verdict; ``pooled_probability`` runs
    the same strategy over all faces of all tracks, as the reference does, for comparison. Both are
    None when the outcome is NOT_ASSESSABLE. ``confidence`` is the percentage in [0, 100] behind the stated verdict:
    100·p for FAKE, 100·(1-p) for REAL, None otherwise. ``error_rates`` are those measured on files of the same kind, or
    why there are none; None where nobody was judged. ``pooled_voting`` goes with ``pooled_probability``. ``stability``
    is None where there was no verdict to try, or nobody asked.
    """

    outcome: Outcome
    reason: Reason | None
    fake_probability: float | None
    pooled_probability: float | None
    confidence: float | None
    tracks: tuple[TrackResult, ...]
    timestamps: tuple[tuple[float, float], ...]
    frames: tuple[SampledFrame, ...]
    real_frames: int
    fake_frames: int
    media: MediaInfo
    detector: str
    detector_version: str
    weights_sha256: tuple[str, ...]
    seconds: float
    settings: dict[str, Any] = field(default_factory=dict)
    error_rates: ErrorRates | NotMeasured | None = None
    pooled_voting: Voting | None = None
    stability: Stability | None = None
    facts: FileFacts | None = None

    @property
    def real_to_fake_ratio(self) -> float | None:
        """Frames called real ÷ frames called fake; None when no frame is called fake."""
        return self.real_frames / self.fake_frames if self.fake_frames else None

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values, floats rounded to six digits: what is stored and printed.

        ::

            {"schema": 1,
             "outcome": "FAKE" | "REAL" | "INCONCLUSIVE" | "NOT_ASSESSABLE",
             "reason": a Reason's value or null,
             "fake_probability": p, "pooled_probability": p, "confidence": 0..100,          (each may be null)
             "real_frames": n, "fake_frames": n, "real_to_fake_ratio": x or null,
             "timestamps": [[start, end], …],
             "tracks": [{"index": i, "fake_probability": p, "best_frame": n, "timestamps": [[start, end], …],
                         "voting": {"branches": [text, …], "plain_mean": p, "faces": n, "confident": n,
                                    "clearly_real": n},
                         "faces": [{"frame": n, "time": s, "box": [x1, y1, x2, y2],
                                    "detection_probability": p, "fake_probability": p}, …]}, …],
             "frames": [{"index": n, "time": s}, …],
             "media": the fields of MediaInfo,
             "detector": name, "detector_version": text, "weights_sha256": [hex, …],
             "seconds": s,
             "settings": {…},
             "error_rates": null or {"measured": false, "reason": a NotMeasuredReason's value} or
                            {"measured": true, "kind", "compression", "face_size": each a value or null,
                             "false_alarms", "misses", "found": {"count", "files", "share", "low", "high"},
                             "measured_on": ISO date, "used_for_choosing": bool},
             "pooled_voting": as "voting" or null,
             "stability": null or {"faces": n, "original": p, "seconds": s,
                                   "copies": [{"copy": text, "fake_probability": p}, …]},
             "facts": the fields of FileFacts}

        A change of meaning or of a name raises ``schema``; new keys do not.
        """
        fields = asdict(self)
        for track in fields["tracks"]:
            for face in track["faces"]:
                box = face["box"]
                face["box"] = [box["x1"], box["y1"], box["x2"], box["y2"]]
        fields["real_to_fake_ratio"] = self.real_to_fake_ratio
        return {"schema": RESULT_SCHEMA, **_plain(fields)}


def _plain(value: Any) -> Any:
    """Nested values as JSON takes them: tuples become lists, enums their text, floats six digits and never NaN."""
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


class Stage(StrEnum):
    """Where a running analysis stands, in this order."""

    READING = "reading"
    FINDING_FACES = "finding_faces"
    JUDGING = "judging"
    CONCLUDING = "concluding"


# Called with the stage and the share done of the whole analysis, in [0, 1]. It may raise to stop the analysis.
ProgressCallback = Callable[[Stage, float], None]
