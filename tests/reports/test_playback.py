"""The video beside its scores: where things stand in time, and what the page offers without a script."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client

from accounts.models import User
from media_analysis.models import Analysis
from reports.playback import prepare_playback
from reports.presentation import present
from tests.media_analysis.factories import a_result, make_done, make_media

THRESHOLDS = {"thresholds": {"fake": 0.8, "real": 0.25, "frame": 0.5}}


def face(frame: int, probability: float) -> dict[str, Any]:
    box = [10, 20, 30, 40]
    return {"frame": frame, "time": frame / 10, "box": box, "fake_probability": probability}


def track(index: int, *faces: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "fake_probability": 0.9, "faces": list(faces), "timestamps": [], "best_frame": 0}


FOUND = {
    "settings": THRESHOLDS,
    "frames": [{"index": frame, "time": frame / 10} for frame in (0, 10, 20, 30, 40)],
    "tracks": [
        track(0, face(0, 0.2), face(10, 0.6), face(20, 0.9), face(40, 0.5)),
        track(6, face(20, 0.1)),
    ],
    "timestamps": [[0.5, 2.5], [3.0, 5.0]],
}


def prepared(found: dict[str, Any], duration: float = 5.0) -> Any:
    return prepare_playback(found, duration, frame_threshold=0.5, url_of=lambda frame: f"/{frame}.jpg")


def test_marks_dots_and_ticks_lie_on_one_axis() -> None:
    playback = prepared(FOUND)
    assert playback.length == 5.0
    assert [(stretch.x, stretch.width) for stretch in playback.stretches] == [(10.0, 40.0), (60.0, 40.0)]
    first, second = playback.plot.lines
    assert [(dot.x, dot.y) for dot in first.dots] == [(0.0, 80.0), (20.0, 40.0), (40.0, 10.0), (80.0, 50.0)]
    assert (playback.plot.fake_y, playback.plot.real_y, playback.plot.real_height) == (20.0, 75.0, 25.0)
    assert [tick.position for tick in playback.plot.time_ticks] == [12.5 * place for place in range(9)]
    # Six looks: the seventh person begins again with the first.
    assert (second.number, second.look) == (7, 1)


def test_no_line_crosses_frames_where_nobody_was_seen() -> None:
    first, second = prepared(FOUND).plot.lines
    assert first.parts == ("0.0,80.0 20.0,40.0 40.0,10.0",)
    assert second.parts == ()


def test_each_frame_has_its_faces_also_none() -> None:
    samples = prepared(FOUND).samples
    assert [(sample.frame, sample.time, sample.url) for sample in samples][:2] == [
        (0, 0.0, "/0.jpg"),
        (10, 1.0, "/10.jpg"),
    ]
    assert [[(seen.person, seen.fake) for seen in sample.faces] for sample in samples] == [
        [(1, False)],
        [(1, True)],
        [(1, True), (7, False)],
        [],
        # On the threshold is not above it.
        [(1, False)],
    ]


def test_frames_that_last_longer_than_the_file_says_stay_on_the_axis() -> None:
    assert prepared(FOUND, duration=2.0).length == 4.0
    assert prepared({}, duration=0.0).samples == ()


def test_results_from_before_frames_were_listed_have_those_with_faces() -> None:
    found = {key: value for key, value in FOUND.items() if key != "frames"}
    assert [sample.frame for sample in prepared(found).samples] == [0, 10, 20, 40]


def test_a_sampled_frame_goes_before_a_key_frame_and_a_photo_has_no_playback(owner: User) -> None:
    analysis = make_done(owner)
    for name in ("frame-9.jpg", "sample-0.jpg", "sample-9.jpg"):
        analysis.evidence.append(default_storage.save(f"analyses/{analysis.public_id}/1/{name}", ContentFile(b"jpeg")))
    playback = present(analysis).playback
    assert playback is not None
    assert [sample.url.rpartition("/")[2] for sample in playback.samples] == ["sample-0.jpg", "sample-9.jpg"]
    analysis.evidence = analysis.evidence[:1]
    playback = present(analysis).playback
    assert playback is not None
    assert [sample.url.rpartition("/")[2] for sample in playback.samples] == ["", "frame-9.jpg"]
    assert present(make_done(owner, media=make_media(owner, kind="image"))).playback is None


def read(client: Client, analysis: Analysis) -> str:
    return client.get(f"/analyses/{analysis.public_id}/").content.decode()


def test_without_a_script_there_are_a_player_links_and_a_table(owner: User, as_owner: Client) -> None:
    analysis = make_done(owner)
    page = read(as_owner, analysis)
    source = f"/media/{analysis.media.public_id}/file"
    video = re.search(r"<video[^>]*>", page)
    assert video is not None
    assert f'src="{source}"' in video[0]
    # Opening the page is not playing the video.
    assert 'preload="none"' in video[0]
    assert " controls" in video[0]
    assert f'href="{source}#t=0.20,0.60"' in page
    assert f'href="{source}?download=1"' in page
    assert "says nothing about the moments between them" in page
    assert "Table of scores" in page


def test_the_data_for_the_script_cannot_end_its_element(owner: User, as_owner: Client) -> None:
    analysis = make_done(owner)
    data = re.search(r'<script id="playback" type="application/json">(.*?)</script>', read(as_owner, analysis))
    assert data is not None
    playback = json.loads(data[1])
    assert playback["stretches"] == [[0.2, 0.6]]
    assert playback["samples"][1]["faces"] == [
        {"person": 1, "box": [40, 30, 120, 140], "percent": pytest.approx(91.0), "fake": True}
    ]


def test_a_video_without_a_face_can_be_played_and_has_no_curve(owner: User, as_owner: Client) -> None:
    found = a_result(outcome="NOT_ASSESSABLE", tracks=[], timestamps=[], fake_probability=None)
    nothing: dict[str, Any] = {"fake_probability": None, "pooled_probability": None, "confidence": None}
    analysis = make_done(owner, outcome="NOT_ASSESSABLE", reason="no_face", result=found, **nothing)
    page = read(as_owner, analysis)
    assert "<video" in page
    assert "data-frames" not in page
    assert "says nothing about the moments" not in page
    photo = read(as_owner, make_done(owner, media=make_media(owner, kind="image", container="jpeg")))
    assert "<video" not in photo


def test_each_heat_map_lies_beside_its_face_until_a_script_lays_it_over(owner: User, as_owner: Client) -> None:
    analysis = make_done(owner)
    for name in ("frame-9.jpg", "heat-0-9.jpg", "crop-0-9.jpg"):
        analysis.evidence.append(default_storage.save(f"analyses/{analysis.public_id}/1/{name}", ContentFile(b"jpeg")))
    analysis.save()
    page = read(as_owner, analysis)
    heat = page[page.index('<figure class="heat"') :]
    heat = heat[: heat.index("</figure>")]
    assert re.findall(r"evidence/([\w-]+\.jpg)", heat) == ["crop-0-9.jpg", "heat-0-9.jpg"]
    assert "<label hidden>" in heat
