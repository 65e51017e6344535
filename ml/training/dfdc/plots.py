"""The losses of runs as a picture, on which a person chooses the checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml.training.logbook import METRICS_FILE, read_metrics

# What an epoch's line may hold, and how it is drawn.
CURVES = (
    ("training_loss", "training", "-"),
    ("validation_loss", "validation", "-"),
    ("validation_fake_loss", "validation, fakes", ":"),
    ("validation_real_loss", "validation, reals", "--"),
)


def read_runs(work: Path) -> dict[str, list[dict[str, Any]]]:
    """Metrics by run: of the folder itself, or of those in it. Raises FileNotFoundError if there are none."""
    paths = [path for path in [work / METRICS_FILE, *sorted(work.glob(f"*/{METRICS_FILE}"))] if path.is_file()]
    runs = {path.parent.name: read_metrics(path) for path in paths}
    if not any(line["kind"] == "epoch" for lines in runs.values() for line in lines):
        raise FileNotFoundError(f"no finished epoch in {work}")
    return runs


def plot_losses(runs: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draw a row for each run, losses by epoch beside the learning rate by step, as a PNG that appears whole."""
    # Only training needs matplotlib, which a site does not install.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4 * len(runs)), layout="constrained")
    axes = figure.subplots(len(runs), 2, squeeze=False)
    for (name, lines), (losses, rates) in zip(runs.items(), axes, strict=True):
        _draw_losses(losses, name, [line for line in lines if line["kind"] == "epoch"])
        steps = [line for line in lines if line["kind"] == "step"]
        rates.plot([line["step"] for line in steps], [line["learning_rate"] for line in steps])
        rates.set(title=f"{name}: learning rate", xlabel="step")
        rates.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    figure.savefig(temporary, format="png", dpi=100)
    temporary.replace(path)


def _draw_losses(axes: Any, name: str, epochs: Sequence[Mapping[str, Any]]) -> None:
    for key, label, style in CURVES:
        points = [(line["epoch"], line[key]) for line in epochs if line.get(key) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), style, marker=".", label=label)
    validated = [(line["validation_loss"], line["epoch"]) for line in epochs if line.get("validation_loss") is not None]
    if validated:
        loss, epoch = min(validated)
        axes.axvline(epoch, color="grey", alpha=0.5, label=f"lowest: epoch {epoch}, {loss:.4f}")
    axes.set(title=f"{name}: loss", xlabel="epoch")
    axes.grid(alpha=0.3)
    axes.legend()
