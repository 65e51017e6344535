"""Detectors load by name with the weights that they should have, or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.contracts import AnalysisError, ErrorCode
from ml.detectors.catalog import BUILT_IN, REFERENCE_B7, REFERENCE_CHECKPOINTS, find_detector, list_detectors
from ml.detectors.integrity import read_lock, sha256_of
from ml.detectors.registry import Detector, load_detector
from ml.detectors.spec import DetectorSpec
from tests.media_factory import face_frame, portrait
from tests.tiny_detector import NAME, tiny_network, write_tiny_detector


def unavailable(name: str, **options: object) -> str:
    with pytest.raises(AnalysisError) as caught:
        load_detector(name, device="cpu", **options)  # type: ignore[arg-type]
    assert caught.value.code is ErrorCode.MODEL_UNAVAILABLE
    return caught.value.detail


def test_a_detector_is_found_in_a_searched_folder(detectors: Path) -> None:
    listed = find_detector(NAME, [detectors])

    assert listed.spec.title == "Tiny test network"
    assert listed.card == detectors / NAME / "MODEL_CARD.md"


def test_a_detector_is_found_through_the_environment(detectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_DETECTORS_DIR", f"/nowhere:{detectors}")

    assert NAME in list_detectors()
    assert load_detector(NAME, device="cpu").spec.name == NAME


def test_the_first_folder_wins(detectors: Path, tmp_path: Path) -> None:
    write_tiny_detector(tmp_path, seed=99)

    assert find_detector(NAME, [tmp_path, detectors]).folder == tmp_path / NAME


def test_an_unknown_name_is_unavailable() -> None:
    assert "reference-b7" in unavailable("no-such")


def test_a_broken_spec_is_unavailable(tmp_path: Path) -> None:
    folder = write_tiny_detector(tmp_path)
    (folder / "detector.json").write_text('{"name": "x"}')

    unavailable(NAME, search=[tmp_path])


def test_missing_weights_are_unavailable(tmp_path: Path) -> None:
    folder = write_tiny_detector(tmp_path)
    (folder / "model.safetensors").unlink()

    unavailable(NAME, search=[tmp_path])


def test_changed_weights_are_unavailable(tmp_path: Path) -> None:
    folder = write_tiny_detector(tmp_path)
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))

    assert "SHA-256" in unavailable(NAME, search=[tmp_path])


def test_a_spec_without_digest_is_unavailable(tmp_path: Path) -> None:
    folder = write_tiny_detector(tmp_path)
    spec = DetectorSpec.load(folder / "detector.json")
    (folder / "detector.json").write_text(replace(spec, weights_sha256="").to_json())

    unavailable(NAME, search=[tmp_path])


def test_the_reference_without_weights_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unavailable("reference-b7")
    monkeypatch.setenv("SENTINEL_WEIGHTS_DIR", str(tmp_path))
    unavailable("reference-b7")


def test_given_weights_are_pinned_at_first_use(tmp_path: Path, detectors: Path) -> None:
    write_tiny_detector(tmp_path, seed=3)
    own = tmp_path / NAME / "model.safetensors"

    first = load_detector(NAME, weights=[own], search=[detectors], device="cpu")

    assert first.weights_sha256 == (sha256_of(own),)
    assert read_lock(own.parent)["model.safetensors"]["sha256"] == sha256_of(own)

    own.write_bytes((detectors / NAME / "model.safetensors").read_bytes())
    assert "SHA-256" in unavailable(NAME, weights=[own], search=[detectors])


def test_a_broken_lock_is_unavailable(tmp_path: Path, detectors: Path) -> None:
    own = write_tiny_detector(tmp_path) / "model.safetensors"
    (own.parent / "weights.lock.json").write_text("{")

    unavailable(NAME, weights=[own], search=[detectors])


def test_an_ensemble_gives_a_row_for_each_network(tmp_path: Path, detectors: Path, tiny: Detector) -> None:
    other = write_tiny_detector(tmp_path, seed=3) / "model.safetensors"
    both = load_detector(
        NAME, weights=[detectors / NAME / "model.safetensors", other], search=[detectors], device="cpu"
    )

    scores = both.score([portrait()])

    assert scores.shape == (2, 1)
    assert scores[0, 0] == pytest.approx(tiny.score([portrait()])[0, 0], abs=1e-6)
    assert scores[1, 0] != scores[0, 0]
    assert len(both.weights_sha256) == 2


def test_scores_do_not_depend_on_the_batch(tiny: Detector) -> None:
    crops = [face_frame(number, (150 + number, 180), zoom=1) for number in range(11)]

    together = tiny.score(crops)
    apart = np.concatenate([tiny.score([crop]) for crop in crops], axis=1)

    assert together.shape == (1, 11)
    assert together.dtype == np.float32
    assert np.allclose(together, apart, atol=1e-5)
    assert ((together > 0) & (together < 1)).all()
    assert together.std() > 0.01


def test_no_faces_give_no_scores(tiny: Detector) -> None:
    assert tiny.score([]).shape == (1, 0)


def test_of_several_outputs_the_largest_counts(tmp_path: Path) -> None:
    write_tiny_detector(tmp_path, outputs=("swap", "synthesis"))
    detector = load_detector(NAME, search=[tmp_path], device="cpu")
    with_one = Detector(detector.spec, [tiny_network(outputs=2)], ["x"])
    network = with_one.networks[0]
    network.fc.bias.data[:] = network.fc.bias.data.new_tensor([-50.0, 3.0])
    network.fc.weight.data.zero_()

    assert with_one.score([portrait()])[0, 0] == pytest.approx(1 / (1 + np.exp(-3)))


def test_a_face_and_its_mirror_image_may_be_judged_together(tiny: Detector) -> None:
    face = face_frame(0, (150, 180), zoom=1)
    both = Detector(replace(tiny.spec, mirrored_photos=True), [tiny_network()], [""])

    logits = np.log(tiny.score([face, face[:, ::-1]]) / (1 - tiny.score([face, face[:, ::-1]])))

    assert abs(logits[0, 0] - logits[0, 1]) > 1e-3
    assert both.score([face])[0, 0] == pytest.approx(tiny.score([face])[0, 0], abs=1e-6)
    assert both.score([face], photo=True)[0, 0] == pytest.approx(1 / (1 + np.exp(-logits.mean())), abs=1e-5)


def test_a_network_that_answers_nan_is_unavailable(tiny: Detector) -> None:
    broken = Detector(tiny.spec, [tiny_network()], ["x"])
    broken.networks[0].fc.bias.data.fill_(float("nan"))

    with pytest.raises(AnalysisError) as caught:
        broken.score([portrait()])

    assert caught.value.code is ErrorCode.MODEL_UNAVAILABLE


@pytest.mark.parametrize("size", [(150, 180), (60, 20), (30, 200)])
def test_heat_maps_cover_the_crop(tiny: Detector, size: tuple[int, int]) -> None:
    heat = tiny.heat_map(face_frame(0, size, zoom=1))

    assert heat.shape == (size[1], size[0])
    assert heat.dtype == np.float32
    assert heat.min() >= 0
    assert heat.max() == 0 or heat.max() == pytest.approx(1)


def test_the_heat_map_adds_up_to_the_logit(tiny: Detector) -> None:
    network = tiny.networks[0]
    faces = torch.rand(1, 3, 96, 96)
    with torch.inference_mode():
        features = network.encoder.forward_features(faces)
        places = torch.einsum("c,nchw->nhw", network.fc.weight[0], features)
        assert places.mean() + network.fc.bias[0] == pytest.approx(float(network(faces)[0, 0]), abs=1e-4)


def test_the_reference_is_described_as_published() -> None:
    assert REFERENCE_B7.architecture == "tf_efficientnet_b7"
    assert (REFERENCE_B7.preprocessing.input_size, REFERENCE_B7.preprocessing.padding_divisor) == (380, 3)
    assert len(REFERENCE_CHECKPOINTS) == 7
    assert REFERENCE_CHECKPOINTS[0].endswith("/0.0.1/final_111_DeepFakeClassifier_tf_efficientnet_b7_ns_0_36")


def test_every_built_in_detector_loads_and_has_a_card() -> None:
    for name, listed in list_detectors().items():
        if listed.folder is None or BUILT_IN not in listed.folder.parents:
            continue
        assert listed.card is not None, name
        assert load_detector(name, device="cpu").score([portrait()]).shape == (1, 1)


def test_a_spec_survives_json() -> None:
    assert DetectorSpec.from_json(REFERENCE_B7.to_json()) == REFERENCE_B7
    with pytest.raises(TypeError):
        DetectorSpec.from_json(json.dumps({**json.loads(REFERENCE_B7.to_json()), "surprise": 1}))
