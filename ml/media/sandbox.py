"""Probing and decoding in processes apart, since decoders are where a file from strangers can do harm.

Same functions as in :mod:`ml.media.probe`, `frames`, `photos` and `facts`, with the same answers and errors. For each
file a fresh process is forked from a server that has everything loaded and knows no secrets; it gets the open file and
a pipe, shuts itself in (:mod:`ml.media.confinement`) and answers through the pipe. One that crashes, is killed, or runs
out of memory or time makes the file UNREADABLE_MEDIA, and nobody else notices.
What comes out of such a process is checked like any input: it may have been taken over by the file.
"""

from __future__ import annotations

import fcntl
import gc
import io
import json
import math
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import av
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from ml.contracts import (
    AnalysisError,
    ErrorCode,
    FactsPart,
    FileFacts,
    MediaInfo,
    MediaKind,
)
from ml.media import facts, files, frames, photos
from ml.media import probe as probing
from ml.media.confinement import Limits, confine, die_with_parent, environment, load_all_of
from ml.media.container import MAX_VIDEO_PIXELS, check_regular_file, most_threads
from ml.media.credentials import read_credentials
from ml.media.frames import SAMPLED_FRAMES, Decoding, VideoPicture

PROBE_LIMITS = Limits(processor_seconds=60, seconds=60)
# Probing reads all of a video: so many bytes a second come from a slow disk or network share.
SLOWEST_READING = 10_000_000
# Long videos come in at the command line only, where a decoder may take as long as they last many times over.
DECODE_SECONDS, DECODE_SECONDS_A_SECOND = 900, 20
# So many seconds later than it should have ended by itself, a decoder is no longer listened to.
PATIENCE = 5
# A video is read up to three times where it turns out other than it says.
_MOST_READINGS = 3
# So much of a frame may be on its way.
PIPE_BYTES = 1 << 20
_LONGEST_MESSAGE = 1 << 20
_LONGEST_TEXT, _MOST_ITEMS = 1000, 10_000
_LENGTH = struct.Struct(">I")
# Where this package lies, so that the server finds it.
_ROOT = Path(__file__).parents[2]


def probe(path: Path | str) -> MediaInfo:
    """As :func:`ml.media.probe.probe`."""
    path = Path(path)
    with closing(_ask("probe", path, {}, _probe_limits(path))) as answer:
        return _media_info(path, answer.end())


def _probe_limits(path: Path) -> Limits:
    more = check_regular_file(path) // SLOWEST_READING
    return replace(
        PROBE_LIMITS,
        processor_seconds=PROBE_LIMITS.processor_seconds + more,
        seconds=PROBE_LIMITS.seconds + more,
    )


def read_photo(path: Path | str) -> NDArray[np.uint8]:
    """As :func:`ml.media.photos.read_photo`."""
    path = Path(path)
    with closing(_ask("read_photo", path, {}, PROBE_LIMITS)) as answer:
        picture = next(answer.pictures(), None)
        answer.end()
    if picture is None:
        raise _broken(path, "no picture")
    return picture.pixels


def read_facts(path: Path | str, info: MediaInfo) -> FileFacts:
    """As :func:`ml.media.facts.read_facts`, with the Content Credentials. Never raises AnalysisError."""
    path = Path(path)
    try:
        with closing(_ask("read_facts", path, {"info": asdict(info)}, PROBE_LIMITS)) as answer:
            found = _file_facts(path, answer.end())
    except AnalysisError:
        found = FileFacts(problems=(FactsPart.METADATA,))
    return replace(found, credentials=read_credentials(path, info.container))


class FrameSampler:
    """As :class:`ml.media.frames.FrameSampler`; `duration` in seconds bounds the time that decoding may take."""

    def __init__(
        self, path: Path | str, count: int = SAMPLED_FRAMES, *, claimed: int | None = None, duration: float = 0.0
    ) -> None:
        self.path = Path(path)
        self.count = count
        self._claimed = claimed
        self._seconds = int(max(DECODE_SECONDS, DECODE_SECONDS_A_SECOND * duration))
        self.indices: list[int] = []
        self.total = 0
        self.decoded = 0
        self.damaged = 0
        self.decoding = Decoding.IN_ORDER

    def __iter__(self) -> Iterator[VideoPicture]:
        # Processor time counts every thread's.
        limits = Limits(processor_seconds=self._seconds * most_threads(), seconds=self._seconds)
        asked = {"count": self.count, "claimed": self._claimed}
        with closing(_ask("sample", self.path, asked, limits)) as answer:
            for number, picture in enumerate(answer.pictures()):
                if number >= _MOST_READINGS * self.count:
                    raise _broken(self.path, "pictures without end")
                yield picture
            end = answer.end()
        try:
            self.indices = [int(index) for index in end["indices"]]
            self.total, self.decoded, self.damaged = (int(end[name]) for name in ("total", "decoded", "damaged"))
            self.decoding = Decoding(end["decoding"])
        except (LookupError, TypeError, ValueError) as error:
            raise _broken(self.path, repr(error)) from error


# What callers see of an answer


class _Pipe(io.FileIO):
    """A pipe that is read until a time at the latest: a decoder that is taken over need not heed its own limits."""

    def __init__(self, descriptor: int, seconds: float) -> None:
        super().__init__(descriptor, "rb")
        self._until = time.monotonic() + seconds

    def readinto(self, buffer: Any, /) -> int:
        waiting = select.poll()
        waiting.register(self, select.POLLIN)
        # Milliseconds, and no more of them than fit into 32 bits.
        while not waiting.poll(1000 * min(max(self._until - time.monotonic(), 0), 3600)):
            if time.monotonic() >= self._until:
                raise TimeoutError("the decoder takes too long")
        return super().readinto(buffer)


class _Answer:
    """What a decoder says, as it comes: pictures, then an end, or an error instead."""

    def __init__(self, path: Path, descriptor: int, seconds: float) -> None:
        self._path = path
        self._pipe = io.BufferedReader(_Pipe(descriptor, seconds + PATIENCE), PIPE_BYTES)
        self._end: dict[str, Any] | None = None

    def close(self) -> None:
        """A decoder that is still at work ends at its next picture."""
        self._pipe.close()

    def pictures(self) -> Iterator[VideoPicture]:
        while self._end is None:
            message = self._receive()
            if "end" in message:
                self._end = message["end"]
                return
            yield self._picture(message)

    def end(self) -> dict[str, Any]:
        """The last message. Raises AnalysisError."""
        for _ in self.pictures():
            raise _broken(self._path, "a picture too many")
        if not isinstance(self._end, dict):
            raise _broken(self._path, "no answer")
        return self._end

    def _receive(self) -> dict[str, Any]:
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if length > _LONGEST_MESSAGE:
            raise _broken(self._path, "a message too long")
        try:
            message = json.loads(self._read(length))
            _check(message)
        except ValueError as error:
            raise _broken(self._path, repr(error)) from error
        if not isinstance(message, dict):
            raise _broken(self._path, "not a message")
        if "error" in message:
            code = message["error"]
            raise AnalysisError(
                ErrorCode(code) if code in set(ErrorCode) else ErrorCode.UNREADABLE_MEDIA, str(message.get("detail"))
            )
        if "failure" in message:
            raise RuntimeError(f"decoding {self._path}: {message['failure']}")
        return message

    def _picture(self, message: Mapping[str, Any]) -> VideoPicture:
        try:
            index, seconds = int(message["index"]), _number(message["time"])
            height, width = (int(side) for side in message["shape"])
        except (LookupError, TypeError, ValueError) as error:
            raise _broken(self._path, repr(error)) from error
        if min(height, width) < 1 or height * width > max(MAX_VIDEO_PIXELS, photos.MAX_PIXELS):
            raise _broken(self._path, f"a picture of {width}x{height}")
        pixels = np.empty((height, width, 3), np.uint8)
        target = pixels.data.cast("B")
        while target:
            try:
                count = self._pipe.readinto(target)
            except TimeoutError as error:
                raise _broken(self._path, str(error)) from error
            if not count:
                raise _broken(self._path, "the decoder died within a picture")
            target = target[count:]
        return VideoPicture(index, seconds, pixels)

    def _read(self, length: int) -> bytes:
        try:
            content = self._pipe.read(length)
        except TimeoutError as error:
            raise _broken(self._path, str(error)) from error
        if len(content) != length:
            raise _broken(self._path, "the decoder died")
        return content


def _broken(path: Path, detail: str) -> AnalysisError:
    return AnalysisError(ErrorCode.UNREADABLE_MEDIA, f"{path}: {detail}")


def _check(value: Any) -> None:
    """Raises ValueError for what no decoder of ours says."""
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        raise ValueError("a long text")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a number")
    if isinstance(value, dict | list) and len(value) > _MOST_ITEMS:
        raise ValueError("many items")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            _check(each)


def _media_info(path: Path, said: Mapping[str, Any]) -> MediaInfo:
    numbers = ("width", "height", "rotation", "frame_count", "bit_rate", "jpeg_quality")
    try:
        return MediaInfo(
            kind=MediaKind(said["kind"]),
            container=_word(said["container"]),
            codec=_word(said["codec"]),
            duration=max(_number(said["duration"]), 0.0),
            frame_rate=max(_number(said["frame_rate"]), 0.0),
            has_audio=bool(said["has_audio"]),
            **{name: max(int(said[name]), 0) for name in numbers},
        )
    except (LookupError, TypeError, ValueError) as error:
        raise _broken(path, repr(error)) from error


def _file_facts(path: Path, said: Mapping[str, Any]) -> FileFacts:
    try:
        return FileFacts(
            created=_word(said["created"]),
            has_location=bool(said["has_location"]),
            camera=_word(said["camera"]),
            encoders=_words(said["encoders"]),
            software_tags=_words(said["software_tags"]),
            known_software=_words(said["known_software"]),
            problems=tuple(FactsPart(each) for each in said["problems"]),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise _broken(path, repr(error)) from error


def _number(value: Any) -> float:
    """Raises TypeError for a text, which may say "nan" or "inf", and ValueError for what no float holds."""
    if not isinstance(value, int | float):
        raise TypeError(f"not a number: {value!r}")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not a text: {value!r}")
    return "".join(each for each in value if each.isprintable())


def _words(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(_word(each) for each in values)


# The server, from this side


@dataclass(slots=True)
class _Server:
    process: subprocess.Popen[bytes]
    requests: socket.socket


_server: _Server | None = None
_starting = threading.Lock()


def _ask(operation: str, path: Path, arguments: Mapping[str, Any], limits: Limits) -> _Answer:
    """Have a decoder look at a file. Raises AnalysisError where there is none to look at."""
    check_regular_file(path)
    request = {"operation": operation, "path": str(path), "arguments": arguments, "limits": asdict(limits)}
    message = json.dumps(request).encode()
    try:
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise AnalysisError(ErrorCode.UNREADABLE_MEDIA, str(error)) from error
    try:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            with suppress(OSError):
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            _send(message, [source, writing])
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
    finally:
        os.close(source)
    return _Answer(path, reading, limits.seconds)


def _send(message: bytes, descriptors: list[int]) -> None:
    """Raises AnalysisError (INTERNAL_ERROR) if there is no server to be had."""
    for _ in range(2):
        server = _running_server()
        try:
            socket.send_fds(server.requests, [message], descriptors)
        except OSError:
            # It died: once more with a new one.
            _drop(server)
            continue
        return
    raise AnalysisError(ErrorCode.INTERNAL_ERROR, "no process for decoding can be had")


def _running_server() -> _Server:
    global _server  # noqa: PLW0603 -- one for each process
    with _starting:
        if _server is None:
            ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with its:
                process = subprocess.Popen(  # noqa: S603 -- our own module
                    [sys.executable, "-m", "ml.media.sandbox", str(its.fileno())],
                    pass_fds=[its.fileno()],
                    cwd=_ROOT,
                    env={**environment(), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
            _server = _Server(process, ours)
        return _server


def _drop(server: _Server) -> None:
    global _server  # noqa: PLW0603
    with _starting:
        if _server is server:
            _server = None
            server.requests.close()
            # It ends when nobody can ask it any more.
            server.process.wait()


def _forget() -> None:
    """In a forked process: the server is the parent's, and would live as long as this copy of its socket."""
    global _server, _starting
    if _server is not None:
        _server.requests.close()
        # Not ours to wait for.
        _server.process.returncode = 0
    _server, _starting = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


# The server and the decoders, in their own processes


def serve(descriptor: int) -> None:
    """Fork a decoder for each request, until nobody can ask any more."""
    # Ctrl-C is for who asked; decoders are not waited for.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _load_everything()
    # What lies about here is not for a decoder to clean away: it would wait for threads that stayed behind.
    gc.collect()
    gc.freeze()
    requests = socket.socket(fileno=descriptor)
    while True:
        message, descriptors, _flags, _address = socket.recv_fds(requests, 1 << 16, 2)
        if not message:
            return
        try:
            if os.fork() == 0:
                requests.close()
                _decode(message, *descriptors)
        except OSError as error:
            # No process can be made: ours is the fault, not the file's.
            _write(descriptors[1], {"failure": repr(error)})
        for each in descriptors:
            os.close(each)


def _decode(message: bytes, source: int, target: int) -> NoReturn:
    status = 1
    try:
        die_with_parent()
        request = json.loads(message)
        path = Path(request["path"])
        files.give(path, source)
        confine(Limits(**request["limits"]))
        try:
            _OPERATIONS[request["operation"]](path, target, **request["arguments"])
        except AnalysisError as error:
            _write(target, {"error": error.code, "detail": error.detail[:_LONGEST_TEXT]})
        except MemoryError:
            _write(target, {"error": ErrorCode.UNREADABLE_MEDIA, "detail": "more memory than a file may take"})
        except BrokenPipeError:
            # Nobody listens any more.
            pass
        except Exception as error:  # noqa: BLE001 -- told to who asked, and raised there
            _write(target, {"failure": repr(error)[:_LONGEST_TEXT]})
        status = 0
    finally:
        os._exit(status)


def _probe(path: Path, target: int) -> None:
    _write(target, {"end": asdict(probing.probe(path))})


def _read_photo(path: Path, target: int) -> None:
    _write_picture(target, VideoPicture(0, 0.0, photos.read_photo(path)))
    _write(target, {"end": {}})


def _read_facts(path: Path, target: int, info: dict[str, Any]) -> None:
    found = asdict(facts.read_facts(path, MediaInfo(**{**info, "kind": MediaKind(info["kind"])})))
    _write(target, {"end": {name: value for name, value in found.items() if name != "credentials"}})


def _sample(path: Path, target: int, count: int, claimed: int | None) -> None:
    sampler = frames.FrameSampler(path, count, claimed=claimed)
    for picture in sampler:
        _write_picture(target, picture)
    names = ("indices", "total", "decoded", "damaged", "decoding")
    _write(target, {"end": {name: getattr(sampler, name) for name in names}})


_OPERATIONS: dict[str, Callable[..., None]] = {
    "probe": _probe,
    "read_photo": _read_photo,
    "read_facts": _read_facts,
    "sample": _sample,
}


def _write_picture(target: int, picture: VideoPicture) -> None:
    _write(target, {"index": picture.index, "time": picture.time, "shape": picture.pixels.shape[:2]})
    _write_all(target, np.ascontiguousarray(picture.pixels).data.cast("B"))


def _write(target: int, message: Mapping[str, Any]) -> None:
    content = json.dumps(message).encode()
    _write_all(target, memoryview(_LENGTH.pack(len(content)) + content))


def _write_all(target: int, content: memoryview) -> None:
    while content:
        content = content[os.write(target, content) :]


def _load_everything() -> None:
    """Whatever the libraries load only when they need it: a decoder can open nothing any more."""
    load_all_of(av)
    Image.init()
    most_threads()
    for name, content in _samples():
        path = Path("/loaded") / name
        descriptor = os.memfd_create(name)
        os.write(descriptor, content)
        files.give(path, descriptor)
        info = probing.probe(path)
        facts.read_facts(path, info)
        if info.kind is MediaKind.VIDEO:
            list(frames.FrameSampler(path, 2, claimed=8))
        else:
            photos.read_photo(path)
        os.close(descriptor)


def _samples() -> Iterator[tuple[str, bytes]]:
    """A tiny file of each kind."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "make"
    for file_format in ("JPEG", "PNG", "WEBP", "HEIF"):
        picture = io.BytesIO()
        Image.new("RGBA" if file_format == "PNG" else "RGB", (16, 16)).save(picture, file_format, exif=exif)
        yield file_format, picture.getvalue()
    video = io.BytesIO()
    with av.open(video, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        for _ in range(8):
            container.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        container.mux(stream.encode(None))
    yield "MP4", video.getvalue()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
