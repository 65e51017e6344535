"""What a file says about itself is read part by part; what cannot be read is named and costs nothing else."""

from __future__ import annotations

import errno
import json
import random
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ml.contracts import CredentialsStatus, FactsPart, FileFacts
from ml.detectors.registry import Detector
from ml.faces.detection import FaceDetector
from ml.inference import analyze
from ml.media.confinement import can_filter
from ml.media.credentials import read_credentials
from ml.media.probe import probe
from ml.media.sandbox import read_facts
from tests.credentials_factory import CAPTURED, GENERATED, SIGNER, sign
from tests.media_factory import make_face_image, make_image, make_video, portrait

CREATED: dict[str, Any] = {"action": "c2pa.created", "digitalSourceType": CAPTURED}
EDITED: dict[str, Any] = {"action": "c2pa.color_adjustments"}


def facts_of(path: Path) -> FileFacts:
    return read_facts(path, probe(path))


def with_metadata(source: Path, target: Path, **tags: str) -> Path:
    """A copy of a video with other metadata, not encoded again."""
    options = {"movflags": "use_metadata_tags"}
    with av.open(str(source)) as original, av.open(str(target), "w", options=options) as output:
        stream = output.add_stream_from_template(original.streams.video[0])
        output.metadata.update(tags)
        for packet in original.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return target


def test_a_plain_clip_says_little(drawn_clip: Path) -> None:
    facts = facts_of(drawn_clip)

    assert (facts.created, facts.camera, facts.has_location) == ("", "", False)
    assert facts.credentials.status is CredentialsStatus.NONE
    assert facts.problems == ()


def test_encoders_leave_their_names(drawn_clip: Path) -> None:
    facts = facts_of(drawn_clip)

    assert any(tag.startswith("x264 - core") for tag in facts.encoders)
    assert any(tag.startswith("Lavf") for tag in facts.encoders)
    assert {"FFmpeg", "x264"} <= set(facts.known_software)


def test_a_clip_tells_time_camera_place_and_software(tmp_path: Path, drawn_clip: Path) -> None:
    tags = {
        "com.apple.quicktime.make": "Apple",
        "com.apple.quicktime.model": "iPhone 15",
        "com.apple.quicktime.software": "17.1",
        "com.apple.quicktime.creationdate": "2026-03-01T10:00:00+0530",
        "com.apple.quicktime.location.ISO6709": "+18.5204+073.8567/",
        "comment": "made with CapCut",
    }
    facts = facts_of(with_metadata(drawn_clip, tmp_path / "a.mp4", **tags))

    assert (facts.camera, facts.created) == ("Apple iPhone 15", "2026-03-01T10:00:00+0530")
    assert facts.has_location
    assert "CapCut" in facts.known_software
    assert "17.1" in facts.software_tags
    # That there is a place, not which.
    assert "18.52" not in json.dumps(asdict(facts))


def test_a_photo_tells_what_its_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0131] = "Google", "Pixel 9", "Adobe Photoshop 25.0"
    exif.get_ifd(0x8769)[0x9003] = "2026:03:01 10:00:00"
    exif.get_ifd(0x8825)[2] = (18.0, 31.0, 13.0)
    path = tmp_path / "a.jpg"
    Image.fromarray(portrait()).save(path, exif=exif)

    facts = facts_of(path)

    assert (facts.camera, facts.created, facts.has_location) == ("Google Pixel 9", "2026:03:01 10:00:00", True)
    assert facts.software_tags == ("Adobe Photoshop 25.0",)
    assert facts.known_software == ("Adobe Photoshop",)


def test_a_photo_without_anything_says_nothing(tmp_path: Path) -> None:
    facts = facts_of(make_image(tmp_path / "a.jpg"))

    assert facts == FileFacts()


def test_picture_generators_leave_their_settings(tmp_path: Path) -> None:
    text = PngInfo()
    text.add_text("parameters", "a portrait, Steps: 20, Sampler: Euler a")
    Image.fromarray(portrait()).save(tmp_path / "a.png", pnginfo=text)

    assert facts_of(tmp_path / "a.png").known_software == ("Stable Diffusion",)


def test_the_tool_in_xmp_is_found(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><xmp:CreatorTool>Picsart 24</xmp:CreatorTool></x:xmpmeta>'
    Image.fromarray(portrait()).save(tmp_path / "a.jpg", xmp=xmp)

    facts = facts_of(tmp_path / "a.jpg")

    assert (facts.software_tags, facts.known_software) == (("Picsart 24",), ("Picsart",))


def test_long_and_strange_texts_are_cut_and_cleaned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0131] = "x\x00\x1b[31m" + "long " * 10_000
    Image.fromarray(portrait()).save(tmp_path / "a.jpg", exif=exif)

    (tag,) = facts_of(tmp_path / "a.jpg").software_tags

    assert len(tag) <= 200
    assert tag.isprintable()


def test_credentials_are_read_from_wherever_the_worker_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sign(make_face_image(tmp_path / "a.jpg"), tmp_path / "b.jpg", "image/jpeg", CREATED)
    monkeypatch.chdir(tmp_path)

    assert facts_of(Path("b.jpg")).credentials.status is CredentialsStatus.INTACT


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_signed_credentials_are_validated(tmp_path: Path, suffix: str) -> None:
    mime_type = {"jpg": "image/jpeg", "png": "image/png"}[suffix]
    signed = sign(make_face_image(tmp_path / f"a.{suffix}"), tmp_path / f"b.{suffix}", mime_type, CREATED, EDITED)

    found = facts_of(signed).credentials

    assert (found.status, found.signer, found.issuer) == (CredentialsStatus.INTACT, SIGNER, "Sentinel Tests")
    assert found.actions == ("c2pa.created", "c2pa.color_adjustments")
    assert "Test Camera 1.0" in found.generator
    assert not found.declares_generated


def test_videos_carry_credentials_too(tmp_path: Path, drawn_clip: Path) -> None:
    signed = sign(drawn_clip, tmp_path / "b.mp4", "video/mp4", CREATED)

    assert facts_of(signed).credentials.status is CredentialsStatus.INTACT


def test_a_declared_generation_is_told(tmp_path: Path) -> None:
    made = {"action": "c2pa.created", "digitalSourceType": GENERATED}
    signed = sign(make_face_image(tmp_path / "a.jpg"), tmp_path / "b.jpg", "image/jpeg", made)

    assert facts_of(signed).credentials.declares_generated


def test_a_picture_changed_after_signing_has_broken_credentials(tmp_path: Path) -> None:
    signed = sign(make_face_image(tmp_path / "a.jpg"), tmp_path / "b.jpg", "image/jpeg", CREATED)
    data = bytearray(signed.read_bytes())
    data[-200] ^= 0xFF
    signed.write_bytes(data)

    found = facts_of(signed).credentials

    assert found.status is CredentialsStatus.BROKEN
    assert found.signer == SIGNER


def test_nonsense_where_credentials_should_be_is_unreadable_not_an_error(tmp_path: Path) -> None:
    signed = sign(make_face_image(tmp_path / "a.jpg"), tmp_path / "b.jpg", "image/jpeg", CREATED)
    data = bytearray(signed.read_bytes())
    place = data.index(b"c2pa")
    data[place + 20 : place + 2000] = np.random.default_rng(0).integers(0, 256, 1980, dtype=np.uint8).tobytes()
    signed.write_bytes(data)

    assert facts_of(signed).credentials.status in {CredentialsStatus.UNREADABLE, CredentialsStatus.BROKEN}


@pytest.mark.parametrize(
    "failure",
    [
        subprocess.TimeoutExpired("x", 20),
        subprocess.CalledProcessError(-9, "x"),
        OSError("no processes left"),
    ],
)
def test_a_parser_that_hangs_or_dies_costs_only_the_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    signed = sign(make_face_image(tmp_path / "a.jpg"), tmp_path / "b.jpg", "image/jpeg", CREATED)

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(subprocess, "run", fail)

    facts = facts_of(signed)

    assert facts.credentials.status is CredentialsStatus.UNREADABLE
    assert facts.problems == ()


@pytest.mark.parametrize("answer", ["", "[]", "{}", '{"state": "Valid", "manifests": {}, "active_manifest": "a"}', "1"])
def test_an_answer_that_makes_no_sense_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    signed = sign(make_face_image(tmp_path / "a.jpg"), tmp_path / "b.jpg", "image/jpeg", CREATED)
    done = subprocess.CompletedProcess([], 0, stdout=answer.encode())
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    assert facts_of(signed).credentials.status is CredentialsStatus.UNREADABLE


def test_broken_exif_is_a_problem_not_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(portrait()).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08" + b"\xff" * 40)

    facts = facts_of(path)

    assert facts.camera == ""
    assert set(facts.problems) <= {FactsPart.METADATA}


@pytest.mark.parametrize("name", ["a.mp4", "a.jpg"])
def test_flipped_bytes_never_raise(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.jpg":
        exif = Image.Exif()
        exif[0x0131] = "Adobe Photoshop"
        exif.get_ifd(0x8825)[2] = (18.0, 31.0, 13.0)
        Image.fromarray(portrait()).save(path, exif=exif)
    else:
        make_video(path, count=6)
    info, whole = probe(path), path.read_bytes()
    chance = random.Random(name)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 5, 30])):
            data[chance.randrange(min(len(data), chance.choice([300, 10**9])))] = chance.randrange(256)
        path.write_bytes(data)
        json.dumps(asdict(read_facts(path, info)))


def test_the_result_carries_the_facts(tmp_path: Path, always_real: Detector, finder: FaceDetector) -> None:
    signed = sign(make_face_image(tmp_path / "a.jpg"), tmp_path / "b.jpg", "image/jpeg", CREATED)

    stored = analyze(signed, always_real, face_detector=finder).to_dict()["facts"]

    assert (stored["credentials"]["status"], stored["credentials"]["signer"]) == ("intact", SIGNER)
    assert stored["has_location"] is False


@pytest.mark.skipif(not can_filter(), reason="no filter of system calls for this machine")
def test_the_parser_of_credentials_gets_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken over by a file, it could print them into the result."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"c2pa")
    started: list[dict[str, str]] = []

    def run(*_: Any, env: dict[str, str], **__: Any) -> subprocess.CompletedProcess[bytes]:
        started.append(env)
        return subprocess.CompletedProcess([], 0, b"null")

    monkeypatch.setenv("SECRET_KEY", "a secret")
    monkeypatch.setattr(subprocess, "run", run)
    assert read_credentials(path, "jpeg").status is CredentialsStatus.NONE
    assert started
    assert "a secret" not in started[0].values()


def test_the_parser_of_credentials_is_shut_in(tmp_path: Path) -> None:
    """Taken over by a file, it could open nothing, reach nobody and start nothing; and no thread is left outside."""
    signed = sign(make_face_image(tmp_path / "a.jpg"), tmp_path / "b.jpg", "image/jpeg", CREATED)
    code = """
import os, socket, sys
import c2pa
from ml.media import credentials

threads, shut_in = [], credentials.confine
def confine(limits):
    threads.append(len(os.listdir("/proc/self/task")))
    shut_in(limits)

class Reader:
    def __init__(self, *_, **__):
        for attempt in (lambda: open("/etc/passwd"), lambda: socket.socket(), os.fork, lambda: os.kill(1, 0)):
            try:
                attempt()
            except OSError as error:
                print(error.errno)
        raise c2pa.C2paError.ManifestNotFound("nothing")

credentials.confine, c2pa.Reader = confine, Reader
credentials._print_store(sys.argv[1], "image/jpeg")
print(" threads:", threads)
"""
    done = subprocess.run([sys.executable, "-c", code, signed], capture_output=True, text=True, check=False)
    assert done.stdout.split() == [*[str(errno.ENOSYS)] * 4, "null", "threads:", "[1]"], done
