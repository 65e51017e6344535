from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from torch import Tensor, nn

from ml.training import engine
from ml.training.engine import (
    EngineSettings,
    OptimizerKind,
    Place,
    Precision,
    Run,
    RunState,
    Schedule,
    epoch_weights,
    learning_rate,
    load_checkpoint,
    new_state,
    save_checkpoint,
    take_place,
)
from ml.training.logbook import METRICS_FILE, TENSORBOARD_FOLDER, Logbook, read_metrics

ALONE = Place(0, 1, torch.device("cpu"))


def settings(**changes: Any) -> EngineSettings:
    base = EngineSettings(epochs=3, learning_rate=0.1, schedule_steps=13, ema_decay=0.9, log_every=1)
    return replace(base, **changes)


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.3), nn.Flatten(), nn.Linear(16, 1))


@dataclass
class Noise:
    """A task whose batches depend on epoch and position only. ``dies`` is the validation that raises."""

    steps_per_epoch: int = 4
    dies: int = -1
    validated: int = 0
    scale: float = 1.0

    def batches(self, epoch: int, first: int) -> Iterator[Tensor]:
        for step in range(first, self.steps_per_epoch):
            generator = torch.Generator().manual_seed(epoch * 100 + step)
            yield torch.randn(8, 3, 4, 4, generator=generator)

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        targets = (batch.mean(dim=(1, 2, 3)) > 0).float()
        logits: Tensor = model(batch)[:, 0].float()
        return nn.functional.binary_cross_entropy_with_logits(logits, targets) * self.scale

    def validate(self, model: nn.Module, epoch: int) -> Mapping[str, float]:
        assert not model.training
        if epoch == self.dies:
            raise KeyboardInterrupt
        self.validated += 1
        return {"validation_loss": float(model(torch.ones(1, 3, 4, 4)).item())}


def train(folder: Path, task: Noise | None = None, *, stop: int = -1, seed: int = 1, **changes: Any) -> RunState:
    def on_step(step: int, loss: float) -> None:
        if step == stop:
            raise KeyboardInterrupt

    run = Run(task or Noise(), settings(**changes), folder, ALONE, seed, {"data": "noise"}, on_step)
    return run.train(network())


def assert_same(one: RunState, other: RunState) -> None:
    assert one.average is not None
    assert other.average is not None
    for first, second in ((one.model, other.model), (one.average, other.average)):
        for name, value in first.state_dict().items():
            assert torch.equal(value, second.state_dict()[name]), name


def test_poly_cosine_and_constant_schedules() -> None:
    poly = settings(learning_rate=0.01, schedule=Schedule.POLY, schedule_steps=100500, power=0.9)
    assert learning_rate(poly, 0) == 0.01
    assert learning_rate(poly, 50250) == pytest.approx(0.01 * 0.5**0.9)
    # The last of 40 × 2500 steps.
    assert learning_rate(poly, 99999) == pytest.approx(0.01 * (501 / 100500) ** 0.9)
    assert learning_rate(poly, 200000) == 0.0
    cosine = settings(schedule=Schedule.COSINE, schedule_steps=110, warmup_steps=10, floor=0.1)
    assert [learning_rate(cosine, step) for step in (0, 4, 9)] == pytest.approx([0.01, 0.05, 0.1])
    assert learning_rate(cosine, 60) == pytest.approx(0.1 * 0.55)
    assert learning_rate(cosine, 110) == pytest.approx(0.01)
    assert {learning_rate(settings(schedule=Schedule.CONSTANT), step) for step in (0, 50, 5000)} == {0.1}


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    one, other = train(tmp_path / "one"), train(tmp_path / "other")
    assert_same(one, other)
    assert one.step == 12
    changed = train(tmp_path / "changed", seed=2)
    assert not torch.equal(next(one.model.parameters()), next(changed.model.parameters()))


@pytest.mark.parametrize("stop", [1, 4, 6, 7, 11])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, stop: int) -> None:
    whole = train(tmp_path / "whole", checkpoint_every=3)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", stop=stop, checkpoint_every=3)
    resumed = train(tmp_path / "broken", checkpoint_every=3)
    assert_same(whole, resumed)
    assert read_metrics(tmp_path / "broken" / METRICS_FILE) == read_metrics(tmp_path / "whole" / METRICS_FILE)
    for epoch in range(3):
        ours, theirs = (load_file(str(epoch_weights(tmp_path / name, epoch))) for name in ("broken", "whole"))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_killed_while_validating_validates_again(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", Noise(dies=1))
    assert not epoch_weights(tmp_path / "broken", 1).exists()
    task = Noise()
    resumed = train(tmp_path / "broken", task)
    assert task.validated == 2
    assert_same(whole, resumed)
    assert read_metrics(tmp_path / "broken" / METRICS_FILE) == read_metrics(tmp_path / "whole" / METRICS_FILE)


def test_a_finished_run_may_be_made_longer_but_not_different(tmp_path: Path) -> None:
    train(tmp_path / "run", epochs=2)
    assert_same(train(tmp_path / "run", epochs=3), train(tmp_path / "whole", epochs=3))
    with pytest.raises(ValueError, match="learning_rate, precision"):
        train(tmp_path / "run", learning_rate=0.2, precision=Precision.FP16)
    with pytest.raises(ValueError, match="seed"):
        train(tmp_path / "run", seed=2)


def test_a_torn_write_leaves_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = train(tmp_path)
    before = (tmp_path / engine.CHECKPOINT_FILE).read_bytes()

    def torn(content: object, file: Any) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(state, tmp_path, {})
    assert (tmp_path / engine.CHECKPOINT_FILE).read_bytes() == before


def test_a_checkpoint_holds_all_that_a_run_needs(tmp_path: Path) -> None:
    state = train(tmp_path)
    content = torch.load(tmp_path / engine.CHECKPOINT_FILE, weights_only=True)
    assert set(content) >= {"fingerprint", "step", "model", "average", "optimizer", "scaler"}
    fresh = new_state(network(), settings(), ALONE.device)
    assert load_checkpoint(fresh, tmp_path, json.loads(content["fingerprint"]))
    assert_same(state, fresh)
    momenta = [entry["momentum_buffer"] for entry in state.optimizer.state_dict()["state"].values()]
    restored = [entry["momentum_buffer"] for entry in fresh.optimizer.state_dict()["state"].values()]
    assert momenta
    assert all(torch.equal(one, other) for one, other in zip(momenta, restored, strict=True))


def test_gradients_are_clipped() -> None:
    wild = {"learning_rate": 1.0, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0, "ema_decay": 0.0}
    state = new_state(network(), settings(**wild), ALONE.device)
    before = torch.cat([p.detach().flatten().clone() for p in state.model.parameters()])
    batch = next(iter(Noise().batches(0, 0)))
    task = Noise(scale=1e4)
    _, norm = engine.run_step(state, task, batch, settings(clip_norm=0.5, **wild), ALONE, module=state.model, seed=0)
    after = torch.cat([p.detach().flatten() for p in state.model.parameters()])
    assert norm > 100
    assert float((after - before).norm()) == pytest.approx(0.5, rel=1e-3)


def test_averaged_weights_follow_slower_and_keep_counters(tmp_path: Path) -> None:
    state = train(tmp_path)
    assert state.average is not None
    averaged, current = state.average.module.state_dict(), state.model.state_dict()
    assert not torch.equal(averaged["0.weight"], current["0.weight"])
    assert int(averaged["1.num_batches_tracked"]) == int(current["1.num_batches_tracked"]) == 12
    kept = load_file(str(epoch_weights(tmp_path, 2)))
    assert all(torch.equal(kept[name], averaged[name]) for name in averaged)
    plain = train(tmp_path / "plain", ema_decay=0.0)
    assert plain.average is None
    kept = load_file(str(epoch_weights(tmp_path / "plain", 2)))
    assert all(torch.equal(kept[name], value) for name, value in plain.model.state_dict().items())


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"loss is nan.* at step 0"):
        train(tmp_path, Noise(scale=math.nan))


def test_precision_is_full_on_a_cpu(tmp_path: Path) -> None:
    state = train(tmp_path / "half", precision=Precision.FP16)
    assert not state.scaler.is_enabled()
    full = train(tmp_path / "full", precision=Precision.FP32)
    assert_same(state, full)


def test_adamw_trains_too(tmp_path: Path) -> None:
    state = train(tmp_path, optimizer=OptimizerKind.ADAMW, learning_rate=1e-3)
    assert isinstance(state.optimizer, torch.optim.AdamW)
    assert state.step == 12


def test_tensorboard_shows_the_same_figures(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stop=7)
    train(tmp_path)
    events = EventAccumulator(str(tmp_path / TENSORBOARD_FOLDER))
    events.Reload()
    shown = {event.step: event.value for event in events.Scalars("step/loss")}
    written = {line["step"]: line["loss"] for line in read_metrics(tmp_path / METRICS_FILE) if line["kind"] == "step"}
    assert sorted(shown) == sorted(written) == list(range(1, 13))
    assert shown == pytest.approx(written, rel=1e-5)


def test_a_logbook_cuts_off_what_a_killed_run_wrote_too_much(tmp_path: Path) -> None:
    with Logbook(tmp_path, first_step=0) as book:
        for step in (1, 2, 3):
            book.write("step", step, epoch=0, loss=step / 2)
        book.write("step", 4, epoch=0, loss=math.nan)
    with (tmp_path / METRICS_FILE).open("a") as file:
        file.write('{"kind": "step", "st')
    lines = read_metrics(tmp_path / METRICS_FILE)
    assert [line["loss"] for line in lines] == [0.5, 1.0, 1.5, None]
    with Logbook(tmp_path, first_step=2) as book:
        book.write("epoch", 2, epoch=0, loss=7.0)
        assert book.has_epoch(0)
        assert not book.has_epoch(1)
    assert [(line["kind"], line["step"]) for line in read_metrics(tmp_path / METRICS_FILE)] == [
        ("step", 1), ("step", 2), ("epoch", 2),
    ]  # fmt: skip


def test_alone_a_process_needs_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with take_place("cpu") as place:
        assert (place.rank, place.world, place.is_first) == (0, 1, True)
        assert place.gather([1, 2]) == [1, 2]
        assert place.add_up(torch.tensor([1.5])).tolist() == [1.5]


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"ema_decay": 1.0}, {"log_every": 0}, {"schedule_steps": 0}])
def test_senseless_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        settings(**wrong)


def overflowing(scale: float) -> RunState:
    """A state with the scaler that fp16 uses on a GPU; it works on a CPU as well."""
    state = new_state(network(), settings(), ALONE.device)
    state.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=2)
    return state


def test_a_step_that_overflows_is_left_out_and_the_scale_lowered() -> None:
    state, task = overflowing(1e38), Noise(scale=100.0)
    batches = list(task.batches(0, 0))
    before = {name: value.clone() for name, value in state.model.named_parameters()}
    loss, norm = engine.run_step(state, task, batches[0], settings(), ALONE, module=state.model, seed=0)
    assert math.isfinite(loss)
    assert not math.isfinite(norm)
    assert (state.step, state.overflows) == (1, 1)
    assert state.scaler.get_scale() == pytest.approx(5e37)
    assert all(torch.equal(value, before[name]) for name, value in state.model.named_parameters())
    state.scaler.update(8.0)
    for batch in batches[1:3]:
        engine.run_step(state, task, batch, settings(), ALONE, module=state.model, seed=0)
    assert (state.step, state.overflows) == (3, 0)
    assert state.scaler.get_scale() == 16.0
    assert not all(torch.equal(value, before[name]) for name, value in state.model.named_parameters())


def test_overflow_without_end_stops_the_run() -> None:
    state, task = overflowing(1.0), Noise(scale=math.inf)
    batch = next(iter(task.batches(0, 0)))

    def step() -> None:
        engine.run_step(state, task, batch, settings(), ALONE, module=state.model, seed=0)

    for _ in range(engine.MOST_OVERFLOWS):
        step()
    with pytest.raises(RuntimeError, match="loss is inf"):
        step()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
def test_mixed_precision_trains_and_resumes_on_a_gpu(tmp_path: Path, precision: Precision) -> None:
    gpu = Place(0, 1, torch.device("cuda"))

    class Seen(Noise):
        def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
            assert model(batch.cuda()).dtype is (torch.float16 if precision is Precision.FP16 else torch.bfloat16)
            return super().loss(model, batch.cuda())

        def validate(self, model: nn.Module, epoch: int) -> Mapping[str, float]:
            return {"validation_loss": float(model(torch.ones(1, 3, 4, 4, device="cuda")).item())}

    def run(folder: Path, stop: int = -1) -> RunState:
        def on_step(step: int, loss: float) -> None:
            if step == stop:
                raise KeyboardInterrupt

        task = Run(Seen(), settings(precision=precision, checkpoint_every=2), folder, gpu, 1, {}, on_step)
        return task.train(network())

    whole = run(tmp_path / "whole")
    assert whole.scaler.is_enabled() == (precision is Precision.FP16)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", stop=7)
    resumed = run(tmp_path / "broken")
    assert resumed.scaler.state_dict() == whole.scaler.state_dict()
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(value, resumed.model.state_dict()[name], rtol=1e-3, atol=1e-4)
