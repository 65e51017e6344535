from __future__ import annotations

from pathlib import Path

import pytest

from ml.training.dfdc.layout import crop_names, frame_and_actor, read_collection
from tests.dfdc_factory import FAKES, REALS, write_metadata


def touch(part: Path, *names: str) -> None:
    part.mkdir(parents=True, exist_ok=True)
    for name in names:
        (part / name).write_bytes(b"video")


def reasons(root: Path) -> dict[str, str]:
    return {skip.item: skip.reason for skip in read_collection(root).skipped}


def test_every_usable_video_is_found_with_its_original(videos: Path) -> None:
    collection = read_collection(videos)
    assert {video.id for video in collection.real} == set(REALS) | {"cut", "empty"}
    originals = {video.id: video.original for video in collection.fake}
    assert originals == {"aab": "aaa", "aac": "aaa", "bbc": "bbb", "ccd": "ccc", "dde": "ddd"}
    assert {video.id: video.part for video in collection.fake} == {name: facts[0] for name, facts in FAKES.items()}


def test_what_is_of_no_use_is_named_with_its_reason(videos: Path) -> None:
    assert reasons(videos) == {
        "dfdc_train_part_4/gone.mp4": "file_missing",
        "dfdc_train_part_4/odd.mp4": "bad_label",
        "dfdc_train_part_4/orphan.mp4": "original_missing",
    }


def test_names_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    part = tmp_path / "dfdc_train_part_0"
    touch(tmp_path, "outside.mp4")
    touch(part, ".hidden.mp4", "fake.mp4")
    real = {"label": "REAL"}
    write_metadata(part, {"../outside.mp4": real, ".hidden.mp4": real, "": real})
    assert set(reasons(tmp_path).values()) == {"bad_name"}
    write_metadata(part, {"fake.mp4": {"label": "FAKE", "original": "../outside.mp4"}})
    assert reasons(tmp_path) == {"dfdc_train_part_0/fake.mp4": "original_missing"}


def test_one_broken_part_leaves_the_others(tmp_path: Path) -> None:
    for name, content in (("0", "{torn"), ("1", "[]"), ("x", "{}")):
        part = tmp_path / f"dfdc_train_part_{name}"
        part.mkdir()
        (part / "metadata.json").write_text(content)
    touch(tmp_path / "dfdc_train_part_2", "good.mp4")
    write_metadata(tmp_path / "dfdc_train_part_2", {"good.mp4": {"label": "REAL"}})
    assert list(read_collection(tmp_path).videos) == ["good"]
    assert reasons(tmp_path) == {
        "dfdc_train_part_0/metadata.json": "unreadable_metadata",
        "dfdc_train_part_1/metadata.json": "unreadable_metadata",
        "dfdc_train_part_x": "bad_part_name",
    }


def test_a_name_counts_once_and_a_fake_of_a_fake_not_at_all(tmp_path: Path) -> None:
    one, two = tmp_path / "dfdc_train_part_1", tmp_path / "dfdc_train_part_10"
    touch(one, "a.mp4", "b.mp4", "c.mp4")
    touch(two, "a.mp4")
    fake_of_fake = {"label": "FAKE", "original": "b.mp4"}
    write_metadata(
        one,
        {"a.mp4": {"label": "REAL"}, "b.mp4": {"label": "FAKE", "original": "a.mp4"}, "c.mp4": fake_of_fake},
    )
    write_metadata(two, {"a.mp4": {"label": "REAL"}})
    assert list(read_collection(tmp_path).videos) == ["a", "b"]
    assert reasons(tmp_path) == {
        "dfdc_train_part_10/a.mp4": "duplicate",
        "dfdc_train_part_1/c.mp4": "original_is_fake",
    }


def test_a_folder_without_metadata_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "dfdc_train_part_0").mkdir()
    with pytest.raises(FileNotFoundError, match=r"metadata\.json"):
        read_collection(tmp_path)


def test_crops_are_listed_by_number_not_by_letter(tmp_path: Path) -> None:
    for name in ("100_0.png", "20_1.png", "20_0.png", ".30_0.png", "thumbs.png", "40_0.txt"):
        (tmp_path / name).touch()
    assert crop_names(tmp_path) == ["20_0", "20_1", "100_0"]
    assert frame_and_actor("100_0") == (100, 0)
    with pytest.raises(ValueError, match="not <frame>_<actor>"):
        frame_and_actor("thumbs")
