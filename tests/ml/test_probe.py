"""Facts about files, judged by what is in them."""

from __future__ import annotations

import math
import os
import random
import time
from pathlib import Path

import av
import pytest
from PIL import Image

from ml.contracts import AnalysisError, ErrorCode, MediaKind
from ml.media.container import has_media_signature
from ml.media.probe import probe
from tests.media_factory import (
    counter_frame,
    damage,
    make_animation,
    make_audio,
    make_face_image,
    make_image,
    make_png_bomb,
    make_video,
    truncate,
)


def refused(path: Path) -> ErrorCode:
    with pytest.raises(AnalysisError) as caught:
        probe(path)
    return caught.value.code


def test_tells_the_facts_about_a_video(tmp_path: Path) -> None:
    info = probe(make_video(tmp_path / "a.mp4", count=50, fps=25, size=(320, 240), audio=True))

    assert (info.kind, info.container, info.codec) == (MediaKind.VIDEO, "mp4", "h264")
    assert (info.width, info.height, info.rotation) == (320, 240, 0)
    assert (info.frame_count, info.has_audio) == (50, True)
    assert info.duration == pytest.approx(2.0)
    assert info.frame_rate == pytest.approx(25.0)
    assert info.bit_rate > 0


@pytest.mark.parametrize(
    ("name", "container", "codec", "encoder"),
    [
        ("a.webm", "matroska", "vp9", "libvpx-vp9"),
        ("a.mp4", "mp4", "hevc", "libx265"),
        ("a.avi", "avi", "mpeg4", "mpeg4"),
        ("a.mov", "mov", "h264", "libx264"),
        ("a.ts", "mpegts", "h264", "libx264"),
        ("a.mkv", "matroska", "h264", "libx264"),
    ],
)
def test_knows_the_usual_containers_and_codecs(
    tmp_path: Path, name: str, container: str, codec: str, encoder: str
) -> None:
    info = probe(make_video(tmp_path / name, codec=encoder, count=12))

    assert (info.container, info.codec, info.frame_count) == (container, codec, 12)
    assert info.duration == pytest.approx(12 / 25, abs=0.005)
    assert info.frame_rate == pytest.approx(25, abs=0.3)


@pytest.mark.parametrize("name", ["clip.jpg", "clip.txt", "clip", "clip.m3u8"])
def test_the_name_does_not_matter(tmp_path: Path, drawn_clip: Path, name: str) -> None:
    renamed = tmp_path / name
    renamed.write_bytes(drawn_clip.read_bytes())

    assert probe(renamed).kind is MediaKind.VIDEO


def test_a_photo_named_like_a_video_is_a_photo(tmp_path: Path) -> None:
    photo = make_image(tmp_path / "photo.mp4", file_format="JPEG")

    info = probe(photo)

    assert (info.kind, info.codec, info.frame_count, info.duration) == (MediaKind.IMAGE, "jpeg", 1, 0.0)


def test_rotation_swaps_width_and_height(tmp_path: Path) -> None:
    info = probe(make_video(tmp_path / "a.mp4", count=5, size=(320, 240), rotation=90))

    assert (info.width, info.height, info.rotation) == (240, 320, 90)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_every_rotation_is_told_clockwise(tmp_path: Path, rotation: int) -> None:
    assert probe(make_video(tmp_path / "a.mp4", count=2, rotation=rotation)).rotation == rotation


def test_frames_cut_off_by_an_edit_list_do_not_count(tmp_path: Path) -> None:
    info = probe(make_video(tmp_path / "a.mp4", count=50, fps=25, hidden=10))

    assert info.frame_count == 40
    assert info.duration == pytest.approx(1.6)


def test_a_variable_rate_is_averaged(tmp_path: Path) -> None:
    info = probe(make_video(tmp_path / "a.mkv", count=5, times=[0, 40, 500, 530, 2000]))

    assert info.duration == pytest.approx(2.0, abs=0.1)
    assert info.frame_rate == pytest.approx(5 / info.duration)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
def test_a_single_frame_has_a_sane_rate_and_length(tmp_path: Path, name: str) -> None:
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    info = probe(make_video(tmp_path / name, codec=codec, count=1))

    assert info.frame_count == 1
    assert 0 < info.duration < 1
    assert 0 < info.frame_rate <= 30


def test_a_raw_stream_without_times_gets_nominal_ones(tmp_path: Path) -> None:
    info = probe(make_video(tmp_path / "a.bin", container="h264", count=20))

    assert info.frame_count == 20
    assert info.duration == pytest.approx(20 / info.frame_rate)


@pytest.mark.parametrize(("cover", "name"), [(False, "a.m4a"), (True, "a.m4a"), (True, "a.mp4")])
def test_sound_is_no_video_even_with_cover_art(tmp_path: Path, cover: bool, name: str) -> None:
    assert refused(make_audio(tmp_path / name, cover=cover)) is ErrorCode.NO_VIDEO_STREAM


def test_wave_sound_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.wav"), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=800)
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))

    assert refused(tmp_path / "a.wav") is ErrorCode.NO_VIDEO_STREAM


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    assert refused(tmp_path / "nothing.mp4") is ErrorCode.FILE_MISSING


@pytest.mark.parametrize("content", [b"", b"hello\n" * 100, bytes(5000), os.urandom(20_000)])
def test_what_is_no_media_is_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)

    assert refused(path) in {ErrorCode.UNREADABLE_MEDIA, ErrorCode.UNSUPPORTED_TYPE, ErrorCode.NO_VIDEO_STREAM}
    if content[:5] in {b"", b"hello"}:
        assert refused(path) is ErrorCode.UNREADABLE_MEDIA


def test_folders_and_pipes_are_unreadable(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert refused(tmp_path) is ErrorCode.UNREADABLE_MEDIA
    assert refused(tmp_path / "pipe") is ErrorCode.UNREADABLE_MEDIA


def test_a_clip_without_its_index_is_unreadable(tmp_path: Path, drawn_clip: Path) -> None:
    assert refused(truncate(drawn_clip, tmp_path / "cut.mp4", 0.5)) is ErrorCode.UNREADABLE_MEDIA


def test_a_clip_cut_off_after_its_index_tells_what_is_there(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.mp4", count=200, faststart=True)

    info = probe(truncate(whole, tmp_path / "cut.mp4", 0.7))

    assert 0 < info.frame_count < 200
    assert info.duration == pytest.approx(info.frame_count / 25, abs=0.2)


def test_a_clip_damaged_in_the_middle_is_taken(tmp_path: Path, drawn_clip: Path) -> None:
    assert probe(damage(drawn_clip, tmp_path / "damaged.mp4")).kind is MediaKind.VIDEO


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{clip}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {clip}\n",
        "1\n00:00:01,000 --> 00:00:02,000\nfile\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 9999 RTP/AVP 96\n",
        "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>{clip}</BaseURL></MPD>",
    ],
    ids=["hls", "concat", "subtitles", "sdp", "dash"],
)
@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4"])
def test_instructions_to_read_other_files_are_refused(tmp_path: Path, drawn_clip: Path, text: str, name: str) -> None:
    path = tmp_path / name
    path.write_text(text.format(clip=drawn_clip))

    assert refused(path) in {ErrorCode.UNREADABLE_MEDIA, ErrorCode.UNSUPPORTED_TYPE}


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_animated_pictures_are_refused(tmp_path: Path, name: str) -> None:
    assert refused(make_animation(tmp_path / name)) is ErrorCode.UNSUPPORTED_TYPE


@pytest.mark.parametrize("name", ["a.bmp", "a.tiff", "a.gif"])
def test_other_kinds_of_pictures_are_refused(tmp_path: Path, name: str) -> None:
    assert refused(make_image(tmp_path / name)) is ErrorCode.UNSUPPORTED_TYPE


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.heic"])
def test_photos_are_taken_and_turned_upright(tmp_path: Path, name: str) -> None:
    info = probe(make_image(tmp_path / name, size=(320, 240), orientation=6))

    assert (info.kind, info.width, info.height) == (MediaKind.IMAGE, 240, 320)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.heic"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_photos_cut_off_are_unreadable(tmp_path: Path, name: str, share: float) -> None:
    whole = make_face_image(tmp_path / name)

    assert refused(truncate(whole, tmp_path / f"cut-{name}", share)) is ErrorCode.UNREADABLE_MEDIA


def test_a_huge_picture_in_a_small_file_is_refused_without_decoding_it(tmp_path: Path) -> None:
    bomb = make_png_bomb(tmp_path / "bomb.png", width=50_000, height=50_000)
    assert bomb.stat().st_size < 1_000_000

    started = time.perf_counter()

    assert refused(bomb) is ErrorCode.UNREADABLE_MEDIA
    assert time.perf_counter() - started < 0.5


def test_a_picture_just_over_the_limit_is_refused(tmp_path: Path) -> None:
    assert refused(make_png_bomb(tmp_path / "a.png", width=10_000, height=8_001)) is ErrorCode.UNREADABLE_MEDIA


def test_a_phone_photo_with_a_second_picture_inside_is_taken(tmp_path: Path) -> None:
    first, second = (Image.fromarray(counter_frame(number)) for number in (1, 2))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])

    assert probe(tmp_path / "a.jpg").codec == "jpeg"


@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.mkv", "a.avi", "a.jpg", "a.heic"])
def test_flipped_bytes_lead_to_facts_or_a_refusal(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith(("jpg", "heic")):
        whole = make_face_image(path).read_bytes()
    else:
        whole = make_video(path, codec="mpeg4" if name.endswith("avi") else "libx264", count=12).read_bytes()
    chance = random.Random(name)
    for _ in range(40):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 3, 30])):
            data[chance.randrange(min(len(data), chance.choice([100, 10**9])))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            info = probe(path)
        except AnalysisError:
            continue
        assert math.isfinite(info.duration)
        assert math.isfinite(info.frame_rate)
        assert info.duration >= 0
        assert info.frame_count >= 1


def test_a_pipe_is_not_opened_to_look_at_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    # Opening it would wait for ever, but for this.
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    os.write(pipe, b"\xff\xd8\xff" + bytes(13))
    assert not has_media_signature(path)
    os.close(pipe)
