"""Weights are fetched whole, remembered by digest, and refused when they change."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ml.contracts import AnalysisError, ErrorCode
from ml.detectors.catalog import fetched_weights
from ml.detectors.fetch import fetch_weights
from ml.detectors.integrity import read_lock

CONTENT = b"weights" * 100_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/broken":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")
        else:
            super().do_GET()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    path = folder / "final_111"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def server(source: Path) -> Iterator[str]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(source.parent)))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


def refused(source: str | Path, directory: Path, *, sha256: str = "") -> None:
    with pytest.raises(AnalysisError) as caught:
        fetch_weights(source, directory, sha256=sha256)
    assert caught.value.code is ErrorCode.MODEL_UNAVAILABLE
    assert not list(directory.glob(".*.part"))


def test_a_file_is_copied_and_recorded(source: Path, tmp_path: Path) -> None:
    target = fetch_weights(source, tmp_path / "weights")

    assert target == tmp_path / "weights" / "final_111"
    assert target.read_bytes() == CONTENT
    entry = read_lock(target.parent)["final_111"]
    assert (entry["sha256"], entry["size"], entry["source"]) == (DIGEST, len(CONTENT), str(source))


def test_an_address_is_fetched(server: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    target = fetch_weights(f"{server}/final_111", tmp_path, on_progress=lambda done, size: seen.append((done, size)))

    assert target.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_fetched_weights_are_found_by_the_detector(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTINEL_WEIGHTS_DIR", str(tmp_path))
    target = fetch_weights(source, tmp_path / "reference-b7")

    assert fetched_weights("reference-b7") == [target]
    assert fetched_weights("other") == []


def test_what_is_there_is_not_fetched_again(source: Path, tmp_path: Path) -> None:
    first = fetch_weights(source, tmp_path / "weights")
    source.unlink()

    assert fetch_weights(source, tmp_path / "weights") == first


def test_a_source_that_changed_is_refused_and_the_old_file_stays(source: Path, tmp_path: Path) -> None:
    target = fetch_weights(source, tmp_path / "weights")
    target.unlink()
    source.write_bytes(b"something else")

    refused(source, tmp_path / "weights")

    assert not target.exists()
    assert read_lock(target.parent)["final_111"]["sha256"] == DIGEST


def test_a_damaged_copy_is_fetched_anew(source: Path, tmp_path: Path) -> None:
    target = fetch_weights(source, tmp_path / "weights")
    target.write_bytes(b"damaged")

    assert fetch_weights(source, tmp_path / "weights").read_bytes() == CONTENT


def test_the_digest_asked_for_must_match(source: Path, tmp_path: Path) -> None:
    refused(source, tmp_path / "weights", sha256="0" * 64)
    assert fetch_weights(source, tmp_path / "weights", sha256=DIGEST.upper()).exists()


def test_what_is_not_there_is_refused(server: str, tmp_path: Path) -> None:
    refused(f"{server}/nothing", tmp_path / "weights")
    refused(tmp_path / "nothing", tmp_path / "weights")
    refused("http://127.0.0.1:9/final", tmp_path / "weights")
    refused(f"{server}/two words", tmp_path / "weights")


def test_a_connection_that_breaks_off_leaves_nothing(server: str, tmp_path: Path) -> None:
    refused(f"{server}/broken", tmp_path / "weights")

    assert not (tmp_path / "weights" / "broken").exists()


@pytest.mark.parametrize("address", ["http://host/", "http://host/..", "https://host/a/.hidden"])
def test_an_address_must_name_a_file(address: str, tmp_path: Path) -> None:
    refused(address, tmp_path)


def test_other_schemes_are_no_addresses(tmp_path: Path) -> None:
    refused("file:///etc/hostname", tmp_path / "weights")
    refused("ftp://host/file", tmp_path / "weights")
