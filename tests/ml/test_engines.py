"""Another engine runs a network only if it gives what torch gives."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ml import engines
from ml.engines import Engine, EngineError, Precision, accelerate, openvino_network
from tests.tiny_detector import tiny_network

EXAMPLE = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("count", [1, 2, 8])
def test_openvino_gives_what_torch_gives_for_any_number_of_pictures(count: int) -> None:
    network = tiny_network()
    batch = torch.rand(count, 3, 96, 96)

    run, engine = accelerate(network, EXAMPLE)

    assert engine is Engine.OPENVINO
    with torch.inference_mode():
        assert torch.allclose(run(batch)[0], network(batch), atol=1e-4)


def test_threads_may_share_a_network() -> None:
    run, _ = accelerate(tiny_network(), EXAMPLE)
    pictures = [torch.rand(1, 3, 96, 96) for _ in range(24)]
    alone = [run(picture)[0] for picture in pictures]

    with ThreadPoolExecutor(6) as pool:
        together = [outputs[0] for outputs in pool.map(run, pictures)]

    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize("at_once", [1, 3, 8])
def test_a_network_for_so_many_pictures_takes_any_number(at_once: int) -> None:
    network = tiny_network()
    batch = torch.rand(5, 3, 96, 96)

    run, engine = accelerate(network, EXAMPLE, at_once=at_once)

    assert engine is Engine.OPENVINO
    with torch.inference_mode():
        assert torch.allclose(run(batch)[0], network(batch), atol=1e-4)


def test_convolutions_alone_take_pictures_of_any_size() -> None:
    network = nn.Conv2d(3, 4, 3).eval()
    batch = torch.rand(1, 3, 30, 50)

    run, _ = accelerate(network, EXAMPLE)

    assert torch.allclose(run(batch)[0], network(batch), atol=1e-5)


def test_the_answer_stays_when_the_network_runs_again() -> None:
    run, _ = accelerate(tiny_network(), EXAMPLE)

    first = run(EXAMPLE)[0]
    before = first.clone()
    run(1 - EXAMPLE)

    assert torch.equal(first, before)


def test_torch_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_ENGINE", "torch")

    run, engine = accelerate(tiny_network(), EXAMPLE)

    assert engine is Engine.TORCH
    assert run(EXAMPLE)[0].shape == (2, 1)


def test_an_engine_nobody_knows_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_ENGINE", "abacus")

    with pytest.raises(ValueError, match="abacus"):
        accelerate(tiny_network(), EXAMPLE)


class Fickle(nn.Module):
    """Tells another truth while it is traced."""

    def forward(self, faces: Tensor) -> Tensor:
        shift = 1.0 if torch._C._get_tracing_state() is not None else 0.0
        return faces.mean(dim=(2, 3)) + shift


def test_a_conversion_that_differs_from_torch_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(EngineError, match="differs"):
        openvino_network(Fickle().eval(), EXAMPLE)

    with caplog.at_level(logging.WARNING):
        run, engine = accelerate(Fickle().eval(), EXAMPLE)
    assert engine is Engine.TORCH
    assert torch.allclose(run(EXAMPLE)[0], EXAMPLE.mean(dim=(2, 3)))
    assert "differs" in caplog.text


class Unconvertible(nn.Module):
    def forward(self, faces: Tensor) -> Tensor:
        if torch._C._get_tracing_state():
            raise RuntimeError("cannot be traced")
        return faces.mean(dim=(2, 3))


def test_what_cannot_be_converted_runs_in_torch() -> None:
    run, engine = accelerate(Unconvertible().eval(), EXAMPLE)

    assert engine is Engine.TORCH
    assert run(EXAMPLE)[0].shape == (2, 3)


def test_a_converted_network_is_kept_for_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_ENGINE_CACHE_DIR", str(tmp_path / "engines"))
    network = tiny_network()
    first = openvino_network(network, EXAMPLE, key="tiny")(EXAMPLE)[0]
    assert sorted(path.suffix for path in (tmp_path / "engines").iterdir()) == [".bin", ".xml"]

    def must_not_convert(*_: object) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(engines, "_convert", must_not_convert)

    assert torch.equal(openvino_network(network, EXAMPLE, key="tiny")(EXAMPLE)[0], first)


@pytest.mark.parametrize("damage", ["other weights", "cut off", "no xml"])
def test_a_kept_network_that_is_not_this_one_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    monkeypatch.setenv("SENTINEL_ENGINE_CACHE_DIR", str(tmp_path))
    network = tiny_network()
    openvino_network(network if damage != "other weights" else tiny_network(seed=8, bias=3), EXAMPLE, key="tiny")
    (kept,) = tmp_path.glob("*.xml")
    if damage == "cut off":
        kept.with_suffix(".bin").write_bytes(b"short")
    if damage == "no xml":
        kept.write_text("<net")

    with caplog.at_level(logging.WARNING):
        run, engine = accelerate(network, EXAMPLE, key="tiny")

    assert engine is Engine.OPENVINO
    assert torch.allclose(run(EXAMPLE)[0], network(EXAMPLE), atol=1e-4)
    assert "made anew" in caplog.text
    caplog.clear()
    accelerate(network, EXAMPLE, key="tiny")
    assert not caplog.text


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SENTINEL_ENGINE_CACHE_DIR", str(tmp_path / "file"))

    assert accelerate(tiny_network(), EXAMPLE, key="tiny")[1] is Engine.OPENVINO


def test_a_full_disk_is_not_left_fuller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = engines._import_openvino()
    forgotten, under_way = tmp_path / "net.1.part.bin", tmp_path / "net.2.part.bin"
    forgotten.touch()
    os.utime(forgotten, (0, 0))
    under_way.touch()

    def save(_model: object, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        path.with_suffix(".bin").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(openvino, "save_model", save)

    engines._keep(None, tmp_path / "net.xml")

    assert list(tmp_path.glob("net.*")) == [under_way]


def test_less_precision_is_only_for_those_who_ask() -> None:
    network = tiny_network()
    exact = openvino_network(network, EXAMPLE)(EXAMPLE)[0]

    coarse = openvino_network(network, EXAMPLE, precision=Precision.BFLOAT16)(EXAMPLE)[0]

    assert torch.allclose(exact, coarse, atol=0.2)


def test_nothing_is_reported_to_anybody(tmp_path: Path) -> None:
    code = """
import sys, torch
from ml.engines import openvino_network
openvino_network(torch.nn.Conv2d(3, 4, 3).eval(), torch.rand(1, 3, 32, 32))
sys.exit("openvino_telemetry.main" in sys.modules)
"""
    root = Path(engines.__file__).parent.parent
    home = tmp_path / "home"
    home.mkdir()

    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=root, env={**os.environ, "HOME": str(home)})

    assert done.returncode == 0
    # Its client would keep a number of this machine there.
    assert list(home.iterdir()) == []


def test_signals_are_survived_whichever_network_goes_first() -> None:
    script = """
import gc, signal, subprocess, torch
from ml.engines import openvino_network
make = lambda: openvino_network(torch.nn.Conv2d(3, 4, 3).eval(), torch.rand(1, 3, 16, 16))
first, second = make(), make()
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGCHLD, lambda *_: print("told"))
subprocess.run(["true"], check=True)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "told\n"), done.stderr
