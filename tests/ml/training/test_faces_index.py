from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ml.contracts import Box, FaceDetection
from ml.training import faces_index
from ml.training.faces_index import TrainingFace, choose_face, index_digest, index_faces, person_of, read_index
from tests.ml.training.conftest import LANDMARKS

Data = tuple[Path, list[TrainingFace]]


def face(x1: int, y1: int, x2: int, y2: int) -> FaceDetection:
    return FaceDetection(Box(x1, y1, x2, y2), 0.99, LANDMARKS)


class StubDetector:
    """Finds a face in every picture that is not black."""

    looked_at = 0

    def __init__(self, *, device: str) -> None:
        pass

    def detect(self, pictures: Sequence[np.ndarray]) -> list[list[FaceDetection]]:
        type(self).looked_at += len(pictures)
        return [[face(20, 20, 76, 80)] if picture.any() else [] for picture in pictures]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> type[StubDetector]:
    monkeypatch.setattr(faces_index, "PortraitDetector", StubDetector)
    monkeypatch.setattr(StubDetector, "looked_at", 0)
    return StubDetector


def test_what_is_skipped_has_a_reason(data: Data, tmp_path: Path, stub: type[StubDetector]) -> None:
    import cv2

    root, _ = data
    cv2.imwrite(str(root / "real/drawn/black.png"), np.zeros((96, 96, 3), np.uint8))
    (root / "real/drawn/broken.jpg").write_bytes(b"no picture")
    report = index_faces(root, tmp_path / "work", batch_size=5)
    assert report == {"used": 12, "no face": 1, "unreadable": 1}
    records = read_index(tmp_path / "work")
    assert [record.path for record in records] == sorted(record.path for record in records)
    assert {(record.label, record.source) for record in records} == {("real", "drawn"), ("fake", "generated")}


def test_an_interrupted_search_goes_on_where_it_stopped(data: Data, tmp_path: Path, stub: type[StubDetector]) -> None:
    root, _ = data
    work = tmp_path / "work"
    index_faces(root, work)
    whole = index_digest(read_index(work))
    lines = (work / "faces.jsonl").read_text().splitlines(keepends=True)
    # Killed while the sixth line was being written.
    (work / "faces.jsonl").write_text("".join(lines[:5]) + lines[5][:30])
    stub.looked_at = 0
    index_faces(root, work)
    assert stub.looked_at == 7
    assert index_digest(read_index(work)) == whole


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no pictures"):
        index_faces(tmp_path, tmp_path / "work")


def test_the_portraits_own_face_is_chosen_over_bystanders() -> None:
    central, bystander = face(70, 60, 180, 190), face(0, 0, 112, 120)
    assert choose_face([bystander, central], 250, 250) is central
    assert choose_face([], 250, 250) is None


def test_numbered_pictures_belong_to_one_person() -> None:
    assert person_of(Path("real/lfw/Some_Name_0001.jpg")) == person_of(Path("real/lfw/Some_Name_0012.jpg"))
    assert person_of(Path("real/x/00001.jpg")) != person_of(Path("real/x/00002.jpg"))
    assert person_of(Path("real/x/18_0_0_0001.jpg")) != person_of(Path("real/x/18_0_0_0002.jpg"))
