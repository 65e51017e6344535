from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.metrics import log_loss
from torch import Tensor

from ml.detectors.integrity import sha256_of
from ml.detectors.network import FaceClassifier, to_input
from ml.detectors.registry import load_detector
from ml.training.dfdc import training
from ml.training.dfdc.config import DfdcConfig
from ml.training.dfdc.dataset import (
    EpochDataset,
    ValidationDataset,
    draw_epoch,
    existing_rows,
    read_crop,
    split_rows,
    steps_per_epoch,
)
from ml.training.dfdc.folds import FoldRow, read_folds
from ml.training.dfdc.layout import Layout
from ml.training.dfdc.plots import plot_losses, read_runs
from ml.training.dfdc.steps import exclusive
from ml.training.engine import OptimizerKind, Place, Precision, RunState, Schedule, epoch_weights, learning_rate
from ml.training.logbook import METRICS_FILE, read_metrics

CONFIGS = Path(training.__file__).parent.parent / "configs"
ALONE = Place(0, 1, torch.device("cpu"))


def tiny(**changes: object) -> DfdcConfig:
    config = DfdcConfig.load(CONFIGS / "dfdc-tiny.toml")
    return replace(config, **changes)  # type: ignore[arg-type]


def train(
    layout: Layout,
    work: Path,
    *,
    seed: int = 111,
    config: DfdcConfig | None = None,
    stop: int = -1,
    workers: int = 0,
) -> RunState:
    def on_step(step: int, total: int, loss: float) -> None:
        if step == stop:
            raise KeyboardInterrupt

    return training.train_seed(config or tiny(), layout, work, seed=seed, place=ALONE, workers=workers, on_step=on_step)


def rows(reals: int, fakes: int, *, fold: int = 1) -> list[FoldRow]:
    found = [FoldRow(f"r{n}", "0_0.png", 0, f"r{n}", 0, fold) for n in range(reals)]
    return found + [FoldRow(f"f{n}", "0_0.png", 1, f"r{n}", 0, fold) for n in range(fakes)]


def test_the_settings_of_the_b7_are_the_references() -> None:
    config = DfdcConfig.load(CONFIGS / "reference-b7.toml")
    assert (config.architecture, config.input_size, config.batch_size) == ("tf_efficientnet_b7", 380, 12)
    assert config.seeds == (111, 555, 777, 888, 999)
    assert (config.label_smoothing, config.drop_path, config.validation_every) == (0.01, 0.2, 20)
    assert config.batches_per_epoch == 2500
    engine = config.engine
    assert (engine.optimizer, engine.learning_rate, engine.momentum) == (OptimizerKind.SGD, 0.01, 0.9)
    assert (engine.nesterov, engine.weight_decay, engine.clip_norm) == (True, 1e-4, 1.0)
    assert (engine.schedule, engine.schedule_steps, engine.epochs) == (Schedule.POLY, 100500, 40)
    assert (engine.precision, engine.ema_decay) == (Precision.FP16, 0.0)
    assert 0 < learning_rate(engine, 40 * 2500 - 1) < 1e-4


def test_settings_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    text = (CONFIGS / "dfdc-tiny.toml").read_text()
    path = tmp_path / "c.toml"
    for wrong, name in (
        ("[engine]\nmomentun = 1", "engine.momentun"),
        ("[augmentation]\ncutout = 1", "augmentation.cutout"),
    ):
        path.write_text(text.replace("[engine]", wrong) if "engine" in wrong else f"{text}\n{wrong}\n")
        with pytest.raises(ValueError, match=name):
            DfdcConfig.load(path)
    path.write_text(text.replace('kind = "dfdc"', ""))
    with pytest.raises(ValueError, match="kind"):
        DfdcConfig.load(path)
    path.write_text(text.replace('"poly"', '"linear"'))
    with pytest.raises(ValueError, match="linear"):
        DfdcConfig.load(path)


def test_each_epoch_has_all_reals_and_as_many_fakes() -> None:
    collection = rows(20, 50)
    drawn = [draw_epoch(collection, seed=1, epoch=epoch) for epoch in range(3)]
    for epoch in drawn:
        assert Counter(row.label for row in epoch) == {0: 20, 1: 20}
        assert len(set(epoch)) == 40
    assert {row for row in drawn[0] if row.label} != {row for row in drawn[1] if row.label}
    assert [row.label for row in drawn[0]] != sorted(row.label for row in drawn[0])
    assert draw_epoch(collection, seed=1, epoch=2) == drawn[2]
    assert draw_epoch(collection, seed=2, epoch=2) != drawn[2]


def test_too_few_fakes_are_drawn_again_evenly() -> None:
    drawn = draw_epoch(rows(20, 8), seed=1, epoch=0)
    counts = Counter(row.video for row in drawn if row.label)
    assert sum(counts.values()) == 20
    assert set(counts.values()) == {2, 3}


def test_a_fold_validates_on_every_twentieth_frame(made_once: Layout) -> None:
    config = tiny(fold=0)
    everything = read_folds(made_once.folds)
    fit, validation = split_rows(everything, config)
    assert {row.video for row in fit} == {"bbb", "bbc", "ccc", "ccd", "ddd", "dde"}
    assert Counter((row.video, row.frame) for row in validation) == {
        (video, frame): 1 for video in ("aaa", "aab", "aac") for frame in (0, 20, 40)
    }
    with pytest.raises(ValueError, match="fold 7 leaves no real or no fake crops for validation"):
        split_rows(everything, tiny(fold=7))


def test_an_epoch_is_as_long_as_the_crops_allow() -> None:
    config = tiny(batch_size=4, batches_per_epoch=3)
    assert steps_per_epoch(rows(100, 100), config, 1) == 3
    assert steps_per_epoch(rows(5, 100), config, 1) == 2
    assert steps_per_epoch(rows(5, 100), config, 2) == 1
    with pytest.raises(ValueError, match="no batch of 4 for each of 3"):
        steps_per_epoch(rows(5, 100), config, 3)


def test_the_loss_weighs_fakes_and_reals_alike() -> None:
    logits, labels = torch.tensor([2.0, -1.0, 0.5, 3.0]), torch.tensor([1.0, 0.0, 0.0, 0.0])

    def entropy(logit: Tensor, target: float) -> float:
        probability = float(torch.sigmoid(logit))
        return -(target * math.log(probability) + (1 - target) * math.log(1 - probability))

    fake, real = entropy(logits[0], 0.99), [entropy(logit, 0.01) for logit in logits[1:]]
    assert float(training.balanced_loss(logits, labels, 0.01)) == pytest.approx((fake + sum(real) / 3) / 2, rel=1e-5)
    assert float(training.balanced_loss(logits[:1], labels[:1], 0.01)) == pytest.approx(fake / 2, rel=1e-5)


def test_the_validation_loss_is_the_mean_of_both_log_losses() -> None:
    scores = {"a": 0.9, "b": 0.4, "c": 0.2, "d": 0.7, "e": 0.1}
    fakes = {"a": True, "b": True, "c": False, "d": False, "e": False}
    found = training.video_log_loss(scores, fakes)
    assert found["fake_loss"] == pytest.approx(log_loss([1, 1], [0.9, 0.4], labels=[0, 1]))
    assert found["real_loss"] == pytest.approx(log_loss([0, 0, 0], [0.2, 0.7, 0.1], labels=[0, 1]))
    assert found["loss"] == pytest.approx((found["fake_loss"] + found["real_loss"]) / 2)
    assert training.video_log_loss({"a": 0.0}, {"a": True})["fake_loss"] == pytest.approx(16.118, abs=1e-3)
    assert math.isnan(training.video_log_loss({"a": 0.5}, {"a": True})["loss"])


def test_a_videos_score_is_the_plain_mean_of_its_crops(made_once: Layout) -> None:
    config = tiny()
    _, validation = split_rows(read_folds(made_once.folds), config)
    task = training.DfdcTask(config, made_once, validation, validation, 1, ALONE, 0)
    torch.manual_seed(0)
    model = FaceClassifier(config.architecture).eval()
    with torch.inference_mode():
        figures = task.validate(model, 0)
        scores: dict[str, float] = {}
        for video in ("aaa", "aab", "aac"):
            own = [row for row in validation if row.video == video]
            (batch,) = [ValidationDataset(own, made_once, config)[0]]
            faces = to_input(batch.faces, config.mean, config.std)
            scores[video] = float(torch.sigmoid(model(faces)).mean())
    expected = training.video_log_loss(scores, {"aaa": False, "aab": True, "aac": True})
    assert figures == pytest.approx({f"validation_{name}": value for name, value in expected.items()}, rel=1e-5)


def test_a_crop_comes_with_its_mask_and_its_originals_landmarks(made_once: Layout) -> None:
    found = {row.video: row for row in read_folds(made_once.folds) if row.frame == 20}
    real, fake = read_crop(found["ccc"], made_once), read_crop(found["ccd"], made_once)
    assert real.changed.max() == 0
    assert fake.changed.max() > 100
    assert real.landmarks is not None
    assert fake.landmarks is not None
    assert real.landmarks.tolist() == fake.landmarks.tolist()


def test_a_batch_depends_on_seed_epoch_and_position_only(made_once: Layout) -> None:
    fit, _ = split_rows(read_folds(made_once.folds), tiny())

    def dataset(first: int, *, epoch: int = 0, rank: int = 0, world: int = 1) -> EpochDataset:
        return EpochDataset(fit, made_once, tiny(), seed=1, epoch=epoch, first=first, steps=3, rank=rank, world=world)

    torch.manual_seed(1)
    late = dataset(2)[0]
    torch.manual_seed(2)
    start = dataset(0)
    _ = start[1]
    assert torch.equal(start[2].faces, late.faces)
    assert late.faces.shape == (4, 64, 64, 3)
    assert len(start) == 3
    assert not torch.equal(dataset(2, epoch=1)[0].faces, late.faces)
    # Two processes see together what one would see in twice as many steps.
    both = [dataset(0, rank=rank, world=2)[0].rows for rank in (0, 1)]
    assert both == [start[0].rows, start[1].rows]


@pytest.mark.slow
@pytest.mark.long
def test_the_same_seed_gives_the_same_weights(made_once: Layout, tmp_path: Path) -> None:
    one, other = train(made_once, tmp_path / "one"), train(made_once, tmp_path / "other")
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name
    # Whoever makes the batches, they are the same.
    helped = train(made_once, tmp_path / "helped", workers=2)
    assert torch.equal(one.model.fc.weight, helped.model.fc.weight)  # type: ignore[union-attr, arg-type]
    changed = train(made_once, tmp_path / "changed", seed=555)
    assert not torch.equal(one.model.fc.weight, changed.model.fc.weight)  # type: ignore[union-attr, arg-type]


@pytest.mark.slow
@pytest.mark.long
def test_fifty_steps_twice_give_the_same_weights(made_once: Layout, tmp_path: Path) -> None:
    config = tiny(engine=replace(tiny().engine, epochs=17, schedule_steps=60))
    one, other = (train(made_once, tmp_path / name, config=config, workers=2) for name in ("one", "other"))
    assert one.step == other.step == 51
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name


def test_a_resumed_run_equals_an_uninterrupted_one(made_once: Layout, tmp_path: Path) -> None:
    whole = train(made_once, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(made_once, tmp_path / "broken", stop=5)
    resumed = train(made_once, tmp_path / "broken")
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    metrics = [read_metrics(training.run_folder(tmp_path / run, 111) / METRICS_FILE) for run in ("whole", "broken")]
    assert metrics[0] == metrics[1]


def test_other_folds_or_settings_are_not_gone_on_with(made: Layout, tmp_path: Path) -> None:
    train(made, tmp_path)
    with pytest.raises(ValueError, match="label_smoothing"):
        train(made, tmp_path, config=tiny(label_smoothing=0.1))
    text = made.folds.read_text().splitlines()
    made.folds.write_text("\n".join([text[0], *reversed(text[1:])]) + "\n")
    with pytest.raises(ValueError, match="folds_sha256"):
        train(made, tmp_path)
    # What is only written into the detector may change.
    made.folds.write_text("\n".join(text) + "\n")
    assert train(made, tmp_path, config=tiny(title="Another title")).step == 6


def test_two_runs_do_not_share_a_folder(made_once: Layout, tmp_path: Path) -> None:
    with exclusive(training.run_folder(tmp_path, 111) / ".lock"), pytest.raises(RuntimeError, match="another run"):
        train(made_once, tmp_path)
    assert train(made_once, tmp_path).step == 6


def test_missing_and_broken_crops_are_left_out_and_listed(made: Layout, tmp_path: Path) -> None:
    (made.crops("bbb") / "10_0.png").unlink()
    for frame in (0, 20, 30):
        (made.crops("ccc") / f"{frame}_0.png").write_bytes(b"torn")
    (made.crops("aab") / "20_0.png").write_bytes(b"")
    state = train(made, tmp_path, config=tiny(batches_per_epoch=100))
    assert state.step == 2 * (28 // 4)
    skipped = json.loads((training.run_folder(tmp_path, 111) / training.SKIPPED_FILE).read_text())
    assert {skip["item"]: skip["reason"] for skip in skipped} == {
        "bbb/10_0.png": "file_missing",
        "ccc/0_0.png": "unreadable",
        "ccc/20_0.png": "unreadable",
        "ccc/30_0.png": "unreadable",
        "aab/20_0.png": "unreadable",
    }


def test_crops_that_are_gone_altogether_are_noticed(made: Layout) -> None:
    made.crops("aaa").rename(made.crops("aaa").with_name("elsewhere"))
    there, missing = existing_rows(read_folds(made.folds), made)
    assert len(there) == 40
    assert {skip.item for skip in missing} == {f"aaa/{frame}_0.png" for frame in (0, 10, 20, 30, 40)}


def test_the_exported_detector_is_the_epoch_chosen(made_once: Layout, tmp_path: Path) -> None:
    train(made_once, tmp_path)
    folder = training.run_folder(tmp_path, 111)
    losses = {
        line["epoch"]: line["validation_loss"]
        for line in read_metrics(folder / METRICS_FILE)
        if line["kind"] == "epoch"
    }
    best, loss = training.best_epoch(folder)
    assert loss == losses[best] == min(losses.values())
    spec = training.export_detector(tiny(), folder, tmp_path / "detectors/dfdc-tiny")
    detector = load_detector("dfdc-tiny", search=[tmp_path / "detectors"], device="cpu")
    assert detector.spec == spec
    assert detector.weights_sha256 == (sha256_of(epoch_weights(folder, best)),)
    other = training.export_detector(tiny(), folder, tmp_path / "detectors/dfdc-tiny", epoch=1 - best)
    assert other.weights_sha256 == sha256_of(epoch_weights(folder, 1 - best))
    with pytest.raises(FileNotFoundError, match="epoch 9"):
        training.export_detector(tiny(), folder, tmp_path / "x", epoch=9)


def test_start_weights_come_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(77)
    source = FaceClassifier("test_efficientnet")
    save_file(source.state_dict(), tmp_path / "whole.safetensors")
    # With the head that the encoder was trained with.
    encoder = {**source.encoder.state_dict(), "classifier.weight": torch.zeros(10, 4)}
    torch.save(encoder, tmp_path / "encoder.pt")
    whole = training.make_network(tiny(start_weights=str(tmp_path / "whole.safetensors")), 1)
    assert torch.equal(whole.fc.weight, source.fc.weight)
    only = training.make_network(tiny(start_weights=str(tmp_path / "encoder.pt")), 1)
    assert not torch.equal(only.fc.weight, source.fc.weight)
    for network in (whole, only):
        for name, value in source.encoder.state_dict().items():
            assert torch.equal(network.encoder.state_dict()[name], value), name
    random = training.make_network(tiny(), 1)
    stems = [network.encoder.state_dict()["conv_stem.weight"] for network in (random, source)]
    assert not torch.equal(stems[0], stems[1])


def test_losses_are_drawn_for_each_run(tmp_path: Path) -> None:
    for seed in (111, 555):
        folder = tmp_path / f"seed_{seed}"
        folder.mkdir()
        lines: list[dict[str, object]] = [
            {"kind": "step", "step": step, "epoch": 0, "learning_rate": 0.1 / step} for step in (1, 2, 3)
        ]
        lines += [
            {"kind": "epoch", "step": 3, "epoch": epoch, "training_loss": 0.6 - epoch / 10, "validation_loss": value}
            for epoch, value in enumerate((0.69, 0.5, None))
        ]
        (folder / METRICS_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    runs = read_runs(tmp_path)
    assert list(runs) == ["seed_111", "seed_555"]
    plot_losses(runs, tmp_path / "losses.png")
    with Image.open(tmp_path / "losses.png") as picture:
        assert picture.format == "PNG"
        assert picture.size == (1200, 800)
        # Curves, not an empty page.
        assert len(picture.convert("RGB").getcolors(maxcolors=1 << 20) or []) > 50
    assert training.best_epoch(tmp_path / "seed_111") == (1, 0.5)
    with pytest.raises(FileNotFoundError, match="no finished epoch"):
        read_runs(tmp_path / "nothing")
