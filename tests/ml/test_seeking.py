"""Frames reached by way of key frames are, bit for bit, those of decoding in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.media.frames import Decoding, FrameReader, FrameSampler, sample_indices
from ml.media.seeking import KeyFrameReader, NotSeekable, read_packet_table
from tests.media_factory import counter_frame, damage, make_video, read_counter, truncate

COUNT = 150
SIZE = (160, 120)


def moving(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A counter with a moving block and grain, so that each frame depends on others and none equals another."""
    frame = counter_frame(number, SIZE)
    left = 5 + number * 3 % 100
    frame[60:90, left : left + 30] = (30, 200, number % 256)
    noise = np.random.default_rng(number).integers(0, 20, frame[30:60].shape, dtype=np.uint8)
    frame[30:60] += noise
    return frame


def clip(path: Path, **video: Any) -> Path:
    return make_video(path, **{"count": COUNT, "size": SIZE, "frames": moving, **video})


UNEVEN = [n * 40 + (n % 7) * 5 + (2000 if n > 60 else 0) for n in range(COUNT)]
X264 = {"preset": "veryfast", "g": "48", "bf": "3"}
CLIPS: dict[str, Callable[[Path], Path]] = {
    "h264_b_frames": lambda at: clip(at / "a.mp4", options={**X264, "x264-params": "b-pyramid=normal:scenecut=0"}),
    "h264_one_key_frame": lambda at: clip(at / "a.mp4", options={**X264, "g": "1000"}),
    "h264_open_gop": lambda at: clip(at / "a.mp4", options={**X264, "x264-params": "open-gop=1:keyint=40:scenecut=0"}),
    "h264_intra_refresh": lambda at: clip(
        at / "a.mp4", options={**X264, "bf": "0", "x264-params": "intra-refresh=1:keyint=40"}
    ),
    "h264_in_matroska": lambda at: clip(at / "a.mkv", options=X264),
    "h264_transport_stream": lambda at: clip(at / "a.ts", options=X264),
    "h264_interlaced": lambda at: clip(at / "a.mp4", options={**X264, "x264-params": "interlaced=1"}),
    "variable_rate": lambda at: clip(at / "a.mp4", times=UNEVEN, options=X264),
    "variable_rate_matroska": lambda at: clip(at / "a.mkv", times=UNEVEN, options=X264),
    "edit_list": lambda at: clip(at / "a.mp4", hidden=10, options=X264),
    "rotation": lambda at: clip(at / "a.mp4", rotation=90, options=X264),
    "sound": lambda at: clip(at / "a.mp4", audio=True, options=X264),
    "hevc": lambda at: clip(at / "a.mp4", codec="libx265", options={"preset": "ultrafast", "g": "40"}),
    "hevc_open_gop": lambda at: clip(
        at / "a.mp4",
        codec="libx265",
        options={"preset": "medium", "x265-params": "log-level=none:open-gop=1:keyint=40:bframes=4"},
    ),
    "hevc_closed_gop": lambda at: clip(
        at / "a.mp4",
        codec="libx265",
        options={"preset": "medium", "x265-params": "log-level=none:open-gop=0:keyint=40:bframes=4"},
    ),
    "hevc_temporal_layers": lambda at: clip(
        at / "a.mp4",
        codec="libx265",
        options={"preset": "medium", "x265-params": "log-level=none:temporal-layers=3:b-adapt=0:bframes=7:keyint=40"},
    ),
    "mpeg4": lambda at: clip(at / "a.mp4", codec="mpeg4", options={"g": "30"}),
    "mpeg4_b_frames": lambda at: clip(at / "a.mp4", codec="mpeg4", options={"g": "30", "bf": "2"}),
    "mpeg4_in_avi": lambda at: clip(at / "a.avi", codec="mpeg4", options={"g": "30"}),
    "mpeg4_b_frames_in_avi": lambda at: clip(at / "a.avi", codec="mpeg4", options={"g": "30", "bf": "2"}),
    "mpeg2": lambda at: clip(at / "a.ts", codec="mpeg2video", options={"g": "15", "bf": "2"}),
    "vp9": lambda at: clip(
        at / "a.webm", codec="libvpx-vp9", options={"g": "40", "deadline": "realtime", "cpu-used": "8"}
    ),
    "vp9_hidden_frames": lambda at: clip(
        at / "a.webm",
        codec="libvpx-vp9",
        options={"g": "40", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "5", "deadline": "good"},
    ),
    "vp8_hidden_frames": lambda at: clip(
        at / "a.webm",
        codec="libvpx",
        options={"g": "40", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "5"},
    ),
    "av1": lambda at: clip(at / "a.mp4", codec="libsvtav1", options={"g": "40", "preset": "12"}),
    "av1_in_webm": lambda at: clip(at / "a.webm", codec="libsvtav1", options={"g": "40", "preset": "10"}),
    "mjpeg": lambda at: clip(at / "a.avi", codec="mjpeg", pixel_format="yuvj420p"),
}
# For these the reason to decode in order is the point.
IN_ORDER = {"vp8_hidden_frames"}


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("count", [8, 31])
def test_frames_are_those_of_decoding_in_order(tmp_path: Path, name: str, count: int) -> None:
    path = CLIPS[name](tmp_path)
    in_order = {picture.index: picture for picture in FrameReader(path, range(10_000))}

    sampler = FrameSampler(path, count)
    pictures = {picture.index: picture for picture in sampler}

    assert sampler.indices == sample_indices(len(in_order), count)
    assert set(pictures) >= set(sampler.indices)
    for index in sampler.indices:
        assert np.array_equal(pictures[index].pixels, in_order[index].pixels), index
        assert pictures[index].time == in_order[index].time
    if name in IN_ORDER:
        assert sampler.decoding is Decoding.IN_ORDER


# Which of them are decoded between key frames, so that the comparison above is one.
@pytest.mark.parametrize(
    "name",
    [
        "h264_b_frames",
        "h264_open_gop",
        "h264_in_matroska",
        "variable_rate",
        "variable_rate_matroska",
        "edit_list",
        "rotation",
        "sound",
        "hevc",
        "hevc_open_gop",
        "hevc_closed_gop",
        "hevc_temporal_layers",
        "mpeg4",
        "mpeg4_b_frames",
        "vp9",
        "vp9_hidden_frames",
        "av1",
        "av1_in_webm",
    ],
)
def test_usual_files_need_not_be_decoded_whole(tmp_path: Path, name: str) -> None:
    sampler = FrameSampler(CLIPS[name](tmp_path), 4)

    list(sampler)

    assert sampler.decoding is Decoding.BETWEEN_KEY_FRAMES
    assert sampler.decoded < sampler.total
    assert sampler.damaged == 0


def test_every_single_frame_can_be_reached(tmp_path: Path) -> None:
    path = CLIPS["h264_open_gop"](tmp_path)
    table = read_packet_table(path)
    in_order = {picture.index: picture.pixels for picture in FrameReader(path, range(COUNT))}

    for number in range(0, COUNT, 7):
        ((found, _, frame),) = KeyFrameReader(path, table, {number})
        assert found == number
        assert np.array_equal(frame.to_ndarray(format="rgb24"), in_order[number])


def test_damage_where_it_is_needed_leads_to_decoding_in_order(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.mp4", options=X264)
    broken = damage(whole, tmp_path / "broken.mp4", start=0.3, end=0.7)

    sampler = FrameSampler(broken, 16)
    pictures = {picture.index: picture for picture in sampler}

    in_order = {picture.index: picture for picture in FrameReader(broken, range(COUNT))}
    assert sampler.decoding is Decoding.IN_ORDER
    assert sampler.indices == sample_indices(len(in_order), 16)
    assert all(np.array_equal(pictures[i].pixels, in_order[i].pixels) for i in sampler.indices)


def test_a_file_cut_off_is_decoded_in_order(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.mp4", options=X264, faststart=True)
    sampler = FrameSampler(truncate(whole, tmp_path / "cut.mp4", 0.6), 8)

    frames = list(sampler)

    assert sampler.decoding is Decoding.IN_ORDER
    assert 8 <= len(frames) <= 16


def test_codecs_that_were_not_compared_are_not_seekable(tmp_path: Path) -> None:
    with pytest.raises(NotSeekable, match="vp8"):
        read_packet_table(CLIPS["vp8_hidden_frames"](tmp_path))


def test_two_streams_joined_are_not_seekable(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.ts", options=X264)
    path.write_bytes(path.read_bytes() * 2)

    with pytest.raises(NotSeekable):
        read_packet_table(path)


def test_a_file_that_changes_between_the_passes_is_noticed(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", options=X264)
    table = read_packet_table(path)
    shifted = replace(table, packets=tuple(replace(packet, pts=packet.pts + 1) for packet in table.packets))

    with pytest.raises(NotSeekable):
        list(KeyFrameReader(path, shifted, {0, 100}))


def test_long_clips_decode_a_part(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", count=600, options={**X264, "g": "25"})

    sampler = FrameSampler(path, 8)
    numbers = [read_counter(picture.pixels) for picture in sampler]

    assert numbers == sample_indices(600, 8)
    assert sampler.decoded < 150
