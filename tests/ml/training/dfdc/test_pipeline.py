"""The whole way, by the commands alone: from ``metadata.json`` to the loss plot and the submission."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from django.core.management import call_command
from PIL import Image
from safetensors.torch import load_file

from ml.detectors.network import FaceClassifier
from ml.training import __main__ as command_line
from ml.training.dfdc.commands import COMMANDS
from ml.training.dfdc.config import DfdcConfig
from ml.training.dfdc.dataset import split_rows
from ml.training.dfdc.folds import read_folds
from ml.training.dfdc.layout import Layout
from ml.training.dfdc.training import DfdcTask
from ml.training.engine import Place, epoch_weights
from ml.training.logbook import METRICS_FILE, read_metrics

ROOT = Path(__file__).parents[4]
TINY = ROOT / "ml/training/configs/dfdc-tiny.toml"


def train_command(data: Path, work: Path, *options: str, launcher: tuple[str, ...] = ()) -> list[str]:
    arguments = ["-m", "ml.training", "train_dfdc", str(data), "--work", str(work), "--device", "cpu"]
    return [sys.executable, *launcher, *arguments, *options]


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)


def finish(process: subprocess.Popen[bytes], log: Path) -> None:
    assert process.wait(timeout=240) == 0, log.read_text()


def of_kind(work: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in read_metrics(work / "seed_111" / METRICS_FILE) if line["kind"] == kind]


def longer_config(folder: Path, *, steps: int = 6, epochs: int = 4) -> Path:
    """The trial's settings with more to do, and checkpoints at the end of each epoch only."""
    text = TINY.read_text().replace("batches_per_epoch = 3", f"batches_per_epoch = {steps}")
    text = text.replace("epochs = 2", f"epochs = {epochs}").replace("schedule_steps = 7", "schedule_steps = 30")
    text = text.replace("checkpoint_every = 2", "checkpoint_every = 0")
    path = folder / "longer.toml"
    path.write_text(text)
    return path


@pytest.mark.slow
@pytest.mark.long
def test_from_metadata_to_loss_plot_and_submission(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, work = tmp_path / "made", tmp_path / "work"
    # One item of the collection is broken, which the exit code tells and nothing else suffers from.
    with pytest.raises(SystemExit) as code:
        call_command("preprocess_data", str(videos), "--out", str(made), "--workers", "2")
    assert code.value.code == 1
    assert "generate_folds: 45 made" in capsys.readouterr().out
    assert {path.name for path in made.iterdir()} == {
        "boxes", "crops", "landmarks", "diffs", "folds.csv", "reports",
    }  # fmt: skip

    call_command("train_dfdc", str(made), work=work, config=TINY, device="cpu", workers=0)
    capsys.readouterr()
    runs = sorted(path.name for path in work.iterdir() if path.is_dir())
    assert runs == ["seed_1001", "seed_1002", "seed_111", "seed_555", "seed_777", "seed_888", "seed_999"]
    call_command("plot_losses", str(work))
    assert capsys.readouterr().out.count("lowest validation loss") == 7
    # A finished run only exports, by default the best epoch.
    before = (work / "seed_555/checkpoint.pt").read_bytes()
    for epoch in ("0", "1"):
        arguments = [str(made), "--work", str(work), "--config", str(TINY), "--seed", "555", "--epoch", epoch]
        assert command_line.main(["train_dfdc", *arguments, "--device", "cpu", "--export", str(tmp_path / epoch)]) == 0
        exported, kept = tmp_path / epoch / "model.safetensors", epoch_weights(work / "seed_555", int(epoch))
        assert exported.read_bytes() == kept.read_bytes()
    assert (work / "seed_555/checkpoint.pt").read_bytes() == before
    with Image.open(work / "losses.png") as picture:
        assert picture.size == (1200, 400 * 7)

    watched = tmp_path / "watched"
    watched.mkdir()
    for name in ("dfdc_train_part_0/aaa.mp4", "dfdc_train_part_0/aab.mp4", "dfdc_train_part_4/cut.mp4"):
        (watched / Path(name).name).symlink_to(videos / name)
    # All seven have the same description, so one lends it.
    detectors = work / "seed_111"
    weights = [str(work / run / "detector" / "model.safetensors") for run in runs]
    options = ["--detector", "dfdc-tiny", "--detectors", str(detectors), "--frames", "12", "--device", "cpu"]
    submission = tmp_path / "submission.csv"
    with pytest.raises(SystemExit):
        call_command("predict_submission", str(watched), str(submission), *options, "--weights", *weights)
    with submission.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["filename"] for line in lines] == ["aaa.mp4", "aab.mp4", "cut.mp4"]
    assert [0.0 < float(line["label"]) < 1.0 for line in lines[:2]] == [True, True]
    assert lines[2]["label"] == ""

    alone = tmp_path / "alone.csv"
    assert command_line.main(["predict_folder", str(watched), str(alone), *options, "--parity"]) == 1
    assert len(alone.read_text().splitlines()) == 4
    assert "cut.mp4: unreadable_media" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.long
def test_a_killed_step_leaves_no_process_and_nothing_half_done(made_once: Layout, tmp_path: Path) -> None:
    out, log = tmp_path / "made", tmp_path / "log"
    command = [sys.executable, "-m", "ml.training", "detect_original_faces", str(made_once.data), "--out", str(out)]
    process = start([*command, "--workers", "2"], log)
    end = time.monotonic() + 120
    while not list(out.glob("boxes/*.json")):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert children
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    assert start([*command, "--workers", "2"], log).wait(timeout=120) == 1
    expected = {path.name: path.read_bytes() for path in (made_once.out / "boxes").iterdir()}
    assert {path.name: path.read_bytes() for path in (out / "boxes").iterdir()} == expected


@pytest.mark.slow
@pytest.mark.long
def test_a_killed_run_goes_on_to_the_same_end(made_once: Layout, tmp_path: Path) -> None:
    config = longer_config(tmp_path)
    options = ["--config", str(config), "--seed", "111", "--workers", "2"]
    whole, broken, log = tmp_path / "whole", tmp_path / "broken", tmp_path / "log"
    finish(start(train_command(made_once.out, whole, *options), log), log)
    for steps in (8, 15):
        process = start(train_command(made_once.out, broken, *options), log)
        end = time.monotonic() + 120
        # In the middle of an epoch, steps after its last checkpoint.
        while len(of_kind(broken, "step")) < steps:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert len(children) > 2
        assert not psutil.wait_procs(children, timeout=10)[1]
    finish(start(train_command(made_once.out, broken, *options), log), log)
    assert "resumed at step 12 of 24" in log.read_text()
    for kind in ("step", "epoch"):
        assert len(of_kind(whole, kind)) == {"step": 24, "epoch": 4}[kind]
        assert of_kind(broken, kind) == of_kind(whole, kind)
    rates = [line["learning_rate"] for line in of_kind(broken, "step")]
    assert rates == pytest.approx([0.01 * (1 - step / 30) ** 0.9 for step in range(24)])


@pytest.mark.slow
@pytest.mark.long
def test_two_processes_train_one_network(made_once: Layout, tmp_path: Path) -> None:
    config = longer_config(tmp_path, steps=2, epochs=2)
    options = ["--config", str(config), "--seed", "111", "--workers", "0"]
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    work, log = tmp_path / "work", tmp_path / "log"
    process = start(train_command(made_once.out, work, *options, launcher=launcher), log)
    finish(process, log)
    assert "process 1 of 2 on cpu" in log.read_text()
    facts = json.loads((work / "seed_111/run.json").read_text())
    assert facts["processes"] == 2
    assert [line["step"] for line in of_kind(work, "step")] == [1, 2, 3, 4]
    epochs = of_kind(work, "epoch")
    assert [line["epoch"] for line in epochs] == [0, 1]
    # Each process judged half of the crops; together they are the figure that one process finds for the kept weights.
    settings = DfdcConfig.load(config)
    _, validation = split_rows(read_folds(made_once.folds), settings)
    task = DfdcTask(settings, made_once, validation, validation, 111, Place(0, 1, torch.device("cpu")), 0)
    model = FaceClassifier(settings.architecture).eval()
    for epoch in (0, 1):
        model.load_state_dict(load_file(str(epoch_weights(work / "seed_111", epoch))))
        with torch.inference_mode():
            figures = task.validate(model, epoch)
        assert figures["validation_loss"] == pytest.approx(epochs[epoch]["validation_loss"], rel=1e-5)
    # Both brought their gradients: one process alone learns something else.
    alone, log_alone = tmp_path / "alone", tmp_path / "log_alone"
    finish(start(train_command(made_once.out, alone, *options), log_alone), log_alone)
    first = [load_file(str(epoch_weights(run / "seed_111", 0)))["fc.weight"] for run in (work, alone)]
    assert not torch.allclose(first[0], first[1])
    assert (work / "seed_111/detector/detector.json").is_file()


def test_the_sites_commands_are_the_pipelines() -> None:
    folder = ROOT / "media_analysis/management/commands"
    parser = command_line.build_parser()
    for name in COMMANDS:
        assert (folder / f"{name}.py").is_file()
        with pytest.raises(SystemExit) as code:
            parser.parse_args([name, "--help"])
        assert code.value.code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["detect_original_faces", "{empty}"], "no dfdc_train_part_*/metadata.json"),
        (["extract_crops", "{empty}", "--workers", "-1"], "must not be negative"),
        (["train_dfdc", "{empty}", "--work", "{empty}/w", "--config", str(TINY)], "folds.csv"),
        (["train_dfdc", "{empty}", "--work", "{empty}/w", "--config", str(TINY), "--export", "x"], "single --seed"),
        (["plot_losses", "{empty}"], "no finished epoch"),
        (["predict_folder", "{empty}", "{empty}/o.csv"], "no videos"),
        (["predict_submission", "{empty}", "{empty}/o.csv"], "the ensemble has 7 networks, and there are 0"),
    ],
)
def test_what_can_not_be_done_is_said_in_a_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SENTINEL_WEIGHTS_DIR", raising=False)
    assert command_line.main([argument.format(empty=tmp_path) for argument in arguments]) == 2
    out = capsys.readouterr().out
    assert said in out
    assert out.count("\n") == 1
