"""What ``python -m ml.training`` and the site's ``train`` and ``evaluate`` commands do."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ml.detectors.catalog import DEFAULT_DETECTOR
from ml.detectors.network import FaceClassifier
from ml.detectors.registry import load_detector
from ml.faces.detection import FaceDetector
from ml.inference import analyze
from ml.training import trainer
from ml.training.calibration import apply_calibration, fit_calibration
from ml.training.config import TrainingConfig
from ml.training.evaluate import as_text, find_labelled, score_files, summarise, write_report
from ml.training.export import export_detector
from ml.training.faces_index import index_faces, read_index
from ml.training.samples import FacePool, split_people, validation_samples

DEFAULT_CONFIG = Path(__file__).parent / "configs" / "sentinel-lite0.toml"
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
Write = Callable[[str], Any]


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder with real/<source>/ and fake/<source>/ portraits")
    parser.add_argument("--work", type=Path, required=True, help="folder for the face list, checkpoints and metrics")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="settings of the run, TOML")
    parser.add_argument("--start-from", type=Path, help="WORK of an earlier stage to begin with its weights")
    parser.add_argument("--export", type=Path, help="detector folder to write (default: WORK/detector)")


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("media", type=Path, help="folder with <group>/real/ and <group>/fake/<method>/ media")
    parser.add_argument("--detector", default=DEFAULT_DETECTOR, help="detector by name")
    parser.add_argument("--detectors", type=Path, action="append", default=[], help="a further folder of detectors")
    parser.add_argument("--json", type=Path, help="file for figures and single scores")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")


def prepare(data: Path, work: Path, *, write: Write) -> None:
    """Find the faces, and say what was skipped and why."""
    for fate, count in sorted(index_faces(data, work).items()):
        write(f"{fate}: {count}\n")


def train(
    data: Path, work: Path, config_path: Path, *, start_from: Path | None, export: Path | None, write: Write
) -> None:
    """Find faces where that is not done, train or go on training, and write the detector."""
    config = TrainingConfig.load(config_path)
    prepare(data, work, write=write)
    faces = read_index(work)
    with tqdm(total=config.steps, unit="step", desc="training") as bar:

        def show(step: int, loss: float) -> None:
            bar.update(step - bar.n)
            bar.set_postfix(loss=f"{loss:.3f}")

        state = trainer.train(config, faces, data, work, on_step=show, start_from=start_from)
    _export(trainer.averaged_model(state, config), config, export or work / "detector", write)


def export(work: Path, config_path: Path, folder: Path, *, write: Write) -> None:
    """Write the detector of the last checkpoint; for other thresholds or another title no training is needed."""
    config = TrainingConfig.load(config_path)
    _export(_last_model(work, config), config, folder, write)


def calibrate(data: Path, work: Path, config_path: Path, *, false_alarms: float, write: Write) -> None:
    """Print the calibration for the settings file, and what calibrated scores held-out people get."""
    config = TrainingConfig.load(config_path)
    _, held_out = split_people(read_index(work), config.validation_share, config.split_seed)
    samples = validation_samples(FacePool(held_out, data, config))
    uncalibrated = replace(config, calibration={})
    logits = trainer.predict_logits(_last_model(work, uncalibrated), samples, config).double().numpy()
    calibration = fit_calibration(logits, samples, config, false_alarms=false_alarms)
    write("[calibration]\n")
    for name, (scale, offset) in calibration.items():
        write(f"{name} = [{scale:.4f}, {offset:.4f}]\n")
    calibrated = np.stack([s * logits[:, i] + o for i, (s, o) in enumerate(calibration.values())], axis=1)
    worst = 1.0 / (1.0 + np.exp(-calibrated.max(axis=1)))
    fake = np.asarray([1.0 in sample.targets.values() for sample in samples])
    for name, chosen in (("real", worst[~fake]), ("fake", worst[fake])):
        shown = ", ".join(f"{share:.0%}: {np.quantile(chosen, share):.3f}" for share in QUANTILES)
        write(f"# {len(chosen)} {name} faces of held-out people, quantiles of the score: {shown}\n")


def _last_model(work: Path, config: TrainingConfig) -> FaceClassifier:
    state = trainer.new_state(config, pretrained=False)
    if not trainer.load_checkpoint(state, config, work):
        raise FileNotFoundError(f"no checkpoint in {work}")
    return trainer.averaged_model(state, config)


def _export(model: FaceClassifier, config: TrainingConfig, folder: Path, write: Write) -> None:
    apply_calibration(model, config)
    spec = export_detector(model, config, folder)
    write(f"{spec.name} {spec.version} written to {folder}; weights {spec.weights_sha256}\n")


def evaluate(
    media: Path, detector_name: str, *, search: Sequence[Path] = (), json_path: Path | None, seed: int, write: Write
) -> dict[str, Any]:
    """Score the folder's media, print the figures and write them as JSON."""
    detector = load_detector(detector_name, search=search)
    finder = FaceDetector(device=detector.device)
    scores = score_files(find_labelled(media), media, lambda path: analyze(path, detector, face_detector=finder))
    summary = summarise(scores, seed=seed)
    write(as_text(summary))
    if json_path is not None:
        facts = {
            "detector": detector.spec.name,
            "version": detector.spec.version,
            "weights_sha256": list(detector.weights_sha256),
            "seed": seed,
            "torch": torch.__version__,
        }
        write_report(json_path, summary, scores, facts=facts)
    return summary


def configure_logging(work: Path) -> None:
    """To the terminal and to ``WORK/train.log``."""
    work.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(work / "train.log", encoding="utf-8")],
    )
