"""Frames come evenly spread, in order, upright, and only those that decode."""

from __future__ import annotations

import gc
import struct
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest

from ml.contracts import AnalysisError, ErrorCode
from ml.media.frames import FrameSampler, sample_frames, sample_indices
from ml.media.probe import probe
from tests.media_factory import damage, make_audio, make_video, read_counter, truncate

REFERENCE_300 = (
    "0,9,19,28,38,48,57,67,77,86,96,106,115,125,135,144,154,163,173,183,192,202,212,221,231,241,250,260,270,279,289,299"
)


def test_indices_are_those_of_the_reference() -> None:
    assert sample_indices(300) == [int(text) for text in REFERENCE_300.split(",")]


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [
        (0, 32, []),
        (1, 32, [0]),
        (3, 32, [0, 1, 2]),
        (32, 32, list(range(32))),
        (10, 1, [0]),
        (5, 0, []),
        (2, 2, [0, 1]),
    ],
)
def test_few_frames_come_once_each(total: int, count: int, expected: list[int]) -> None:
    assert sample_indices(total, count) == expected


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mp4", "libx265"), ("a.webm", "libvpx-vp9"), ("a.avi", "mpeg4"), ("a.mp4", "mpeg4")],
)
def test_each_frame_is_the_one_its_index_says(tmp_path: Path, name: str, codec: str) -> None:
    clip = make_video(tmp_path / name, codec=codec, count=70, fps=25)

    frames = sample_frames(clip, 10)

    assert [frame.index for frame in frames] == sample_indices(70, 10)
    assert [read_counter(frame.pixels) for frame in frames] == sample_indices(70, 10)
    assert [frame.time for frame in frames] == pytest.approx([index / 25 for index in sample_indices(70, 10)], abs=0.01)


def test_times_follow_a_variable_rate(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.mkv", count=5, times=[100, 140, 600, 630, 2100])

    frames = sample_frames(clip)

    assert [frame.time for frame in frames] == pytest.approx([0, 0.04, 0.5, 0.53, 2.0], abs=0.002)


def test_frames_before_an_edit_list_are_never_seen(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.mp4", count=50, hidden=10)

    frames = sample_frames(clip, 5)

    assert [read_counter(frame.pixels) for frame in frames] == [10 + index for index in sample_indices(40, 5)]
    assert frames[0].time == 0.0


@pytest.mark.parametrize(("rotation", "red"), [(0, (-1, -1)), (90, (-1, 0)), (180, (0, 0)), (270, (0, -1))])
def test_frames_are_turned_upright(tmp_path: Path, rotation: int, red: tuple[int, int]) -> None:
    clip = make_video(tmp_path / "a.mp4", count=3, size=(320, 240), rotation=rotation)

    pixels = sample_frames(clip)[0].pixels

    assert pixels.shape == ((320, 240, 3) if rotation in {90, 270} else (240, 320, 3))
    corner = pixels[red[0] * 20 if red[0] else 20, red[1] * 20 if red[1] else 20].astype(int)
    assert corner[0] > 150
    assert corner[1] < 90


@pytest.mark.parametrize(
    ("matrix", "red", "rotation"),
    # One step to the right and one down, as the display matrix says.
    [
        ((-1, 0, 0, 1), (-1, 0), 0),
        ((1, 0, 0, -1), (0, -1), 180),
        ((0, 1, 1, 0), (-1, -1), 270),
        ((0, -1, -1, 0), (0, 0), 90),
    ],
    ids=["left to right", "head over heels", "along one diagonal", "along the other"],
)
def test_mirrored_frames_stand_upright_too(
    tmp_path: Path, matrix: tuple[int, int, int, int], red: tuple[int, int], rotation: int
) -> None:
    clip = set_matrix(make_video(tmp_path / "a.mp4", count=3, size=(320, 240)), matrix)

    pixels = sample_frames(clip)[0].pixels

    assert pixels.shape == ((320, 240, 3) if rotation in {90, 270} else (240, 320, 3))
    corner = pixels[red[0] * 20 if red[0] else 20, red[1] * 20 if red[1] else 20].astype(int)
    assert corner[0] > 150
    assert corner[1] < 90
    info = probe(clip)
    assert (info.rotation, info.width, info.height) == (rotation, pixels.shape[1], pixels.shape[0])


def test_frames_go_as_soon_as_nobody_holds_them(drawn_clip: Path) -> None:
    """One that waits for the collection of garbage is a hundred megabytes for an 8K clip."""
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        sample_frames(drawn_clip, 4)
        gc.collect()
        assert not [each for each in gc.garbage if isinstance(each, av.VideoFrame)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


def set_matrix(clip: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write another matrix into the track header of an MP4 (ISO/IEC 14496-12, 8.3.2), as phones do."""
    content = bytearray(clip.read_bytes())
    place = content.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    content[place : place + 20] = struct.pack(">5i", a, b, 0, c, d)
    clip.write_bytes(content)
    return clip


def test_more_is_decoded_when_the_claim_is_too_low(drawn_clip: Path) -> None:
    sampler = FrameSampler(drawn_clip, 8, claimed=20)

    given = {frame.index for frame in sampler}

    assert sampler.decoded == 50
    assert sampler.indices == sample_indices(50, 8)
    assert given.issuperset(sampler.indices)


def test_the_sample_is_drawn_again_when_the_claim_is_too_high(drawn_clip: Path) -> None:
    sampler = FrameSampler(drawn_clip, 8, claimed=400)

    frames = {frame.index: frame for frame in sampler}

    assert sampler.indices == sample_indices(50, 8)
    assert [read_counter(frames[index].pixels) for index in sampler.indices] == sampler.indices


def test_damage_in_the_middle_costs_frames_not_the_analysis(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.mp4", count=150, options={"g": "10"})

    sampler = FrameSampler(damage(whole, tmp_path / "damaged.mp4", start=0.4, end=0.5), 16)
    frames = list(sampler)

    assert 0 < sampler.decoded <= 150
    assert sampler.damaged > 0 or sampler.decoded < 150
    assert len(sampler.indices) == 16
    assert {frame.index for frame in frames}.issuperset(sampler.indices)


def test_a_clip_cut_off_gives_the_frames_before_the_cut(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.mp4", count=200, faststart=True)

    frames = sample_frames(truncate(whole, tmp_path / "cut.mp4", 0.7), 8)

    assert len(frames) == 8
    assert frames[-1].index < 199


def test_one_frame_is_enough(tmp_path: Path) -> None:
    frames = sample_frames(make_video(tmp_path / "a.mp4", count=1))

    assert [(frame.index, frame.time) for frame in frames] == [(0, 0.0)]


def test_colours_survive(tmp_path: Path) -> None:
    colour = np.array([200, 60, 30])
    clip = make_video(tmp_path / "a.mp4", count=2, frames=lambda _: np.full((64, 64, 3), colour, dtype=np.uint8))

    assert np.abs(sample_frames(clip)[0].pixels[32, 32].astype(int) - colour).max() <= 6


def test_sound_has_no_frames(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError) as caught:
        sample_frames(make_audio(tmp_path / "a.m4a"))

    assert caught.value.code is ErrorCode.NO_VIDEO_STREAM


def test_memory_holds_one_frame_at_a_time(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.mp4", count=40, size=(640, 480))
    one = 640 * 480 * 3
    tracemalloc.start()
    for frame in FrameSampler(clip, 32):
        del frame
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 6 * one
