"""The pipeline's commands, for ``python -m ml.training`` and for ``manage.py`` alike."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ml.contracts import AnalysisError
from ml.detectors.catalog import DEFAULT_DETECTOR, REFERENCE_B7
from ml.media.frames import SAMPLED_FRAMES
from ml.training.dfdc import boxes, crops, diffs, folds, landmarks, plots, prediction, training
from ml.training.dfdc.config import DfdcConfig
from ml.training.dfdc.layout import Layout
from ml.training.dfdc.steps import StepReport, default_workers
from ml.training.engine import take_place

EXIT_OK, EXIT_SOME_FAILED, EXIT_UNUSABLE = 0, 1, 2
DEFAULT_CONFIG = Path(__file__).parent.parent / "configs" / "reference-b7.toml"
LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"

Write = Callable[[str], Any]
Options = argparse.Namespace


@dataclass(frozen=True, slots=True)
class Command:
    """``run`` does what the options say, writes a summary and returns the exit code."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Options, Write], int]


def add_parsers(actions: Any) -> None:
    """Add every command to the subparsers of a command line."""
    for name, command in COMMANDS.items():
        command.add_arguments(actions.add_parser(name, help=command.help))


def run(name: str, options: Options, write: Write) -> int:
    """Run a command. Exit code 0: all done; 1: some items failed, which the report lists; 2: nothing could be done."""
    try:
        return COMMANDS[name].run(options, write)
    except ModuleNotFoundError as error:
        write(f"{name}: {error}. Training needs more than a site does: pip install -r requirements-dev.txt\n")
        return EXIT_UNUSABLE
    except (AnalysisError, OSError, RuntimeError, ValueError) as error:
        write(f"{name}: {getattr(error, 'detail', '') or error}\n")
        return EXIT_UNUSABLE


# ------------------------------------------------------------------------------------------------------ preparing data


def _add_step_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder with dfdc_train_part_*/metadata.json")
    parser.add_argument("--out", type=Path, help="folder for what is made (default: the data folder)")
    parser.add_argument("--workers", type=int, default=default_workers(), help="processes (default: %(default)s)")


def _add_device_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="torch device that finds faces (default: %(default)s)")


def _add_every_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--every", type=int, default=boxes.EVERY, metavar="N", help="use each N-th frame (default: %(default)s)"
    )


def _add_fold_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--splits", type=int, default=folds.SPLITS, help="folds (default: %(default)s)")
    parser.add_argument("--parts", type=int, default=folds.PARTS, help="parts of the data (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=folds.SEED, help="of the order of lines (default: %(default)s)")


def _layout(options: Options) -> Layout:
    if options.workers < 0:
        raise ValueError("--workers must not be negative")
    return Layout(options.data, options.out or options.data)


def _detect(options: Options) -> StepReport:
    return boxes.detect_original_faces(
        _layout(options), workers=options.workers, every=options.every, device=options.device
    )


def _crop(options: Options) -> StepReport:
    return crops.extract_crops(_layout(options), workers=options.workers, every=options.every)


def _landmarks(options: Options) -> StepReport:
    return landmarks.generate_landmarks(_layout(options), workers=options.workers, device=options.device)


def _diffs(options: Options) -> StepReport:
    return diffs.generate_diffs(_layout(options), workers=options.workers)


def _folds(options: Options) -> StepReport:
    return folds.generate_folds(
        _layout(options), workers=options.workers, splits=options.splits, parts=options.parts, seed=options.seed
    )


def _reporting(*steps: Callable[[Options], StepReport]) -> Callable[[Options, Write], int]:
    """Run the steps one after the other and print each one's report. Failing items never stop the rest."""

    def run_steps(options: Options, write: Write) -> int:
        code = EXIT_OK
        for step in steps:
            report = step(options)
            write(report.as_text())
            if report.some_failed:
                code = EXIT_SOME_FAILED
        write(f"Reports are in {_layout(options).reports}\n")
        return code

    return run_steps


def _arguments(*adders: Callable[[argparse.ArgumentParser], None]) -> Callable[[argparse.ArgumentParser], None]:
    def add(parser: argparse.ArgumentParser) -> None:
        for adder in adders:
            adder(parser)

    return add


# ------------------------------------------------------------------------------------------------------------ training


def _add_train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder with folds.csv, crops, landmarks and diffs")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints and metrics, one run a seed")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="settings, TOML (default: reference-b7)")
    parser.add_argument("--seed", type=int, action="append", help="train this one only; may be repeated")
    parser.add_argument("--workers", type=int, default=default_workers(), help="processes that make batches")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU if there is one")
    parser.add_argument("--export", type=Path, help="detector folder to write (default: WORK/seed_<seed>/detector)")
    parser.add_argument("--epoch", type=int, help="epoch to export, from 0 (default: the lowest validation loss)")


def _train(options: Options, write: Write) -> int:
    config = DfdcConfig.load(options.config)
    seeds = options.seed or list(config.seeds)
    if options.export and len(seeds) > 1:
        raise ValueError("--export goes with a single --seed")
    layout = Layout(options.data, options.data)
    with take_place(options.device) as place:
        if place.is_first:
            _configure_logging(options.work)
        for seed in seeds:
            with tqdm(desc=f"seed {seed}", unit="step", disable=None if place.is_first else True) as bar:

                def show(step: int, total: int, loss: float, bar: Any = bar) -> None:
                    bar.total = total
                    bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
                    bar.update(step - bar.n)

                training.train_seed(
                    config, layout, options.work, seed=seed, place=place, workers=options.workers, on_step=show
                )
            if place.is_first:
                folder = training.run_folder(options.work, seed)
                target = options.export or folder / "detector"
                spec = training.export_detector(config, folder, target, epoch=options.epoch)
                epoch, loss = training.best_epoch(folder)
                write(f"seed {seed}: lowest validation loss {loss:.4f} in epoch {epoch}; ")
                write(f"epoch {epoch if options.epoch is None else options.epoch} of {spec.name} is in {target}\n")
    return EXIT_OK


def _configure_logging(work: Path) -> None:
    """To the terminal and to ``WORK/train.log``."""
    work.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.StreamHandler(),
        logging.FileHandler(work / "train.log", encoding="utf-8"),
    ]
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, handlers=handlers)


def _add_plot_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("work", type=Path, help="folder of a run, or of several runs' folders")
    parser.add_argument("--out", type=Path, help="PNG to write (default: WORK/losses.png)")


def _plot(options: Options, write: Write) -> int:
    out = options.out or options.work / "losses.png"
    runs = plots.read_runs(options.work)
    plots.plot_losses(runs, out)
    for name in runs:
        folder = options.work if options.work.name == name else options.work / name
        epoch, loss = training.best_epoch(folder)
        write(f"{name}: lowest validation loss {loss:.4f} in epoch {epoch}\n")
    write(f"{out}\n")
    return EXIT_OK


# ---------------------------------------------------------------------------------------------------------- predicting


def _add_prediction_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder of videos")
    parser.add_argument("out", type=Path, help="CSV to write; single results are kept in OUT.results/")
    parser.add_argument("--detectors", type=Path, action="append", default=[], help="a further folder of detectors")
    parser.add_argument("--frames", type=int, default=SAMPLED_FRAMES, metavar="N", help="frames a video: %(default)s")
    parser.add_argument("--workers", type=int, default=1, help="processes, each with the whole detector")
    parser.add_argument("--device", help="torch device (default: a GPU if there is one)")


def _add_folder_arguments(parser: argparse.ArgumentParser) -> None:
    _add_prediction_arguments(parser)
    parser.add_argument("--detector", default=DEFAULT_DETECTOR, metavar="NAME", help="default: %(default)s")
    parser.add_argument(
        "--weights", nargs="+", type=Path, default=[], metavar="PATH", help="checkpoints to use instead"
    )
    parser.add_argument(
        "--parity", action="store_true", help="as the reference does: faces at half size, all people in one average"
    )


def _add_submission_arguments(parser: argparse.ArgumentParser) -> None:
    _add_prediction_arguments(parser)
    parser.add_argument("--detector", default=REFERENCE_B7.name, metavar="NAME", help="default: %(default)s")
    parser.add_argument(
        "--weights", nargs="+", type=Path, default=[], metavar="PATH", help="seven checkpoints (default: those fetched)"
    )


def _judge(options: Options, *, parity: bool) -> prediction.Judge:
    if options.frames < 1:
        raise ValueError("--frames must be at least 1")
    return prediction.Judge(
        options.detector, tuple(options.weights), tuple(options.detectors), options.frames, parity, options.device
    )


def _predict_folder(options: Options, write: Write) -> int:
    judge = _judge(options, parity=options.parity)
    return _tell(prediction.predict_folder(options.folder, options.out, judge, workers=options.workers), options, write)


def _predict_submission(options: Options, write: Write) -> int:
    judge = _judge(options, parity=True)
    report = prediction.predict_submission(options.folder, options.out, judge, workers=options.workers)
    return _tell(report, options, write)


def _tell(report: StepReport, options: Options, write: Write) -> int:
    write(report.as_text())
    for skip in report.skipped:
        write(f"  {skip.item}: {skip.reason} {skip.detail}".rstrip() + "\n")
    write(f"{options.out}\n")
    return EXIT_SOME_FAILED if report.some_failed else EXIT_OK


_STEP = _add_step_arguments
COMMANDS: dict[str, Command] = {
    boxes.STEP: Command(
        "find the faces of the real DFDC videos",
        _arguments(_STEP, _add_every_argument, _add_device_argument),
        _reporting(_detect),
    ),
    crops.STEP: Command(
        "cut the faces out of the DFDC videos", _arguments(_STEP, _add_every_argument), _reporting(_crop)
    ),
    landmarks.STEP: Command(
        "find eyes, nose and mouth in the real crops",
        _arguments(_STEP, _add_device_argument),
        _reporting(_landmarks),
    ),
    diffs.STEP: Command("show where fakes differ from their originals", _STEP, _reporting(_diffs)),
    folds.STEP: Command(
        "say which crops train and which validate", _arguments(_STEP, _add_fold_arguments), _reporting(_folds)
    ),
    "preprocess_data": Command(
        "all steps from detect_original_faces to generate_folds",
        _arguments(_STEP, _add_every_argument, _add_device_argument, _add_fold_arguments),
        _reporting(_detect, _crop, _landmarks, _diffs, _folds),
    ),
    "train_dfdc": Command("train on DFDC crops, or go on training", _add_train_arguments, _train),
    "plot_losses": Command("draw the losses of runs on DFDC crops", _add_plot_arguments, _plot),
    "predict_folder": Command("judge a folder of videos: filename,label CSV", _add_folder_arguments, _predict_folder),
    "predict_submission": Command(
        "judge a folder with the seven networks of the winning DFDC solution",
        _add_submission_arguments,
        _predict_submission,
    ),
}
