from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.training.dfdc.folds import assign_folds, fold_of_part, generate_folds, read_folds
from ml.training.dfdc.layout import Collection, Layout, Video


def collection(originals: list[tuple[int, list[int]]]) -> Collection:
    """From (part of a real video, parts of its fakes)."""
    videos = {}
    for number, (part, fakes) in enumerate(originals):
        real = Video(f"r{number}", Path("r"), part, is_fake=False, original=f"r{number}")
        videos[real.id] = real
        for other, fake_part in enumerate(fakes):
            fake = Video(f"f{number}-{other}", Path("f"), fake_part, is_fake=True, original=real.id)
            videos[fake.id] = fake
    return Collection(videos, ())


def test_sixteen_folds_of_three_parts_and_the_last_of_five() -> None:
    folds = [fold_of_part(part) for part in range(50)]
    assert Counter(folds) == {**dict.fromkeys(range(15), 3), 15: 5}
    assert [part for part in range(50) if folds[part] == 15] == [45, 46, 47, 48, 49]
    assert folds == sorted(folds)
    for part in (-1, 50):
        with pytest.raises(ValueError, match="is not in 0 to 49"):
            fold_of_part(part)
    with pytest.raises(ValueError, match="can't make"):
        fold_of_part(0, splits=51)


@given(splits=st.integers(1, 60), parts=st.integers(1, 60), data=st.data())
def test_any_parts_make_folds_without_gaps(splits: int, parts: int, data: st.DataObject) -> None:
    if splits > parts:
        with pytest.raises(ValueError, match="can't make"):
            fold_of_part(0, splits=splits, parts=parts)
        return
    folds = [fold_of_part(part, splits=splits, parts=parts) for part in range(parts)]
    assert sorted(set(folds)) == list(range(splits))
    sizes = Counter(folds)
    assert {sizes[fold] for fold in range(splits - 1)} <= {parts // splits}
    assert sizes[splits - 1] >= parts // splits


@given(st.lists(st.tuples(st.integers(0, 49), st.lists(st.integers(0, 49), max_size=4)), min_size=1, max_size=20))
def test_an_original_and_its_fakes_are_never_in_two_folds(originals: list[tuple[int, list[int]]]) -> None:
    videos = collection(originals)
    folds, skipped = assign_folds(videos)
    assert not skipped
    assert set(folds) == set(videos.videos)
    for video in videos.videos.values():
        assert folds[video.id] == folds[video.original] == fold_of_part(videos.videos[video.original].part)


def test_a_part_beyond_the_last_is_left_out_with_its_fakes() -> None:
    folds, skipped = assign_folds(collection([(50, [3]), (49, [])]))
    assert folds == {"r1": 15}
    assert {(skip.item, skip.reason) for skip in skipped} == {("r0", "no_fold"), ("f0-0", "no_fold")}


def test_every_crop_has_its_line(made_once: Layout) -> None:
    text = made_once.folds.read_text()
    assert text.splitlines()[0] == "video,file,label,original,frame,fold"
    rows = read_folds(made_once.folds)
    assert len(rows) == 45
    assert {(row.video, row.label, row.original, row.fold) for row in rows} == {
        ("aaa", 0, "aaa", 0), ("aab", 1, "aaa", 0), ("aac", 1, "aaa", 0),
        ("bbb", 0, "bbb", 1), ("bbc", 1, "bbb", 1), ("ccc", 0, "ccc", 1), ("ccd", 1, "ccc", 1),
        ("ddd", 0, "ddd", 1), ("dde", 1, "ddd", 1),
    }  # fmt: skip
    for row in rows:
        assert (made_once.crops(row.video) / row.file).is_file()
        assert row.file == f"{row.frame}_0.png"


def test_the_seed_decides_the_order_and_nothing_else(made: Layout) -> None:
    before = made.folds.read_text()
    made.folds.unlink()
    generate_folds(made, workers=3)
    assert made.folds.read_text() == before
    generate_folds(made, seed=778)
    assert made.folds.read_text() != before
    assert sorted(made.folds.read_text().splitlines()) == sorted(before.splitlines())


def test_unfinished_crops_are_not_listed(made: Layout) -> None:
    made.crops("ddd").rename(made.crops("ddd").with_name(".ddd.part"))
    report = generate_folds(made)
    assert {row.video for row in read_folds(made.folds)} == {"aaa", "aab", "aac", "bbb", "bbc", "ccc", "ccd", "dde"}
    assert ("ddd", "no_crops") in {(skip.item, skip.reason) for skip in report.skipped}


def test_a_list_with_a_leak_is_refused(made: Layout) -> None:
    lines = made.folds.read_text().splitlines()
    leaking = [line[:-1] + "7" if line.startswith("bbc,0_") else line for line in lines]
    made.folds.write_text("\n".join(leaking) + "\n")
    with pytest.raises(ValueError, match="bbb and its fakes are in more than one fold"):
        read_folds(made.folds)
    made.folds.write_text("file,label\n")
    with pytest.raises(ValueError, match="does not have the columns"):
        read_folds(made.folds)
