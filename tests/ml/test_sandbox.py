"""Decoders run apart: same answers, no way out, and no harm to anybody when they die."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.contracts import AnalysisError, ErrorCode, MediaKind
from ml.media import frames, photos, probe, sandbox
from ml.media.confinement import Limits, can_filter, confine
from tests.media_factory import make_video

# This process has large libraries loaded, unlike the server.
ANY_LIMITS = Limits(memory=64 << 30, seconds=20)
only_with_filter = pytest.mark.skipif(not can_filter(), reason="no system call filter for this machine")


def confined(action: Callable[[], Any], limits: Limits = ANY_LIMITS) -> str:
    """What becomes of an action in a confined process: "done", the error's name, or the signal that ended it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            confine(limits)
            try:
                action()
                os.write(writing, b"done")
            except BaseException as error:  # noqa: BLE001 -- to be told
                os.write(writing, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.close(writing)
    said = os.read(reading, 100).decode()
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    return signal.Signals(status & 127).name if status & 127 else said


def test_a_video_is_probed_and_sampled_as_in_this_process(drawn_clip: Path) -> None:
    assert sandbox.probe(drawn_clip) == probe.probe(drawn_clip)
    apart, here = sandbox.FrameSampler(drawn_clip, 8), frames.FrameSampler(drawn_clip, 8)
    for one, other in zip(apart, here, strict=True):
        assert (one.index, one.time) == (other.index, other.time)
        assert np.array_equal(one.pixels, other.pixels)
    for name in ("indices", "total", "decoded", "damaged", "decoding"):
        assert getattr(apart, name) == getattr(here, name)


def test_a_photo_is_read_as_in_this_process(photo: Path) -> None:
    assert sandbox.probe(photo) == probe.probe(photo)
    assert np.array_equal(sandbox.read_photo(photo), photos.read_photo(photo))


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", ErrorCode.UNREADABLE_MEDIA),
        (b"no media" * 99, ErrorCode.UNREADABLE_MEDIA),
        (b"GIF89a", ErrorCode.UNSUPPORTED_TYPE),
    ],
)
def test_refusals_come_through(tmp_path: Path, content: bytes, code: ErrorCode) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(AnalysisError) as caught:
        sandbox.probe(path)
    assert caught.value.code is code
    with pytest.raises(AnalysisError) as missing:
        sandbox.probe(tmp_path / "nothing")
    assert missing.value.code is ErrorCode.FILE_MISSING


@only_with_filter
@pytest.mark.parametrize(
    "action",
    [
        lambda: open("/etc/passwd"),  # noqa: SIM115
        lambda: os.open("/tmp/made", os.O_CREAT | os.O_WRONLY),
        lambda: os.unlink("/tmp/nothing-here"),
        socket.socket,
        os.fork,
        lambda: os.execv("/bin/true", ["true"]),  # noqa: S606
        lambda: os.kill(os.getppid(), 0),
        lambda: os.mkdir("/tmp/made"),
        # With these a pipe sends another process a signal of one's choice.
        lambda: fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid()),
        lambda: fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGKILL),
    ],
)
def test_a_confined_process_has_no_way_out(action: Callable[[], Any]) -> None:
    assert confined(action) == "OSError"


def test_a_confined_process_can_copy_its_descriptors() -> None:
    assert confined(lambda: os.dup(0)) == "done"
    assert confined(lambda: fcntl.fcntl(0, fcntl.F_GETFL)) == "done"


def test_a_confined_process_can_compute_in_threads() -> None:
    def count() -> None:
        threads = [threading.Thread(target=lambda: hashlib.sha256(bytes(10**6))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert confined(count) == "done"


def test_memory_time_and_files_are_limited(tmp_path: Path) -> None:
    assert confined(lambda: bytearray(2 << 30), replace(ANY_LIMITS, memory=1 << 30)) == "MemoryError"
    assert confined(lambda: time.sleep(30), replace(ANY_LIMITS, seconds=1)) == "SIGALRM"
    with (tmp_path / "open").open("wb") as file:
        assert confined(lambda: os.write(file.fileno(), b"x")) == "OSError"


def endless() -> None:
    while True:
        pass


def test_processor_time_is_limited() -> None:
    assert confined(endless, replace(ANY_LIMITS, processor_seconds=1)) in {"SIGXCPU", "SIGKILL"}


def decoders() -> list[int]:
    """Process ids of the decoders at work."""
    server = sandbox._server
    assert server is not None
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_killed_decoder_makes_the_file_unreadable_and_harms_nothing_else(tmp_path: Path) -> None:
    path = make_video(tmp_path / "large.mp4", count=40, size=(1280, 720))
    pictures = iter(sandbox.FrameSampler(path, 32))
    next(pictures)
    (decoder,) = decoders()
    # Who is out of memory ends it, and nobody else.
    assert Path(f"/proc/{decoder}/oom_score_adj").read_text() == "1000\n"
    os.kill(decoder, signal.SIGKILL)
    with pytest.raises(AnalysisError) as caught:
        list(pictures)
    assert caught.value.code is ErrorCode.UNREADABLE_MEDIA
    assert sandbox.probe(path).kind is MediaKind.VIDEO


def test_a_decoder_that_nobody_listens_to_ends(tmp_path: Path) -> None:
    path = make_video(tmp_path / "large.mp4", count=40, size=(1280, 720))
    pictures = iter(sandbox.FrameSampler(path, 32))
    next(pictures)
    assert decoders()
    pictures.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 10
    while decoders():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_server_is_replaced(drawn_clip: Path) -> None:
    expected = sandbox.probe(drawn_clip)
    server = sandbox._server
    assert server is not None
    server.process.kill()
    server.process.wait()
    assert sandbox.probe(drawn_clip) == expected


def test_a_forked_process_has_a_server_of_its_own(drawn_clip: Path) -> None:
    sandbox.probe(drawn_clip)
    first = sandbox._server
    assert first is not None
    pid = os.fork()
    if pid == 0:
        own = sandbox._server is None
        sandbox.probe(drawn_clip)
        os._exit(0 if own and sandbox._server is not None and sandbox._server.process.pid != first.process.pid else 1)
    assert os.waitpid(pid, 0)[1] == 0
    sandbox.probe(drawn_clip)
    assert sandbox._server is first


def test_the_server_ends_with_its_process(drawn_clip: Path) -> None:
    code = "import sys; from ml.media import sandbox; sandbox.probe(sys.argv[1]); print(sandbox._server.process.pid)"
    done = subprocess.run([sys.executable, "-c", code, drawn_clip], capture_output=True, text=True, check=True)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{done.stdout.strip()}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_server_gets_no_secrets(drawn_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "a secret")
    monkeypatch.setattr(sandbox, "_server", None)
    sandbox.probe(drawn_clip)
    server: Any = sandbox._server
    assert b"SECRET" not in Path(f"/proc/{server.process.pid}/environ").read_bytes()
    server.requests.close()
    server.process.wait()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\0\0\0\4nope",
        b"\xff\xff\xff\xff",
        b'\0\0\0\x0d{"end": null}',
        b'\0\0\0\x0e{"end": {"a":}}',
        b"\0\0\0\x02[]",
        b'\0\0\0\x31{"index": 0, "time": 0, "shape": [99999, 9999999]}',
        b'\0\0\0\x29{"index": 0, "time": 0, "shape": [8, 8]}  tooshort',
        b'\0\0\0\x15{"end": {"kind": NaN}}',
    ],
)
def test_what_a_taken_over_decoder_says_is_not_believed(drawn_clip: Path, said: bytes) -> None:
    reading, writing = os.pipe()
    os.write(writing, said)
    os.close(writing)
    answer = sandbox._Answer(drawn_clip, reading, 10)
    with pytest.raises(AnalysisError) as caught:
        sandbox._media_info(drawn_clip, answer.end())
    assert caught.value.code is ErrorCode.UNREADABLE_MEDIA
    answer.close()


@pytest.mark.parametrize("said", ["nan", "inf", 10**400, None], ids=["nan", "inf", "huge", "nothing"])
def test_a_taken_over_decoder_brings_in_no_numbers_that_are_none(drawn_clip: Path, said: object) -> None:
    facts = asdict(probe.probe(drawn_clip))
    for name in ("duration", "frame_rate"):
        with pytest.raises(AnalysisError):
            sandbox._media_info(drawn_clip, {**facts, name: said})


def test_a_taken_over_decoder_is_not_waited_for(drawn_clip: Path) -> None:
    """It could have ignored the signal by which its own time ends."""
    reading, writing = os.pipe()
    answer = sandbox._Answer(drawn_clip, reading, 0.05 - sandbox.PATIENCE)
    with pytest.raises(AnalysisError) as caught:
        answer.end()
    assert caught.value.code is ErrorCode.UNREADABLE_MEDIA
    answer.close()
    os.close(writing)


def test_pictures_have_an_end(drawn_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    for index in range(10):
        head = b'{"index": %d, "time": 0, "shape": [1, 1]}' % index
        os.write(writing, len(head).to_bytes(4, "big") + head + b"RGB")
    monkeypatch.setattr(sandbox, "_ask", lambda *_: sandbox._Answer(drawn_clip, reading, 10))
    pictures = iter(sandbox.FrameSampler(drawn_clip, 2))
    assert [next(pictures).index for _ in range(6)] == [0, 1, 2, 3, 4, 5]
    with pytest.raises(AnalysisError) as caught:
        next(pictures)
    assert caught.value.code is ErrorCode.UNREADABLE_MEDIA
    os.close(writing)


def test_a_large_file_may_be_read_for_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Limits] = []

    def ask(_operation: str, path: Path, _arguments: object, limits: Limits) -> None:
        asked.append(limits)
        raise AnalysisError(ErrorCode.UNREADABLE_MEDIA, str(path))

    monkeypatch.setattr(sandbox, "_ask", ask)
    for size in (1000, 20 * 10**9):
        with (tmp_path / "film.mp4").open("wb") as file:
            file.truncate(size)
        with pytest.raises(AnalysisError):
            sandbox.probe(tmp_path / "film.mp4")
    assert [limits.seconds for limits in asked] == [60, 2060]
    assert [limits.processor_seconds for limits in asked] == [60, 2060]
