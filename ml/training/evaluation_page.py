"""The page of an evaluation: tables and plots in one HTML file that needs nothing else. Browsers print it to PDF."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ml.training.robustness import Harm
from ml.training.scoring import ALL, FileScore
from ml.training.statistics import Scored, roc_points
from ml.training.summary import by_method, judged, pool_groups, published_floor

TEMPLATES = Path(__file__).parent / "templates"

# Okabe and Ito's colours, which colour-blind readers can tell apart.
REAL, FAKE = "#0072b2", "#d55e00"
COLOURS = ("#000000", "#d55e00", "#009e73", "#cc79a7", "#0072b2", "#e69f00", "#56b4e9")
STYLES = ("-", "--", "-.", ":")
# Inches, at 96 pixels each.
SIZE, WIDE = (4.6, 4.2), (5.6, 4.2)
DOTS = 96

HARMS = {
    Harm.JPEG_QUALITY: "JPEG quality of photos",
    Harm.CRF: "H.264 CRF of videos",
    Harm.WEBP_QUALITY: "WebP quality of photos (not trained on)",
    Harm.HEVC_CRF: "HEVC CRF of videos (not trained on)",
    Harm.FACE_SIZE: "face size, at most so many pixels",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """A column of the tables."""

    name: str
    title: str
    meaning: str


FIGURE_COLUMNS = (
    Figures("auc", "AUC", "The chance that a fake scores above a real one; one half is guessing."),
    Figures(
        "average_precision",
        "AP",
        "Average precision: area under precision over recall. Depends on the share of fakes.",
    ),
    Figures("equal_error_rate", "EER", "Equal error rate: where false-alarm and miss rate meet."),
    Figures(
        "tpr_at_fpr_1",
        "TPR at 1 % FPR",
        "Share of fakes found with at most 1 % false alarms, which means none if there are under 100 reals.",
    ),
    Figures("tpr_at_fpr_5", "TPR at 5 % FPR", "Share of fakes found with at most 5 % false alarms."),
    Figures(
        "log_loss",
        "Log loss",
        "Mean negative logarithm (base e) of the probability given to the truth; always saying one half gives 0.693.",
    ),
    Figures(
        "calibration_error",
        "ECE",
        "Expected calibration error: distance of scores from the share of fakes among them, in ten bins.",
    ),
)


@dataclass(frozen=True, slots=True)
class Plot:
    """An SVG in base64, ``text`` for those who can't see it, and its width in pixels."""

    data: str
    text: str
    width: int


def render_page(report: Mapping[str, Any], scores: Sequence[FileScore]) -> str:
    """The page for an evaluation's report and the scores behind it. The same input gives the same text."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    groups = pool_groups(scores, report["pools"])
    thresholds = report["thresholds"]
    return environment.get_template("evaluation.html").render(
        report=report,
        figures=FIGURE_COLUMNS,
        floor=published_floor,
        harms=HARMS,
        plots={
            name: _group_plots(name, members, report["groups"][name], thresholds) for name, members in groups.items()
        },
        robustness=_robustness_plots(report["robustness"]),
    )


def _group_plots(
    name: str, scores: Sequence[FileScore], summary: Mapping[str, Any], thresholds: Mapping[str, float]
) -> list[Plot]:
    reals = judged([score for score in scores if score.label == "real"])
    methods = {
        method: judged(members)
        for method, members in by_method([score for score in scores if score.label == "fake"]).items()
    }
    fakes = methods[ALL]
    if not reals or not fakes:
        return []
    return [
        _plot(f"ROC of {name}, one line a method", SIZE, lambda axes: _draw_roc(axes, methods, reals)),
        _plot(f"Reliability of {name}", SIZE, lambda axes: _draw_reliability(axes, summary["reliability"])),
        _plot(f"Scores of {name}", WIDE, lambda axes: _draw_scores(axes, fakes, reals, thresholds)),
    ]


def _plot(text: str, size: tuple[float, float], draw: Callable[[Axes], None]) -> Plot:
    # No text as outlines, and ids that do not change from run to run.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sentinel", "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(text, fontsize=10)
        axes.grid(visible=True, color="#e4e9ec", linewidth=0.8)
        axes.set_axisbelow(True)
        draw(axes)
        target = io.BytesIO()
        figure.savefig(target, format="svg", metadata={"Date": None})
    return Plot(base64.b64encode(target.getvalue()).decode(), text, int(size[0] * DOTS))


def _draw_roc(axes: Axes, methods: Mapping[str, Sequence[float]], reals: Sequence[float]) -> None:
    axes.plot([0, 1], [0, 1], color="#9aa7b0", linewidth=0.8)
    for place, (method, fakes) in enumerate(methods.items()):
        if not fakes:
            continue
        false_alarms, found = roc_points(Scored.by_file(fakes, reals))
        axes.plot(
            false_alarms,
            found,
            color=COLOURS[place % len(COLOURS)],
            linestyle=STYLES[place % len(STYLES)],
            linewidth=2.2 if method == ALL else 1.3,
            label=method,
        )
    axes.set(xlabel="false-alarm rate", ylabel="share of fakes found", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.legend(loc="lower right", fontsize=8)


def _draw_reliability(axes: Axes, bins: Sequence[Mapping[str, Any]]) -> None:
    axes.plot([0, 1], [0, 1], color="#9aa7b0", linewidth=0.8)
    x, y = [part["mean_score"] for part in bins], [part["share_fake"] for part in bins]
    axes.plot(x, y, color=COLOURS[0], linewidth=1)
    counts = np.asarray([part["count"] for part in bins], dtype=float)
    axes.scatter(x, y, s=20 + 160 * counts / counts.max(), color=FAKE, zorder=3)
    for part in bins:
        place = (part["mean_score"], part["share_fake"])
        axes.annotate(str(part["count"]), place, xytext=(6, -11), textcoords="offset points", fontsize=7)
    axes.set(xlabel="mean fake probability in the bin (number: files)", ylabel="share of fakes")
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.05, 1.05))


def _draw_scores(axes: Axes, fakes: Sequence[float], reals: Sequence[float], thresholds: Mapping[str, float]) -> None:
    edges = np.linspace(0, 1, 26)
    axes.hist(reals, bins=edges.tolist(), color=REAL, alpha=0.6, label=f"real ({len(reals)})")
    axes.hist(fakes, bins=edges.tolist(), histtype="step", color=FAKE, linewidth=2, label=f"fake ({len(fakes)})")
    for name, style in (("real", ":"), ("fake", "--")):
        axes.axvline(thresholds[name], color="#1a2329", linestyle=style, linewidth=1, label=f"threshold {name}")
    axes.set(xlabel="fake probability of the file", ylabel="files", xlim=(0, 1))
    axes.legend(fontsize=8)


def _robustness_plots(rows: Sequence[Mapping[str, Any]]) -> list[Plot]:
    plots = []
    for harm, title in HARMS.items():
        of_harm = [row for row in rows if row["harm"] == harm]
        if not of_harm:
            continue
        for measure, name in (("auc", "AUC"), ("false_alarms", "reals called fake")):
            text = f"{name} against {title}"
            plots.append(_plot(text, WIDE, lambda axes, m=measure, r=of_harm: _draw_robustness(axes, r, m)))  # type: ignore[misc]
    return plots


def _draw_robustness(axes: Axes, rows: Sequence[Mapping[str, Any]], measure: str) -> None:
    # In the order measured: from the media as it is to the strongest harm.
    degrees = list(dict.fromkeys(row["value"] for row in rows))
    groups = list(dict.fromkeys(row["group"] for row in rows))
    for place, group in enumerate(groups):
        own = [row for row in rows if row["group"] == group]
        x = [degrees.index(row["value"]) + 0.06 * (place - (len(groups) - 1) / 2) for row in own]
        values = np.asarray([row[measure]["value"] for row in own])
        below = values - np.asarray([row[measure]["low"] for row in own])
        above = np.asarray([row[measure]["high"] for row in own]) - values
        axes.errorbar(
            x,
            values,
            yerr=np.clip([below, above], 0, None),
            color=COLOURS[place % len(COLOURS)],
            linestyle=STYLES[place % len(STYLES)],
            linewidth=1.5,
            marker="o",
            markersize=4,
            capsize=2,
            elinewidth=0.8,
            label=f"{group} ({own[0]['fakes']} fakes, {own[0]['reals']} reals)",
        )
    axes.set_xticks(range(len(degrees)), ["as it is" if degree is None else str(degree) for degree in degrees])
    axes.set(ylim=(-0.02, 1.02))
    axes.legend(fontsize=7)
