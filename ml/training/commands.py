"""What ``python -m ml.training`` and the site's ``train`` and ``evaluate`` commands do."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ml.contracts import AnalysisError
from ml.detectors.catalog import DEFAULT_DETECTOR, find_detector
from ml.detectors.network import FaceClassifier
from ml.error_rates import FILE as ERROR_RATES_FILE
from ml.training import trainer
from ml.training.autoencoder import WEIGHTS_FILE as AUTOENCODER_FILE
from ml.training.autoencoder import FaceAutoencoder, load_autoencoder, train_autoencoder
from ml.training.calibration import combine, fit_calibration
from ml.training.config import TrainingConfig
from ml.training.evaluate import EVALUATION_FILE, PAGE_FILE, SCORES_FOLDER, Evaluation
from ml.training.evaluate import evaluate as run_evaluation
from ml.training.evaluation_page import render_page
from ml.training.export import export_detector
from ml.training.faces_index import index_digest, index_faces, read_index
from ml.training.fakes import FakeKind
from ml.training.measured_rates import write_json
from ml.training.robustness import RECODINGS, Harm
from ml.training.samples import FacePool, held_out_reals, split_people, validation_samples
from ml.training.statistics import DRAWS
from ml.training.summary import as_text
from ml.training.thresholds import threshold_for_false_alarms

DEFAULT_CONFIG = Path(__file__).parent / "configs" / "sentinel-lite.toml"
# What stands in the way before anything is trained or measured, to be told in a line.
UNUSABLE = (AnalysisError, OSError, ValueError)
EXIT_UNUSABLE = 2
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
Write = Callable[[str], Any]


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder with real/<source>/ and fake/<source>/ portraits")
    parser.add_argument("--work", type=Path, required=True, help="folder for the face list, checkpoints and metrics")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="settings of the run, TOML")
    parser.add_argument("--start-from", type=Path, help="WORK of an earlier stage to begin with its weights")
    parser.add_argument(
        "--start-weights",
        type=named_file,
        action="append",
        default=[],
        metavar="NETWORK=FILE",
        help="weights to begin a network with, instead of ImageNet's",
    )
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


def told(error: Exception) -> str:
    """One of UNUSABLE in words."""
    return str(getattr(error, "detail", "") or error)


def named_file(text: str) -> tuple[str, Path]:
    """``name=file``. Raises argparse.ArgumentTypeError for anything else."""
    name, _, file = text.partition("=")
    if not name or not file:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NETWORK=FILE")
    return name, Path(file)


def weighted_file(text: str) -> tuple[Path, float]:
    """``file=share``. Raises argparse.ArgumentTypeError for anything else."""
    file, _, share = text.rpartition("=")
    try:
        return Path(file or "."), float(share if file else "")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form FILE=SHARE") from None


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
    data: Path,
    work: Path,
    config_path: Path,
    *,
    start_from: Path | None,
    start_weights: Mapping[str, Path],
    export: Path | None,
    write: Write,
) -> None:
    """Find faces where that is not done, train or go on training, and write the detector."""
    config = TrainingConfig.load(config_path)
    if not (work / trainer.CHECKPOINT_FILE).exists():
        # A run that has begun keeps its faces.
        prepare(data, work, write=write)
    faces = read_index(work)
    with tqdm(total=config.steps, unit="step", desc="training") as bar:

        def show(step: int, losses: dict[str, float]) -> None:
            bar.update(step - bar.n)
            bar.set_postfix({name: f"{loss:.3f}" for name, loss in losses.items()})

        state = trainer.train(
            config,
            faces,
            data,
            work,
            on_step=show,
            start_from=start_from,
            start_weights=start_weights,
            autoencoder=_autoencoder(config, work),
        )
    _export(trainer.averaged_models(state, config), config, export or work / "detector", write)


def export(work: Path, config_path: Path, folder: Path, *, weights: Mapping[str, Path], write: Write) -> None:
    """Write the detector of the last checkpoint, or of weights files; for other thresholds or another title no
    training is needed."""
    config = TrainingConfig.load(config_path)
    _export(_models(work, config, weights), config, folder, write)


def autoencoder(data: Path, work: Path, config_path: Path, *, steps: int, write: Write) -> None:
    """Train the autoencoder that makes the fakes of the kind ``autoencode``, on the people who are not held out."""
    config = TrainingConfig.load(config_path)
    prepare(data, work, write=write)
    training, _ = split_people(read_index(work), config.validation_share, config.split_seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    path = train_autoencoder(training, data, work, steps=steps, seed=config.seed, device=device)
    write(f"autoencoder written to {path}\n")


def _autoencoder(config: TrainingConfig, work: Path) -> FaceAutoencoder | None:
    """The one in the work folder, if the settings ask for its fakes."""
    if not config.kind_shares.get(FakeKind.AUTOENCODE):
        return None
    path = work / AUTOENCODER_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: train it with `python -m ml.training autoencoder`")
    return load_autoencoder(path)


def calibrate(
    data: Path, work: Path, config_path: Path, *, weights: Mapping[str, Path], false_alarms: float, write: Write
) -> None:
    """Print calibration and thresholds for the settings file, and what scores held-out people get with them."""
    config = TrainingConfig.load(config_path)
    faces = read_index(work)
    _, held_out = split_people(faces, config.validation_share, config.split_seed)
    pool = FacePool(held_out, data, config, _autoencoder(config, work))
    pairs, reals = validation_samples(pool), held_out_reals(pool)
    models = _models(work, config, weights, index=index_digest(faces))
    logits, real_logits = (
        {name: trainer.predict_logits(model, samples, config).double().numpy() for name, model in models.items()}
        for samples in (pairs, reals)
    )
    calibration = fit_calibration(logits, pairs, real_logits, config, false_alarms=false_alarms)
    network = combine(models, replace(config, calibration=calibration))
    scores = trainer.predict_logits(network, reals, config).sigmoid().amax(dim=1).double().numpy()
    chosen = threshold_for_false_alarms(scores, rate=false_alarms)
    write(
        f"[thresholds]\n# {chosen.false_alarms} of {chosen.reals} real faces of held-out people lie above; the rate "
        f"is below {chosen.upper_bound:.1%} with {chosen.level:.0%} certainty.\nfake = {chosen.threshold:.3f}\n\n"
    )
    for output, settings in calibration.items():
        write(f"[calibration.{output}]\n")
        for name, value in settings.items():
            write(f"{name} = {value:.4f}\n")
    fakes = [sample for sample in pairs if 1.0 in sample.targets.values()]
    fake_scores = trainer.predict_logits(network, fakes, config).sigmoid().amax(dim=1).double().numpy()
    for label, found in (("real", scores), ("fake", fake_scores)):
        shown = ", ".join(f"{share:.0%}: {np.quantile(found, share):.3f}" for share in QUANTILES)
        write(f"# {len(found)} {label} faces of held-out people, quantiles of the score: {shown}\n")


def _models(
    work: Path, config: TrainingConfig, weights: Mapping[str, Path], *, index: str = ""
) -> dict[str, FaceClassifier]:
    """The networks of the last checkpoint; those in ``weights`` from their own files.

    Raises ValueError if one is missing, or as :func:`ml.training.trainer.load_checkpoint` does.
    """
    state = trainer.new_state(config, pretrained=False, start_weights=weights)
    if weights:
        missing = sorted(set(config.networks) - set(weights))
        if missing:
            raise ValueError(f"no weights given for: {', '.join(missing)}")
    elif not trainer.load_checkpoint(state, config, work, index=index):
        raise FileNotFoundError(f"no checkpoint in {work}")
    return trainer.averaged_models(state, config)


def _export(models: Mapping[str, FaceClassifier], config: TrainingConfig, folder: Path, write: Write) -> None:
    spec = export_detector(combine(models, config), config, folder)
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
