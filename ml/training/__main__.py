"""``python -m ml.training prepare|autoencoder|train|average|calibrate|export|evaluate``, and the commands of
:mod:`ml.training.dfdc`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ml.training import commands
from ml.training.averaging import write_average
from ml.training.dfdc import commands as dfdc_commands


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ml.training", description="Train and measure detectors.")
    actions = parser.add_subparsers(dest="action", required=True)
    prepare = actions.add_parser("prepare", help="find the faces of the training portraits")
    prepare.add_argument("data", type=Path, help="folder with real/<source>/ and fake/<source>/ portraits")
    prepare.add_argument("--work", type=Path, required=True, help="folder for the face list")
    commands.add_train_arguments(actions.add_parser("train", help="train, or go on training, and write the detector"))
    autoencoder = actions.add_parser("autoencoder", help="train what makes the autoencoded fakes (needs a GPU)")
    autoencoder.add_argument("data", type=Path, help="folder of the training portraits")
    autoencoder.add_argument("--work", type=Path, required=True, help="folder for the face list and its weights")
    autoencoder.add_argument("--config", type=Path, default=commands.DEFAULT_CONFIG, help="settings of the run, TOML")
    autoencoder.add_argument("--steps", type=int, default=4000, help="of 256 faces (default: %(default)s)")
    export = actions.add_parser("export", help="write the detector of the last checkpoint")
    export.add_argument("folder", type=Path, help="detector folder to write")
    export.add_argument("--work", type=Path, required=True, help="folder of the checkpoint")
    export.add_argument("--config", type=Path, default=commands.DEFAULT_CONFIG, help="settings of the run, TOML")
    average = actions.add_parser("average", help="average the weights of networks that began alike")
    average.add_argument("out", type=Path, help="safetensors file to write")
    average.add_argument(
        "files", type=commands.weighted_file, nargs="+", metavar="FILE=SHARE", help="weights and how much they count"
    )
    calibrate = actions.add_parser("calibrate", help="bring the outputs to one scale, on held-out people")
    calibrate.add_argument("data", type=Path, help="folder of the training portraits")
    calibrate.add_argument("--work", type=Path, required=True, help="folder of face list and checkpoint")
    calibrate.add_argument("--config", type=Path, default=commands.DEFAULT_CONFIG, help="settings of the run, TOML")
    calibrate.add_argument("--false-alarms", type=float, default=0.01, help="share of real faces called fake")
    for action in (export, calibrate):
        action.add_argument(
            "--weights",
            type=commands.named_file,
            action="append",
            default=[],
            metavar="NETWORK=FILE",
            help="weights of each network, instead of a checkpoint",
        )
    commands.add_evaluate_arguments(actions.add_parser("evaluate", help="measure a detector on labelled media"))
    dfdc_commands.add_parsers(actions)
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    write = sys.stdout.write
    if options.action in dfdc_commands.COMMANDS:
        return dfdc_commands.run(options.action, options, write)
    if options.action == "prepare":
        commands.configure_logging(options.work)
        commands.prepare(options.data, options.work, write=write)
    elif options.action == "train":
        commands.configure_logging(options.work)
        commands.train(
            options.data,
            options.work,
            options.config,
            start_from=options.start_from,
            start_weights=dict(options.start_weights),
            export=options.export,
            write=write,
        )
    elif options.action == "autoencoder":
        commands.configure_logging(options.work)
        commands.autoencoder(options.data, options.work, options.config, steps=options.steps, write=write)
    elif options.action == "average":
        write_average(dict(options.files), options.out)
    elif options.action == "calibrate":
        commands.calibrate(
            options.data,
            options.work,
            options.config,
            weights=dict(options.weights),
            false_alarms=options.false_alarms,
            write=write,
        )
    elif options.action == "export":
        commands.export(options.work, options.config, options.folder, weights=dict(options.weights), write=write)
    else:
        commands.evaluate(vars(options), write=write)
    return 0


def run() -> int:
    """The exit code: 0 done, 1 some items of a DFDC command failed, 2 nothing could be done, which is told."""
    try:
        return main()
    except commands.UNUSABLE as error:
        sys.stderr.write(f"{commands.told(error)}\n")
        return commands.EXIT_UNUSABLE


if __name__ == "__main__":
    sys.exit(run())
