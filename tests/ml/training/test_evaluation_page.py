from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from ml.training.evaluation_page import FIGURE_COLUMNS, HARMS, render_page
from ml.training.robustness import Harm
from ml.training.scoring import FileScore
from ml.training.statistics import FIGURES
from ml.training.summary import read_floor, summarise
from tests.ml.training.test_evaluate import SCORED, file_score


def report(scores: list[FileScore], pools: dict[str, list[str]] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "detector": "tiny-test",
        "version": "0.0.1",
        "weights_sha256": ["ab" * 32],
        "thresholds": {"fake": 0.7, "real": 0.3, "frame": 0.5},
        "measured_on": "2026-11-23",
        "seed": 0,
        "draws": 50,
        "level": 0.95,
        "frames": 32,
        "used_for_choosing": False,
        "software": {"torch": "2", "cuda": ""},
        "media": {"files": len(scores), "sha256": "cd" * 32},
        "pools": pools or {},
        "groups": summarise(scores, frame_threshold=0.5, seed=0, draws=50, pools=pools),
        "robustness": [],
        "floor": read_floor(),
        **changes,
    }


def degree(harm: Harm, value: int | None, auc: float) -> dict[str, Any]:
    alarms = {"count": 0, "total": 3, "value": 0.0, "low": 0.0, "high": 0.7}
    interval = {"value": auc, "low": auc - 0.1, "high": min(auc + 0.1, 1.0)}
    counts = {"group": "videos", "changed": 2, "files": 6, "fakes": 3, "reals": 3}
    return {"harm": harm.value, "value": value, **counts, "auc": interval, "false_alarms": alarms}


class Links(HTMLParser):
    """What a page would load, and whether its elements are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_shows_figures_plots_and_every_false_alarm_and_loads_nothing() -> None:
    page = render_page(report(SCORED, {"strong": ["*c40*"]}), SCORED)
    links = Links()
    links.feed(page)
    assert links.open == []
    assert all(source.startswith(("#", "data:image/svg+xml;base64,")) for source in links.sources)
    for text in ("videos/c40/real/original/c.mp4", "strong", "mean over methods", "0.83", "33.3 %", "error:unreadable"):
        assert text in page
    assert "Thresholds chosen without a method" in page
    assert 'alt="Reliability of videos/c40"' in page
    assert "chosen by these very files" not in page
    assert "chosen by these very files" in render_page(report(SCORED, used_for_choosing=True), SCORED)


def test_the_plots_are_drawings() -> None:
    pictures = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', render_page(report(SCORED), SCORED))
    # Three a group.
    assert len(pictures) == 3 * 4
    for picture in pictures:
        assert ElementTree.fromstring(base64.b64decode(picture)).tag.endswith("svg")  # noqa: S314


def test_the_same_figures_give_the_same_page() -> None:
    assert render_page(report(SCORED), SCORED) == render_page(report(SCORED), SCORED)


def test_robustness_has_two_curves_for_each_harm() -> None:
    rows = [degree(Harm.CRF, None, 0.9), degree(Harm.CRF, 28, 0.8), degree(Harm.FACE_SIZE, None, 0.9)]
    page = render_page(report(SCORED, robustness=rows), SCORED)
    assert 'alt="AUC against H.264 CRF of videos"' in page
    assert 'alt="reals called fake against face size, at most so many pixels"' in page
    assert "JPEG quality of photos" not in page
    assert "Robustness" not in render_page(report(SCORED), SCORED)


def test_what_cannot_be_computed_is_a_dash() -> None:
    scores = [file_score("odd/real/a.jpg", None), file_score("odd/fake/b.jpg", 0.9)]
    page = render_page(report(scores), scores)
    assert "–" in page
    assert "<img" not in page
    assert "No real file was called fake." in page


def test_names_of_files_are_text() -> None:
    scores = [file_score("odd/real/<script>.jpg", 0.9), file_score("odd/fake/b.jpg", 0.9)]
    assert "<script>" not in render_page(report(scores), scores)


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_has_a_column_and_a_meaning(name: str) -> None:
    assert [column.meaning != "" for column in FIGURE_COLUMNS if column.name == name] == [True]
    assert set(HARMS) == set(Harm)
