from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.detectors.catalog import find_detector
from ml.detectors.network import FaceClassifier
from ml.detectors.registry import load_detector
from ml.training import trainer
from ml.training.calibration import combine
from ml.training.config import BatchNorm, TrainingConfig
from ml.training.export import export_detector
from ml.training.faces_index import TrainingFace
from ml.training.folding import fold_batch_norm, unfolded_state
from ml.training.samples import (
    FacePool,
    Sample,
    StepDataset,
    held_out_reals,
    split_people,
    to_batch,
    validation_samples,
)
from tests.ml.training.conftest import TINY, draw_portrait, tiny_config

Data = tuple[Path, list[TrainingFace]]


def run(config: TrainingConfig, data: Data, folder: Path) -> trainer.TrainingState:
    root, faces = data
    return trainer.train(config, faces, root, folder, pretrained=False)


def assert_same_weights(one: trainer.TrainingState, other: trainer.TrainingState) -> None:
    assert one.networks.keys() == other.networks.keys()
    for network, twin in zip(one.networks.values(), other.networks.values(), strict=True):
        for name, value in network.model.state_dict().items():
            assert torch.equal(value, twin.model.state_dict()[name]), name
            assert torch.equal(network.average[name], twin.average[name]), name


def only(state: trainer.TrainingState) -> trainer.NetworkState:
    (network,) = state.networks.values()
    return network


def with_network(config: TrainingConfig, **changes: object) -> TrainingConfig:
    """The settings with others for their only network."""
    return replace(config, networks={"tiny": replace(TINY, **changes)})  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_weights(data: Data, tmp_path: Path) -> None:
    config = tiny_config(steps=3)
    one, other = run(config, data, tmp_path / "one"), run(config, data, tmp_path / "other")
    assert_same_weights(one, other)
    changed = run(replace(config, seed=6), data, tmp_path / "changed")
    assert not torch.equal(only(one).model.fc.weight, only(changed).model.fc.weight)


def test_a_resumed_run_equals_an_uninterrupted_one(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(steps=6, checkpoint_every=2)
    whole = run(config, data, tmp_path / "whole")

    def die(step: int, losses: dict[str, float]) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.train(config, data[1], data[0], tmp_path / "broken", pretrained=False, on_step=die)
    resumed_at: list[int] = []
    resumed = trainer.train(
        config, data[1], data[0], tmp_path / "broken", pretrained=False, on_step=lambda step, _: resumed_at.append(step)
    )
    assert resumed_at == [5, 6]
    assert_same_weights(whole, resumed)


def test_a_run_may_be_shortened_until_the_learning_rate_falls(data: Data, tmp_path: Path) -> None:
    config = tiny_config(steps=20, decay_steps=3, checkpoint_every=2)

    def die(step: int, losses: dict[str, float]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.train(config, data[1], data[0], tmp_path / "long", pretrained=False, on_step=die)
    short = replace(config, steps=6)
    assert_same_weights(run(short, data, tmp_path / "long"), run(short, data, tmp_path / "short"))


def test_a_checkpoint_of_other_settings_is_refused(data: Data, tmp_path: Path) -> None:
    run(tiny_config(steps=3), data, tmp_path / "run")
    with pytest.raises(ValueError, match="weight_decay"):
        run(tiny_config(steps=3, weight_decay=1.0), data, tmp_path / "run")
    with pytest.raises(ValueError, match="networks"):
        run(with_network(tiny_config(steps=3), learning_rate=1.0), data, tmp_path / "run")


def test_a_run_does_not_go_on_with_other_faces(data: Data, tmp_path: Path) -> None:
    """They would be split otherwise, and people held out whom the network has seen."""
    root, faces = data
    run(tiny_config(steps=3), data, tmp_path / "run")
    with pytest.raises(ValueError, match="another list of faces"):
        run(tiny_config(steps=3), (root, faces[1:]), tmp_path / "run")


def test_a_torn_write_leaves_the_previous_checkpoint(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(steps=3)
    state = run(config, data, tmp_path / "run")
    before = (tmp_path / "run" / trainer.CHECKPOINT_FILE).read_bytes()

    def torn(content: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(OSError, match="disk full"):
        trainer.save_checkpoint(state, config, tmp_path / "run")
    assert (tmp_path / "run" / trainer.CHECKPOINT_FILE).read_bytes() == before


def test_the_learning_rate_warms_up_stays_and_falls() -> None:
    config = tiny_config(steps=100, warmup_steps=10, decay_steps=40, decay_floor=0.1)
    rates = [trainer.rate_share(config, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:61] == [1.0] * 52
    assert rates[80] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[60:]))


def test_each_output_learns_only_from_what_informs_it() -> None:
    pixels = draw_portrait(0)[:48, :48]
    batch = to_batch(
        [
            Sample(pixels, {"blending": 0.0, "synthesis": 0.0}, "real"),
            Sample(pixels, {"blending": 1.0}, "swap"),
            Sample(pixels, {"blending": 1.0}, "swap"),
            Sample(pixels, {"synthesis": 1.0}, "generated"),
        ],
        ("blending", "synthesis"),
    )
    weights = trainer.loss_weights(batch)
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.5], [0.25, 0.0], [0.25, 0.0], [0.0, 0.5]]))


def test_micro_batches_do_not_change_the_gradient(data: Data) -> None:
    root, faces = data
    gradients = []
    for micro_batch in (6, 2):
        config = with_network(tiny_config(micro_batch=micro_batch, clip_norm=1e9), dropout=0.0)
        state = trainer.new_state(config, pretrained=False)
        trainer.run_step(state, StepDataset(FacePool(faces, root, config), first_step=0, steps=1)[0], config)
        gradients.append(torch.cat([p.grad.flatten() for p in only(state).model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)


def test_a_loss_that_is_no_number_stops_the_run(data: Data) -> None:
    root, faces = data
    config = tiny_config()
    state = trainer.new_state(config, pretrained=False)
    with torch.no_grad():
        only(state).model.fc.bias.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="is no number"):
        trainer.run_step(state, StepDataset(FacePool(faces, root, config), first_step=0, steps=1)[0], config)


def test_a_batch_depends_on_seed_and_step_only(data: Data) -> None:
    root, faces = data
    pool = FacePool(faces, root, tiny_config())
    late = StepDataset(pool, first_step=4, steps=6)[1]
    from_start = StepDataset(pool, first_step=0, steps=6)
    _ = from_start[2]
    assert torch.equal(late.faces, from_start[5].faces)
    assert not torch.equal(late.faces, from_start[4].faces)


def test_a_batch_holds_pairs_with_their_labels(data: Data) -> None:
    root, faces = data
    batch = StepDataset(FacePool(faces, root, tiny_config()), first_step=0, steps=1)[0]
    assert batch.faces.shape == (6, 48, 48, 3)
    assert batch.faces.dtype == torch.uint8
    assert batch.targets.tolist() == [[0, 0], [1, 0], [0, 0], [1, 0], [0, 0], [0, 1]]
    assert batch.informed.tolist() == [[1, 1], [1, 0], [1, 1], [1, 0], [1, 1], [0, 1]]


def test_batches_made_by_other_processes_are_the_same(data: Data) -> None:
    root, faces = data
    pool = FacePool(faces, root, tiny_config())
    here, elsewhere = (list(trainer.step_batches(pool, first_step=1, steps=4, workers=workers)) for workers in (0, 2))
    assert len(here) == len(elsewhere) == 3
    assert all(torch.equal(one.faces, other.faces) for one, other in zip(here, elsewhere, strict=True))


@pytest.mark.slow
@pytest.mark.long
def test_fifty_steps_from_one_seed_give_the_same_weights(data: Data, tmp_path: Path) -> None:
    config = tiny_config(steps=50, decay_steps=30, workers=1)
    assert_same_weights(run(config, data, tmp_path / "one"), run(config, data, tmp_path / "other"))


def test_a_mosaic_informs_the_synthesis_output_only(data: Data) -> None:
    root, faces = data
    pool = FacePool(faces, root, tiny_config())
    plain = pool.synthesis_pair(np.random.default_rng(1))
    mosaic = pool.synthesis_pair(np.random.default_rng(1), mosaic_share=1.0)
    assert [sample.targets for sample in plain] == [{"blending": 0.0, "synthesis": 0.0}, {"synthesis": 1.0}]
    assert [sample.targets for sample in mosaic] == [{"synthesis": 0.0}, {"synthesis": 1.0}]
    assert not np.array_equal(plain[1].pixels, mosaic[1].pixels)


def test_held_out_faces_come_once_each(data: Data) -> None:
    root, faces = data
    samples = held_out_reals(FacePool(faces, root, tiny_config()))
    assert len(samples) == sum(face.label == "real" for face in faces)
    assert {tuple(sample.targets.values()) for sample in samples} == {(0.0, 0.0)}
    assert len({sample.pixels.tobytes() for sample in samples}) == len(samples)


def test_nobody_is_in_training_and_validation(data: Data) -> None:
    _, faces = data
    twice = [*faces, *(replace(face, path=face.path + "b") for face in faces)]
    training, held_out = split_people(twice, 0.25, seed=1)
    assert len(training) + len(held_out) == len(twice)
    assert not {face.person for face in training} & {face.person for face in held_out}
    assert {face.source for face in held_out} == {"drawn", "generated"}


def test_validation_figures_name_each_kind(data: Data) -> None:
    root, faces = data
    config = tiny_config(validation_pairs=8, validation_synthesis_pairs=3)
    samples = validation_samples(FacePool(faces, root, config))
    assert len(samples) == 22
    perfect = torch.tensor([[float(1.0 in s.targets.values())] * 2 for s in samples])
    metrics = trainer.validation_metrics(perfect, samples, config)
    assert metrics["blending_auc"] == metrics["synthesis_auc"] == metrics["auc"] == 1.0
    assert "blending_auc_self_blend" in metrics


def test_folding_and_unfolding_keep_the_outputs() -> None:
    torch.manual_seed(0)
    model = FaceClassifier("test_efficientnet", outputs=2)
    model.train()
    for _ in range(3):
        model(torch.randn(4, 3, 48, 48) * 2 + 1)
    model.eval()
    faces = torch.randn(3, 3, 48, 48)
    expected = model(faces)
    working = copy.deepcopy(model)
    folded = fold_batch_norm(working)
    assert not any("running_mean" in name for name in working.state_dict())
    torch.testing.assert_close(working.train()(faces), expected, rtol=1e-4, atol=1e-5)
    restored = FaceClassifier("test_efficientnet", outputs=2)
    restored.load_state_dict(unfolded_state(working.state_dict(), folded, restored), strict=True)
    torch.testing.assert_close(restored.eval()(faces), expected, rtol=1e-4, atol=1e-5)


def test_several_networks_learn_from_the_same_batches(data: Data, tmp_path: Path) -> None:
    config = tiny_config(steps=2)
    alone = run(config, data, tmp_path / "alone")
    both = run(
        replace(config, networks={"tiny": TINY, "live": replace(TINY, batch_norm=BatchNorm.LIVE)}),
        data,
        tmp_path / "both",
    )
    for name, value in only(alone).average.items():
        assert torch.equal(both.networks["tiny"].average[name], value), name
    assert any("running_mean" in name for name in both.networks["live"].model.state_dict())
    statistics = {n: v for n, v in both.networks["live"].average.items() if n.endswith("running_mean")}
    assert any(value.abs().max() > 0 for value in statistics.values())


def test_sharpness_aware_steps_leave_the_weights_where_the_optimiser_puts_them(data: Data, tmp_path: Path) -> None:
    still = with_network(tiny_config(steps=1, weight_decay=0.0), learning_rate=0.0, sharpness_radius=0.5)
    state = run(still, data, tmp_path / "still")
    torch.testing.assert_close(
        only(state).model.state_dict(),
        only(trainer.new_state(still, pretrained=False)).model.state_dict(),
        atol=1e-6,
        rtol=1e-5,
    )
    plain = run(tiny_config(steps=2), data, tmp_path / "plain")
    sharp = run(with_network(tiny_config(steps=2), sharpness_radius=0.5), data, tmp_path / "sharp")
    assert not torch.equal(only(plain).model.fc.weight, only(sharp).model.fc.weight)


def test_an_exported_detector_loads_and_scores_the_same(data: Data, tmp_path: Path) -> None:
    networks = {"one": TINY, "other": replace(TINY, batch_norm=BatchNorm.LIVE)}
    calibration = {"blending": {"one": 0.7, "other": 0.4, "offset": -0.2}}
    thresholds = {"fake": 0.8, "real": 0.2, "frame": 0.6}
    config = tiny_config(steps=2, thresholds=thresholds, networks=networks, calibration=calibration)
    state = run(config, data, tmp_path / "run")
    sample = Sample(np.ascontiguousarray(draw_portrait(3)[:48, :48]), {}, "")
    models = trainer.averaged_models(state, config)
    one, other = (trainer.predict_logits(models[name], [sample], config)[0] for name in networks)
    expected = torch.stack([0.7 * one[0] + 0.4 * other[0] - 0.2, (one[1] + other[1]) / 2]).sigmoid().max()
    spec = export_detector(combine(models, config), config, tmp_path / "detectors" / config.name)
    assert find_detector(config.name, [tmp_path / "detectors"]).spec == spec
    assert spec.architecture == "test_efficientnet+test_efficientnet"
    assert spec.thresholds.fake == 0.8
    detector = load_detector(config.name, search=[tmp_path / "detectors"])
    # Stored in half precision.
    assert detector.score([sample.pixels])[0, 0] == pytest.approx(float(expected), abs=2e-3)
    assert detector.heat_map(sample.pixels).shape == (48, 48)


def test_a_second_export_keeps_the_model_card(data: Data, tmp_path: Path) -> None:
    config = tiny_config(steps=2)
    state = run(config, data, tmp_path / "run")
    folder = tmp_path / "detector"
    folder.mkdir()
    (folder / "MODEL_CARD.md").write_text("# Card\n")
    export_detector(combine(trainer.averaged_models(state, config), config), config, folder)
    assert (folder / "MODEL_CARD.md").read_text() == "# Card\n"
    assert sorted(path.name for path in folder.iterdir()) == ["MODEL_CARD.md", "detector.json", "model.safetensors"]


def test_a_second_stage_begins_with_the_first_ones_average(data: Data, tmp_path: Path) -> None:
    root, faces = data
    first = only(run(tiny_config(steps=3), data, tmp_path / "first"))
    # Without a learning rate a step moves nothing.
    config = with_network(tiny_config(steps=1, seed=9), learning_rate=0.0)
    state = trainer.train(config, faces, root, tmp_path / "second", pretrained=False, start_from=tmp_path / "first")
    assert torch.equal(only(state).model.fc.weight, first.average["fc.weight"])
    assert not torch.equal(only(state).model.fc.weight, first.model.fc.weight)


def test_a_network_may_begin_with_a_detectors_weights(data: Data, tmp_path: Path) -> None:
    config = tiny_config(steps=2)
    (model,) = trainer.averaged_models(run(config, data, tmp_path / "first"), config).values()
    export_detector(model, config, tmp_path)
    state = trainer.new_state(config, start_weights={"tiny": tmp_path / "model.safetensors"})
    torch.testing.assert_close(only(state).model.fc.weight, model.fc.weight, atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="unknown networks: other"):
        trainer.new_state(config, start_weights={"other": tmp_path / "model.safetensors"})
