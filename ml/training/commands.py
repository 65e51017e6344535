"""What ``python -m ml.training`` and the site's ``train`` and ``evaluate`` commands do."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ml.detectors.catalog import DEFAULT_DETECTOR, find_detector
from ml.detectors.network import FaceClassifier
from ml.error_rates import FILE as ERROR_RATES_FILE
from ml.training import trainer
from ml.training.calibration import apply_calibration, fit_calibration
from ml.training.config import TrainingConfig
from ml.training.evaluate import EVALUATION_FILE, PAGE_FILE, SCORES_FOLDER, Evaluation
from ml.training.evaluate import evaluate as run_evaluation
from ml.training.evaluation_page import render_page
from ml.training.export import export_detector
from ml.training.faces_index import index_faces, read_index
from ml.training.measured_rates import write_json
from ml.training.robustness import RECODINGS, Harm
from ml.training.samples import FacePool, split_people, validation_samples
from ml.training.statistics import DRAWS
from ml.training.summary import as_text

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
    parser.add_argument("--detector", default=DEFAULT_DETECTOR, help="detector by name (default: %(default)s)")
    parser.add_argument("--detectors", type=Path, action="append", default=[], help="a further folder of detectors")
    parser.add_argument("--device", help="torch device; default: a GPU if there is one")
    parser.add_argument("--out", type=Path, help="folder for evaluation.json, evaluation.html and error_rates.json")
    parser.add_argument("--json", type=Path, help="file for figures and single scores, instead of or beside --out")
    parser.add_argument("--cache", type=Path, help="folder to keep scores in, so that no file is examined twice")
    parser.add_argument("--workers", type=int, default=1, help="processes that examine files (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--draws", type=int, default=DRAWS, help="of the bootstrap (default: %(default)s)")
    parser.add_argument(
        "--pool",
        type=pool,
        action="append",
        default=[],
        metavar="NAME=GROUP,GROUP",
        help="groups to take together, by name, by the folder above, or by a pattern like *c40*",
    )
    parser.add_argument(
        "--robustness", action="store_true", help="also measure worse copies of the media (15 times longer)"
    )
    parser.add_argument(
        "--harm",
        type=Harm,
        action="append",
        default=[],
        metavar="HARM",
        help=f"measure copies made worse in this way only: {', '.join(Harm)}",
    )
    parser.add_argument(
        "--used-for-choosing",
        action="store_true",
        help="the detector or its thresholds were chosen by these files: say so wherever a figure is shown",
    )
    parser.add_argument(
        "--install",
        action="store_true",
        help="put error_rates.json, and evaluation.json without single scores, beside the weights: the site shows them",
    )


def pool(text: str) -> tuple[str, list[str]]:
    """``name=group,group``. Raises argparse.ArgumentTypeError for anything else."""
    name, _, groups = text.partition("=")
    wanted = [group for group in groups.split(",") if group]
    if not name or not wanted:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=GROUP,GROUP")
    return name, wanted


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


def evaluate(options: Mapping[str, Any], *, write: Write) -> dict[str, Any]:
    """Measure a detector as :func:`add_evaluate_arguments` says; print the figures, write what was asked for.

    Returns the report. Raises FileNotFoundError if nothing is labelled or the error rates have no folder to go to.
    """
    out: Path | None = options["out"]
    cache = options["cache"] or (out and out / SCORES_FOLDER)
    folder = find_detector(options["detector"], options["detectors"]).folder
    if options["install"] and folder is None:
        raise FileNotFoundError(f"{options['detector']} has no folder of its own for its error rates")
    measured = run_evaluation(
        Evaluation(
            media=options["media"],
            detector=options["detector"],
            search=tuple(options["detectors"]),
            device=options["device"],
            cache_folder=cache,
            workers=options["workers"],
            seed=options["seed"],
            draws=options["draws"],
            pools=dict(options["pool"]),
            recodings=tuple(
                recoding for recoding in RECODINGS if options["robustness"] or recoding.harm in options["harm"]
            ),
            used_for_choosing=options["used_for_choosing"],
        )
    )
    write(as_text(measured.report["groups"]))
    if options["json"] is not None:
        write_json(options["json"], measured.report)
    if out is not None:
        write_json(out / EVALUATION_FILE, measured.report)
        write_json(out / ERROR_RATES_FILE, measured.error_rates)
        (out / PAGE_FILE).write_text(render_page(measured.report, measured.scores), encoding="utf-8")
    if options["install"] and folder is not None:
        write_json(folder / ERROR_RATES_FILE, measured.error_rates)
        figures = {name: value for name, value in measured.report.items() if name != "scores"}
        write_json(folder / EVALUATION_FILE, figures)
    return measured.report


def configure_logging(work: Path) -> None:
    """To the terminal and to ``WORK/train.log``."""
    work.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(work / "train.log", encoding="utf-8")],
    )
