"""Attacks a whole site with damaged and disguised files through the real upload, and looks what it did.

python -m tests.hostile_files [--files 600] [--seed 1]

Files are mutations of real containers, and a list of known tricks. What must hold: no answer of 500 or more, every
accepted file ends with a result or a failure of its own, no process of the worker dies, nothing is left behind.
"""

from __future__ import annotations

import argparse
import io
import random
import struct
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.media_factory import (
    make_animation,
    make_audio,
    make_face_image,
    make_face_video,
    make_image,
    make_png_bomb,
    make_video,
)
from tests.site_process import Member, SiteProcess, prepare_data, running_site
from tests.tiny_detector import NAME, write_tiny_detector

ENVIRONMENT = {"SENTINEL_DAILY_LIMIT": "30000", "SENTINEL_HEARTBEAT_SECONDS": "1", "SENTINEL_STABILITY_CHECK": "off"}
Mutation = Callable[[bytearray, random.Random], None]
SIZES_IN_HEADERS = (0, 1, 7, 8, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclass(slots=True)
class Outcome:
    """What the site did. ``worker_deaths`` counts processes of the worker that ended while it was attacked."""

    files: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    server_errors: list[str] = field(default_factory=list)
    worker_deaths: int = 0
    left_behind: list[str] = field(default_factory=list)
    web_megabytes: list[int] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not (self.server_errors or self.worker_deaths or self.left_behind)


def _flip(content: bytearray, dice: random.Random) -> None:
    for _ in range(dice.choice((1, 4, 32, 256))):
        content[dice.randrange(len(content))] = dice.randrange(256)


def _flip_header(content: bytearray, dice: random.Random) -> None:
    for _ in range(dice.choice((1, 3, 9))):
        content[dice.randrange(min(len(content), 600))] = dice.randrange(256)


def _number(content: bytearray, dice: random.Random) -> None:
    """A wrong 32-bit number where sizes, counts and offsets stand: often just before four letters."""
    letters = [place for place in range(4, len(content) - 4, 1) if content[place : place + 4].isalpha()] or [
        dice.randrange(4, max(len(content) - 4, 5))
    ]
    place = dice.choice(letters) - 4 + dice.choice((0, 0, 0, 8, 12, 16))
    if 0 <= place <= len(content) - 4:
        content[place : place + 4] = struct.pack(">I", dice.choice(SIZES_IN_HEADERS))


def _remove(content: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(content))
    del content[start : start + dice.choice((1, 3, 100, 5000))]


def _repeat(content: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(content))
    piece = content[start : start + dice.choice((4, 64, 4096))]
    content[start:start] = piece * dice.choice((1, 2, 50))


def _truncate(content: bytearray, dice: random.Random) -> None:
    del content[dice.randrange(1, len(content)) :]


def _zeros(content: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(content))
    length = min(dice.choice((16, 1000, 20_000)), len(content) - start)
    content[start : start + length] = bytes(length)


MUTATIONS: tuple[Mutation, ...] = (_flip, _flip_header, _number, _number, _remove, _repeat, _truncate, _zeros)


def originals(folder: Path) -> list[Path]:
    """A small sound file of every kind that is taken."""
    faces = [
        make_face_video(folder / "a.mp4", count=12),
        make_face_video(folder / "b.webm", codec="libvpx-vp9", count=6, options={"deadline": "realtime"}),
        make_face_video(folder / "c.mkv", count=12),
        make_face_video(folder / "d.avi", codec="mpeg4", count=12),
        make_face_video(folder / "e.ts", codec="mpeg2video", count=12),
        make_face_video(folder / "f.mov", codec="libx265", count=6),
        make_face_video(folder / "g.flv", codec="flv1", count=12),
        make_face_video(folder / "h.mp4", count=40, faststart=True),
    ]
    photos = [make_face_image(folder / name) for name in ("i.jpg", "j.png", "k.webp", "l.heic")]
    return [*faces, *photos]


def mutated(folder: Path, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """`count` damaged files with their names: the same ones for the same seed."""
    dice = random.Random(seed)
    sound = originals(folder)
    contents = [path.read_bytes() for path in sound]
    for number in range(count):
        place = number % len(sound)
        content = bytearray(contents[place])
        for _ in range(dice.choice((1, 1, 2, 4))):
            if len(content) > 16:
                dice.choice(MUTATIONS)(content, dice)
        if dice.random() < 0.1:
            content += dice.choice(contents)
        yield f"{number}{dice.choice(sound).suffix}", bytes(content)


def tricks(folder: Path) -> Iterator[tuple[str, bytes]]:
    """What has been tried on others: bombs, disguises, several formats in one file, names, numbers that are none."""
    clip = make_face_video(folder / "clip.mp4", count=12).read_bytes()
    photo = make_face_image(folder / "photo.jpg").read_bytes()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("../../etc/passwd", "x")
    page = b"<!doctype html><script>alert(1)</script>"
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    yield "bomb.png", make_png_bomb(folder / "bomb.png").read_bytes()
    yield "one.mp4", make_video(folder / "one.mp4", size=(2, 2), count=3).read_bytes()
    yield "wide.mp4", make_video(folder / "wide.mp4", size=(16000, 16), count=2).read_bytes()
    yield "many.avi", make_video(folder / "many.avi", size=(16, 16), codec="mpeg4", count=9000, fps=30).read_bytes()
    yield "short.avi", make_video(folder / "short.avi", size=(16, 16), codec="mpeg4", count=3000, fps=300).read_bytes()
    yield "endless.gif", make_animation(folder / "endless.gif").read_bytes()
    yield "moving.webp", make_animation(folder / "moving.webp").read_bytes()
    yield "sound.mp3", make_audio(folder / "sound.mp3").read_bytes()
    yield "cover.m4a", make_audio(folder / "cover.m4a", cover=True).read_bytes()
    yield "nothing.mp4", b""
    yield "drawing.jpg", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    yield "page.mp4", page
    yield "list.mp4", playlist
    yield "list.jpg", b"ffconcat version 1.0\nfile '/etc/passwd'\n"
    yield "archive.mp4", archive.getvalue()
    yield "both.jpg", photo + archive.getvalue()
    yield "page.jpg", photo[:2] + b"\xff\xfe" + struct.pack(">H", len(page) + 2) + page + photo[2:]
    yield "script.mp4", clip + page
    yield "before.mp4", page + clip
    yield "exif.jpg", photo[:2] + b"\xff\xe1" + struct.pack(">H", 2000) + b"Exif\0\0MM\0*" + b"\xff" * 1990 + photo[2:]
    yield "c2pa.jpg", photo[:2] + b"\xff\xeb" + struct.pack(">H", 1000) + b"JP\0\1" + b"c2pa" * 248 + photo[2:]
    infinite = bytearray(make_face_video(folder / "n.mkv", count=12).read_bytes())
    place = infinite.find(b"\x44\x89\x88")
    infinite[place + 3 : place + 11] = struct.pack(">d", float("nan"))
    yield "nan.mkv", bytes(infinite)
    rates = make_image(folder / "turned.jpg", orientation=6).read_bytes()
    for name in (
        f"{'x' * 250}.mp4",
        "\u202egpj.4pm",
        "..\\..\\up.mp4",
        "%2e%2e%2fup.mp4",
        "con.mp4",
        "a;b'c.mp4",
        "നീളം.mp4",
    ):
        yield name, rates


def attack(site: SiteProcess, member: Member, files: Iterator[tuple[str, bytes]], scratch: Path) -> Outcome:
    """Upload each file and wait for what was accepted, then look around."""
    outcome = Outcome()
    web = psutil.Process(site.processes["web"].pid)
    accepted: list[str] = []
    for name, content in files:
        path = scratch / "attack.bin"
        path.write_bytes(content)
        # The name goes into the form, not onto a disk.
        named = scratch / "named"
        named.mkdir(exist_ok=True)
        answer = _upload(member, path, name)
        outcome.files += 1
        outcome.statuses[answer.status_code] += 1
        if answer.status_code >= 500:
            outcome.server_errors.append(f"{name}: {answer.status_code} {answer.text[:200]}")
        if answer.status_code == 201:
            accepted.append(answer.json()["id"])
        if outcome.files % 50 == 0:
            outcome.web_megabytes.append(web.memory_info().rss >> 20)
    for public_id in accepted:
        end = member.wait_for(public_id, seconds=300)
        outcome.ends[end["error_code"] or end["outcome"]] += 1
        if end["error_code"] in {"internal_error", "model_unavailable"}:
            outcome.server_errors.append(f"{public_id}: {end['error']}")
    # Django-Q's words; a process that it replaces after so many tasks is "recycled".
    outcome.worker_deaths = site.log("worker").count("reincarnated")
    incoming = site.data / "incoming"
    outcome.left_behind = [str(path) for path in incoming.rglob("*") if path.is_file()]
    return outcome


def _upload(member: Member, path: Path, name: str):  # type: ignore[no-untyped-def]
    token = str(member.session.cookies["csrftoken"])
    with path.open("rb") as file:
        return member.session.post(
            f"{member.site.url}/api/v1/analyses/",
            files={"file": (name, file)},
            headers={"X-CSRFToken": token},
            timeout=300,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=600, help="so many mutations, besides the known tricks")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name in ("prepared", "made"):
            (scratch / name).mkdir()
        prepare_data(scratch / "prepared")
        write_tiny_detector(scratch / "detectors")
        environment = {"SENTINEL_DETECTOR": NAME, "SENTINEL_DETECTORS_DIR": str(scratch / "detectors"), **ENVIRONMENT}
        with running_site(scratch / "prepared", scratch / "data", **environment) as site:
            site.start_worker()
            member = site.member("attacker")
            # The worker has all its processes once it has examined something.
            first = make_face_video(scratch / "first.mp4", count=6)
            member.wait_for(member.upload(first).json()["id"])
            made = scratch / "made"
            outcome = attack(site, member, _both(made, options.files, options.seed), scratch)
            sys.stdout.write(f"{outcome}\n")
            if not outcome.passed:
                sys.exit(f"{site.log('web')[-4000:]}\n{site.log('worker')[-4000:]}")


def _both(folder: Path, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    yield from tricks(folder)
    yield from mutated(folder, count, seed)


if __name__ == "__main__":
    main()
