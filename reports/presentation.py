"""From an analysis's numbers to what a page shows of them: grouped, sorted, scaled, nothing computed anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from media_analysis import evidence
from media_analysis.case_details import case_of, case_rows
from media_analysis.link_words import link_of, origin_rows
from media_analysis.models import Analysis
from media_analysis.wording import reason_text, verdict_text
from reports.curve import Curve, draw_curve
from reports.error_rates import ShownRates, show_error_rates
from reports.playback import Playback, prepare_playback


@dataclass(frozen=True, slots=True)
class Face:
    """One judged face. ``url`` is its picture's, empty where none was kept. ``percent``: fake probability × 100."""

    frame: int
    time: float
    percent: float
    url: str
    called_fake: bool


@dataclass(frozen=True, slots=True)
class Person:
    """One track; ``number`` counts from 1."""

    number: int
    percent: float
    faces: tuple[Face, ...]
    timestamps: tuple[tuple[float, float], ...]
    decides: bool


@dataclass(frozen=True, slots=True)
class FrameBox:
    """A face's box on a key frame, in pixels of the original frame. Its label stands above it if there is room."""

    x: int
    y: int
    width: int
    height: int
    person: int
    percent: float
    called_fake: bool
    label_y: int


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A whole frame that was kept, with the boxes to draw over it. ``font_size`` and the strokes suit its size.

    ``heat_url`` is the heat map over the face of ``heat_person``, ``heat_face_url`` the same face without it.
    """

    frame: int
    time: float
    url: str
    width: int
    height: int
    boxes: tuple[FrameBox, ...]
    font_size: int
    stroke: int
    heat_url: str
    heat_person: int
    heat_face_url: str
    rim: int


@dataclass(frozen=True, slots=True)
class Scale:
    """Where the verdict's score lies between "no sign" and "signs of manipulation", all in percent from 0 to 100."""

    percent: float
    pooled: float
    real_up_to: float
    fake_from: float


@dataclass(frozen=True, slots=True)
class Votes:
    """How one score came about. ``person`` is 0 for all faces together; ``rules`` are :class:`ml.contracts.Branch`."""

    person: int
    percent: float
    mean_percent: float
    faces: int
    confident: int
    clearly_real: int
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CopyTried:
    """A kind of copy (:class:`ml.contracts.Copy`) and the fake probability on it, in percent."""

    copy: str
    percent: float


@dataclass(frozen=True, slots=True)
class Report:
    verdict: str
    reason: str
    scale: Scale | None
    deciding_person: int
    persons: tuple[Person, ...]
    key_frames: tuple[KeyFrame, ...]
    curve: Curve | None
    playback: Playback | None
    thresholds: dict[str, float]
    frame_percent: float
    settings: tuple[tuple[str, str], ...]
    timestamps: tuple[tuple[float, float], ...]
    frames_looked_at: int
    error_rates: ShownRates | None
    file_facts: dict[str, Any] | None
    votes: tuple[Votes, ...]
    copies: tuple[CopyTried, ...]
    copies_of: float
    case: tuple[tuple[str, str], ...]
    # Where the file was fetched from, as label and text; empty where it was sent.
    origin: tuple[tuple[str, str], ...]
    labelled_url: str


def present(analysis: Analysis) -> Report:
    """What to show of a DONE analysis."""
    found: dict[str, Any] = analysis.result or {}
    settings: dict[str, Any] = found.get("settings", {})
    thresholds: dict[str, float] = settings.get("thresholds", {})
    tracks: list[dict[str, Any]] = found.get("tracks", [])
    kept = {name.rpartition("/")[2] for name in analysis.evidence}
    worst = max(tracks, key=lambda track: track["fake_probability"], default=None)
    frame_threshold = thresholds.get("frame", 0.5)
    stability: dict[str, Any] = found.get("stability") or {}
    return Report(
        verdict=verdict_text(analysis),
        reason=reason_text(analysis),
        scale=_scale(analysis, thresholds),
        deciding_person=worst["index"] + 1 if worst else 0,
        persons=tuple(_person(analysis, track, kept, frame_threshold, decides=track is worst) for track in tracks),
        key_frames=_key_frames(analysis, tracks, kept, frame_threshold),
        curve=draw_curve(tracks, thresholds, analysis.media.duration) if analysis.media.kind == "video" else None,
        playback=_playback(analysis, found, kept, frame_threshold) if analysis.media.kind == "video" else None,
        thresholds=thresholds,
        frame_percent=100 * frame_threshold,
        settings=_flatten(settings),
        timestamps=_stretches(found.get("timestamps", [])),
        frames_looked_at=len(found.get("frames", [])),
        error_rates=show_error_rates(analysis),
        # Results from before these were recorded have none of them.
        file_facts=found.get("facts"),
        votes=_votes(found, tracks),
        copies=tuple(CopyTried(each["copy"], 100 * each["fake_probability"]) for each in stability.get("copies", [])),
        copies_of=100 * stability.get("original", 0.0),
        case=case_rows(case_of(analysis)),
        origin=origin_rows(link_of(analysis.media)),
        labelled_url=_url(analysis, evidence.LABELLED_NAME, kept),
    )


def _playback(analysis: Analysis, found: dict[str, Any], kept: set[str], frame_threshold: float) -> Playback:
    def url_of(frame: int) -> str:
        # Of videos examined before all frames were kept, there are the key frames.
        names = (evidence.sample_name(frame), evidence.frame_name(frame))
        return next((_url(analysis, name, kept) for name in names if name in kept), "")

    return prepare_playback(found, analysis.media.duration, frame_threshold=frame_threshold, url_of=url_of)


def _votes(found: dict[str, Any], tracks: list[dict[str, Any]]) -> tuple[Votes, ...]:
    """A row for each person, then one for all faces together where there are several people."""
    counted = [(track["index"] + 1, track["fake_probability"], track.get("voting")) for track in tracks]
    if len(tracks) > 1:
        counted.append((0, found.get("pooled_probability"), found.get("pooled_voting")))
    return tuple(
        Votes(
            person=person,
            percent=100 * probability,
            mean_percent=100 * voting["plain_mean"],
            faces=voting["faces"],
            confident=voting["confident"],
            clearly_real=voting["clearly_real"],
            rules=tuple(dict.fromkeys(voting["branches"])),
        )
        for person, probability, voting in counted
        if voting
    )


def _person(
    analysis: Analysis, track: dict[str, Any], kept: set[str], frame_threshold: float, *, decides: bool
) -> Person:
    return Person(
        number=track["index"] + 1,
        percent=100 * track["fake_probability"],
        faces=tuple(
            Face(
                frame=face["frame"],
                time=face["time"],
                percent=100 * face["fake_probability"],
                url=_url(analysis, evidence.crop_name(track["index"], face["frame"]), kept),
                called_fake=face["fake_probability"] > frame_threshold,
            )
            for face in track["faces"]
        ),
        timestamps=_stretches(track["timestamps"]),
        decides=decides,
    )


def _key_frames(
    analysis: Analysis, tracks: list[dict[str, Any]], kept: set[str], frame_threshold: float
) -> tuple[KeyFrame, ...]:
    faces_by_frame: dict[int, list[tuple[int, dict[str, Any]]]] = {}
    for track in tracks:
        for face in track["faces"]:
            faces_by_frame.setdefault(face["frame"], []).append((track["index"] + 1, face))
    width, height = analysis.media.width, analysis.media.height
    font_size = max(min(width, height) // 15, 8)
    heats = _heat_maps(analysis, tracks, kept)
    return tuple(
        KeyFrame(
            frame=frame,
            time=faces[0][1]["time"],
            url=_url(analysis, evidence.frame_name(frame), kept),
            width=width,
            height=height,
            boxes=tuple(_box(number, face, frame_threshold, font_size) for number, face in faces),
            font_size=font_size,
            stroke=max(font_size // 6, 1),
            rim=max(font_size // 6, 1) * 2,
            heat_url=heats.get(frame, ("", "", 0))[0],
            heat_face_url=heats.get(frame, ("", "", 0))[1],
            heat_person=heats.get(frame, ("", "", 0))[2],
        )
        for frame, faces in sorted(faces_by_frame.items())
        if evidence.frame_name(frame) in kept
    )


def _heat_maps(analysis: Analysis, tracks: list[dict[str, Any]], kept: set[str]) -> dict[int, tuple[str, str, int]]:
    """Frame → addresses of the heat map that was kept of one of its faces and of that face, and the person's number."""
    return {
        face["frame"]: (
            _url(analysis, name, kept),
            _url(analysis, evidence.crop_name(track["index"], face["frame"]), kept),
            track["index"] + 1,
        )
        for track in tracks
        for face in track["faces"]
        if (name := evidence.heat_name(track["index"], face["frame"])) in kept
    }


def _box(person: int, face: dict[str, Any], frame_threshold: float, font_size: int) -> FrameBox:
    x1, y1, x2, y2 = face["box"]
    return FrameBox(
        x=x1,
        y=y1,
        width=x2 - x1,
        height=y2 - y1,
        person=person,
        percent=100 * face["fake_probability"],
        called_fake=face["fake_probability"] > frame_threshold,
        label_y=max(y1 - font_size // 3, font_size),
    )


def _scale(analysis: Analysis, thresholds: dict[str, float]) -> Scale | None:
    if analysis.fake_probability is None or analysis.pooled_probability is None or not thresholds:
        return None
    return Scale(
        percent=100 * analysis.fake_probability,
        pooled=100 * analysis.pooled_probability,
        real_up_to=100 * thresholds["real"],
        fake_from=100 * thresholds["fake"],
    )


def _flatten(settings: dict[str, Any], prefix: str = "") -> tuple[tuple[str, str], ...]:
    """Nested settings as dotted names with their values."""
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, dict):
            rows.extend(_flatten(value, f"{prefix}{name}."))
        else:
            rows.append((f"{prefix}{name}", str(value)))
    return tuple(rows)


def _stretches(pairs: list[list[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((start, end) for start, end in pairs)


def _url(analysis: Analysis, name: str, kept: set[str]) -> str:
    return reverse("media_analysis:evidence", args=[analysis.public_id, name]) if name in kept else ""
