from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from ml.contracts import AnalysisError, ErrorCode
from ml.training.dfdc.crops import write_png
from ml.training.dfdc.steps import Fate, Skip, StepReport, Task, exclusive, is_whole_png_folder, run_step
from tests.media_factory import portrait


def make(folder: Path, item: str, path: Path) -> Sequence[Skip]:
    """Writes the item's name, and down that it did; names that say so go wrong."""
    with (folder / "calls").open("a") as calls:
        calls.write(f"{item}\n")
    if item.startswith("unreadable"):
        raise AnalysisError(ErrorCode.UNREADABLE_MEDIA, "no frame decodes")
    path.write_text("half")
    if item.startswith("broken"):
        raise KeyError(item)
    if item.startswith("deadly"):
        os.kill(os.getpid(), signal.SIGKILL)
    path.write_text(item)
    return [Skip(f"{item}/0", "no_face", "turned away")] if item.startswith("partly") else []


def target(folder: Path, item: str) -> Path:
    return folder / "made" / item


def is_whole(path: Path) -> bool:
    return path.read_text() == path.name


def name(item: str) -> str:
    return item


def step(folder: Path, items: Sequence[str], *, workers: int = 1, setting: int = 1) -> StepReport:
    task = Task("trial", partial(make, folder), partial(target, folder), is_whole, name, folder / "reports")
    return run_step(task, items, settings={"setting": setting}, workers=workers)


def made(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "made").iterdir())


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().split()


def test_one_bad_item_costs_no_other_its_output(tmp_path: Path) -> None:
    report = step(tmp_path, ["good", "broken", "unreadable", "partly"])
    assert made(tmp_path) == ["good", "partly"]
    assert report.counts == {Fate.MADE: 2, Fate.FAILED: 2}
    assert report.skipped == [
        Skip("broken", "internal_error", "KeyError('broken')"),
        Skip("partly/0", "no_face", "turned away"),
        Skip("unreadable", "unreadable_media", "no frame decodes"),
    ]
    assert json.loads((tmp_path / "reports/trial.json").read_text()) == report.to_dict()
    assert report.to_dict()["reasons"] == {"internal_error": 1, "no_face": 1, "unreadable_media": 1}
    assert "2 made, 0 already made, 2 failed" in report.as_text()


def test_a_second_run_makes_only_what_is_missing_and_reports_all_the_same(tmp_path: Path) -> None:
    first = step(tmp_path, ["good", "unreadable", "partly"])
    second = step(tmp_path, ["good", "unreadable", "partly", "new"])
    assert calls(tmp_path) == ["good", "unreadable", "partly", "unreadable", "new"]
    assert second.counts == {Fate.ALREADY: 2, Fate.MADE: 1, Fate.FAILED: 1}
    assert second.skipped == first.skipped


def test_half_written_output_never_counts(tmp_path: Path) -> None:
    step(tmp_path, ["good", "other"])
    (tmp_path / "made/good").write_text("go")
    # What a killed run leaves under its temporary name.
    (tmp_path / "made/.new.part").mkdir()
    (tmp_path / "made/.new.part/0_0.png").write_text("half")
    step(tmp_path, ["good", "other", "new"])
    assert calls(tmp_path) == ["good", "other", "good", "new"]
    assert (tmp_path / "made/good").read_text() == "good"
    assert made(tmp_path) == ["good", "new", "other"]


@pytest.mark.slow
@pytest.mark.long
def test_a_process_that_dies_takes_only_its_item_with_it(tmp_path: Path) -> None:
    items = [f"good{number}" for number in range(6)]
    report = step(tmp_path, [*items[:3], "deadly", *items[3:]], workers=2)
    assert [path for path in made(tmp_path) if not path.startswith(".")] == items
    assert report.skipped == [Skip("deadly", "process_died")]
    assert report.counts[Fate.FAILED] == 1
    assert report.counts[Fate.MADE] + report.counts[Fate.ALREADY] == 6


def test_other_settings_are_refused(tmp_path: Path) -> None:
    step(tmp_path, ["good"])
    with pytest.raises(ValueError, match="other settings"):
        step(tmp_path, ["good", "new"], setting=2)
    assert made(tmp_path) == ["good"]


def test_two_runs_of_a_step_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with exclusive(tmp_path / "reports/.trial.lock"), pytest.raises(RuntimeError, match="another run"):
        step(tmp_path, ["good"])
    step(tmp_path, ["good"])
    assert made(tmp_path) == ["good"]


def test_a_folder_with_a_torn_picture_is_not_whole(tmp_path: Path) -> None:
    write_png(tmp_path / "0_0.png", portrait().copy())
    write_png(tmp_path / "10_0.png", portrait().copy())
    assert is_whole_png_folder(tmp_path)
    data = (tmp_path / "10_0.png").read_bytes()
    (tmp_path / "10_0.png").write_bytes(data[:-5])
    assert not is_whole_png_folder(tmp_path)
    (tmp_path / "10_0.png").write_bytes(b"")
    assert not is_whole_png_folder(tmp_path)
    assert not is_whole_png_folder(tmp_path / "absent")
