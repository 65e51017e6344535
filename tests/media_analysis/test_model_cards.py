"""What the site says of its detectors, to everybody, and how it shows Markdown from strangers."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from accounts.models import User
from media_analysis.model_cards import PICTURE_PATTERN, get_model, list_models, render_card
from ml.detectors.catalog import DEFAULT_DETECTOR
from ml.detectors.spec import DetectorSpec, Thresholds
from tests.media_analysis.factories import make_done
from tests.media_factory import make_face_image
from tests.tiny_detector import NAME, write_error_rates

pytestmark = pytest.mark.django_db

PICTURES = "/models/x/pictures/"


def page(client: Client, name: str = NAME) -> str:
    answer = client.get(reverse("media_analysis:model", args=[name]))
    assert answer.status_code == 200
    return answer.content.decode()


def test_everybody_sees_the_detectors_the_one_in_use_first(detector: Path, client: Client) -> None:
    answer = client.get("/models/").content.decode()
    spec = DetectorSpec.load(detector / "detector.json")
    for fact in (spec.title, spec.version, spec.licence, spec.weights_sha256, "96 × 96", "60.0 %", "40.0 %"):
        assert fact in answer
    links = re.findall(r'<h2>\s*<a href="/models/([\w-]+)/"', answer)
    assert links[0] == NAME
    assert {NAME, DEFAULT_DETECTOR, "reference-b7"} <= set(links)
    assert answer.count("in use here") == 1


def test_the_default_detectors_card_is_shown_and_linked_from_every_page(client: Client) -> None:
    assert 'href="/models/"' in client.get("/").content.decode()
    shown = page(client, DEFAULT_DETECTOR)
    assert shown.count("<h1>") == 1
    assert "<table>" in shown
    assert " style=" not in shown
    download: Any = client.get(f"/models/{DEFAULT_DETECTOR}/card/")
    card = get_model(DEFAULT_DETECTOR).card
    assert card is not None
    assert download.content == card.read_bytes()
    assert download["Content-Type"].startswith("text/markdown")
    assert download["Content-Disposition"].startswith("attachment")


def test_a_detector_without_weights_is_not_ready(detector: Path, settings: Any) -> None:
    ready = {model.spec.name: model.ready for model in list_models()}
    assert ready[NAME]
    assert ready[DEFAULT_DETECTOR]
    assert not ready["reference-b7"]
    (detector / "model.safetensors").write_bytes(b"other bytes")
    assert not get_model(NAME).ready
    (detector / "model.safetensors").unlink()
    model = get_model(NAME)
    assert (model.ready, model.size) == (False, None)


def test_weights_given_by_the_settings_are_the_ones_listed(detector: Path, settings: Any, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_bytes(b"weights")
    (tmp_path / "weights.lock.json").write_text(json.dumps({"given": {"sha256": "e" * 64}}))
    settings.SENTINEL_DETECTOR_WEIGHTS = [str(given)]
    write_error_rates(detector)
    model = get_model(NAME)
    assert [(file.sha256, file.size) for file in model.weights] == [("e" * 64, 7)]
    # Measured with other weights.
    assert model.measured is None


def test_measured_rates_are_a_table_and_nothing_is_shown_for_what_was_not_measured(
    detector: Path, client: Client
) -> None:
    assert "Not measured for exactly these weights" in page(client)
    write_error_rates(detector)
    shown = page(client)
    assert "Counted on 32 files" in shown
    assert re.search(r"1 of 20\s*<div class=\"small muted\">\s*5.0 % \(0.0 to 100.0 %\)", shown)
    # The broadest first.
    assert shown.index("Videos") < shown.index("Photos")


@pytest.mark.parametrize(
    "changes",
    [
        {"weights_sha256": ["f" * 64]},
        {"aggregation": "mean"},
        {"schema": 99},
        {"measured_on": "yesterday"},
        {"cells": [{"kind": "sound"}]},
    ],
)
def test_rates_of_something_else_are_not_shown(detector: Path, client: Client, changes: dict[str, Any]) -> None:
    write_error_rates(detector, **changes)
    assert "Not measured for exactly these weights" in page(client)


def test_rates_for_other_thresholds_are_not_shown(detector: Path, client: Client) -> None:
    write_error_rates(detector)
    spec = DetectorSpec.load(detector / "detector.json")
    other = replace(spec, thresholds=Thresholds(fake=0.9, real=0.1))
    (detector / "detector.json").write_text(other.to_json())
    assert "Not measured for exactly these weights" in page(client)


def test_figures_of_an_evaluation_are_shown_for_the_weights_they_were_measured_with(
    detector: Path, client: Client
) -> None:
    auc = {"value": 0.876, "low": 0.801, "high": 0.934}
    same = {"value": 1.0, "low": 1.0, "high": 1.0}
    rows = {
        "all": {"auc": auc, "calibration_error": same, "fakes": 23, "reals": 13},
        "FaceSwap": {"auc": same, "fakes": 5, "reals": 13},
    }
    document: dict[str, Any] = {
        "schema": 1,
        "weights_sha256": [DetectorSpec.load(detector / "detector.json").weights_sha256],
        "measured_on": "2026-11-20",
        "media": {"files": 36},
        "groups": {"videos/c40": {"by_file": rows}},
    }
    (detector / "evaluation.json").write_text(json.dumps(document))
    shown = page(client)
    assert "How well its scores tell fakes from reals" in shown
    assert re.search(r"0\.876\s*<div class=\"small muted\">\s*\(0\.801 to 0\.934\)", shown)
    assert "videos/c40: FaceSwap" in shown
    assert "1.000 to 1.000" not in shown
    found = client.get(f"/api/v1/models/{NAME}/").json()["evaluation"]
    assert (found["files"], found["rows"][0]["figures"]["auc"]) == (36, auc)
    for wrong in ({**document, "weights_sha256": ["f" * 64]}, {**document, "schema": 2}, {**document, "groups": 3}):
        (detector / "evaluation.json").write_text(json.dumps(wrong))
        assert "How well its scores tell fakes from reals" not in page(client)


@pytest.mark.slow
def test_what_evaluate_writes_is_what_the_page_reads(detector: Path, client: Client, tmp_path: Path) -> None:
    media, out = tmp_path / "media", tmp_path / "out"
    for label in ("real", "fake/swap"):
        folder = media / "images" / label
        folder.mkdir(parents=True)
        for number in range(2):
            make_face_image(folder / f"{number}.jpg", quality=80 + number)
    search = ["--detectors", str(detector.parent), "--detector", NAME]
    call_command("evaluate", str(media), *search, "--out", str(out), "--install", "--draws", "20", stdout=StringIO())
    model = get_model(NAME)
    assert model.measured is not None
    assert model.evaluation is not None
    assert {(row.group, row.method) for row in model.evaluation.rows} == {("images", ""), ("images", "swap")}
    shown = page(client)
    assert "images: swap" in shown
    assert "Counted on 4 files" in shown


def test_the_api_tells_the_same(detector: Path, client: Client) -> None:
    write_error_rates(detector)
    listed = client.get("/api/v1/models/").json()
    assert listed[0]["in_use"]
    one = client.get(f"/api/v1/models/{NAME}/").json()
    assert one == listed[0]
    spec = DetectorSpec.load(detector / "detector.json")
    assert one["weights"][0]["sha256"] == spec.weights_sha256
    assert one["size"] == (detector / "model.safetensors").stat().st_size
    assert one["thresholds"] == {"fake": 0.6, "real": 0.4, "frame": 0.5}
    assert one["error_rates"]["cells"][1]["false_alarms"]["count"] == 1
    assert client.get(one["card_url"]).status_code == 200
    reference = next(model for model in listed if model["name"] == "reference-b7")
    assert (reference["ready"], reference["card_url"], reference["error_rates"]) == (False, None, None)


def test_unknown_names_are_not_found(client: Client) -> None:
    for url in ("/models/none/", "/models/none/card/", "/models/reference-b7/card/"):
        assert client.get(url).status_code == 404
    answer = client.get("/api/v1/models/none/")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_a_broken_detector_folder_is_told_and_does_not_hide_results(
    detector: Path, client: Client, owner: User, as_owner: Client
) -> None:
    analysis = make_done(owner)
    (detector / "detector.json").write_text("{")
    assert client.get("/models/").status_code == 503
    assert client.get("/api/v1/models/").json()["error"] == "model_unavailable"
    assert as_owner.get(f"/analyses/{analysis.public_id}/").status_code == 200


def test_the_result_page_links_the_detectors_card(detector: Path, owner: User, as_owner: Client) -> None:
    listed = as_owner.get(f"/analyses/{make_done(owner).public_id}/").content.decode()
    assert f'href="/models/{NAME}/"' in listed
    assert "the model card is now that of version 0.0.1" in listed
    gone = as_owner.get(f"/analyses/{make_done(owner, detector='gone').public_id}/").content.decode()
    assert "gone, version 1" in gone
    assert 'href="/models/gone/"' not in gone


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        '<img src="x" onerror="alert(1)">',
        "[click](javascript:alert(1))",
        "![x](javascript:alert(1))",
        "![x](https://elsewhere.example/track.png)",
        "![x](../detector.json)",
        "[x](/accounts/logout/)",
        "<a href='data:text/html,x'>x</a>",
        '<div style="position:fixed">x</div>',
    ],
)
def test_hostile_markdown_is_harmless(hostile: str) -> None:
    html = render_card(hostile, PICTURES)
    tags = re.findall(r"<[^>]*>", html)
    assert not [tag for tag in tags if re.search(r"script|onerror|javascript|https?:|style|href|src", tag)], html


def test_ordinary_markdown_comes_through() -> None:
    card = "# Title\n\n[paper](https://example.org)\n\n![ROC curve](roc.png)\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n"
    html = render_card(card, PICTURES)
    assert "<h2>Title</h2>" in html
    assert '<a href="https://example.org" rel="noopener noreferrer">paper</a>' in html
    assert '<img src="/models/x/pictures/roc.png" alt="ROC curve">' in html
    assert '<div class="scroll" tabindex="0" role="group"><table>' in html
    assert "<td>2</td>" in html


def test_pictures_beside_the_card_are_served_and_nothing_else(detector: Path, client: Client) -> None:
    (detector / "roc.png").write_bytes(b"picture")
    answer: Any = client.get(f"/models/{NAME}/pictures/roc.png")
    assert (answer.content, answer["Content-Type"]) == (b"picture", "image/png")
    for name in ("none.png", "detector.json", "model.safetensors", "..%2Froc.png", ".hidden.png", "x.svg"):
        assert client.get(f"/models/{NAME}/pictures/{name}").status_code == 404
    assert not re.fullmatch(PICTURE_PATTERN, "../x.png")
