from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml.contracts import MediaKind
from ml.media.frames import sample_frames
from ml.media.photos import read_photo
from ml.media.probe import probe
from ml.training.robustness import RECODINGS, Harm, Recoding, changes, recode
from tests.media_factory import make_face_image, make_video, read_counter


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", count=30, fps=24, size=(322, 242), rotation=90)


def test_a_worse_video_has_the_same_frames_upright_and_fewer_bits(clip: Path, tmp_path: Path) -> None:
    info = probe(clip)
    copies = {}
    for crf in (18, 40):
        folder = tmp_path / str(crf)
        folder.mkdir()
        copies[crf] = recode(clip, folder, Recoding(Harm.CRF, crf), info, 100.0)
        copy = probe(copies[crf])
        assert (copy.frame_count, copy.width, copy.height) == (30, info.width, info.height)
        assert copy.frame_rate == pytest.approx(24, abs=0.1)
        assert copy.rotation == 0
    assert copies[40].stat().st_size < copies[18].stat().st_size
    counters = [read_counter(np.rot90(picture.pixels)) for picture in sample_frames(copies[18], 30)]
    assert counters == list(range(30))


@pytest.mark.parametrize("harm", [Harm.CRF, Harm.HEVC_CRF])
def test_the_same_file_gives_the_same_bytes(clip: Path, tmp_path: Path, harm: Harm) -> None:
    info = probe(clip)
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        contents.append(recode(clip, tmp_path / name, Recoding(harm, 30), info, None).read_bytes())
    assert contents[0] == contents[1]


def test_other_codecs_than_training_uses(clip: Path, tmp_path: Path) -> None:
    assert probe(recode(clip, tmp_path, Recoding(Harm.HEVC_CRF, 32), probe(clip), None)).codec == "hevc"
    photo = make_face_image(tmp_path / "photo.png")
    copy = recode(photo, tmp_path, Recoding(Harm.WEBP_QUALITY, 30), probe(photo), None)
    assert probe(copy).codec == "webp"
    assert read_photo(copy).shape == read_photo(photo).shape


def test_faces_shrink_to_the_size_asked_for(clip: Path, tmp_path: Path) -> None:
    info = probe(clip)
    copy = probe(recode(clip, tmp_path, Recoding(Harm.FACE_SIZE, 50), info, 100.0))
    assert (copy.width, copy.height) == (info.width // 2 // 2 * 2, info.height // 2 // 2 * 2)
    photo = make_face_image(tmp_path / "photo.jpg")
    small = read_photo(recode(photo, tmp_path, Recoding(Harm.FACE_SIZE, 64), probe(photo), 128.0))
    assert small.shape == (256, 256, 3)


def test_a_photo_gets_the_quality_asked_for(tmp_path: Path) -> None:
    photo = make_face_image(tmp_path / "photo.png")
    copy = recode(photo, tmp_path, Recoding(Harm.JPEG_QUALITY, 30), probe(photo), None)
    assert probe(copy).jpeg_quality == 30
    assert read_photo(copy).shape == read_photo(photo).shape


def test_what_would_change_nothing_is_not_done(clip: Path, tmp_path: Path) -> None:
    assert not changes(Recoding(Harm.JPEG_QUALITY, 50), MediaKind.VIDEO, 100.0)
    assert not changes(Recoding(Harm.CRF, 30), MediaKind.IMAGE, 100.0)
    assert not changes(Recoding(Harm.FACE_SIZE, 96), MediaKind.IMAGE, 96.0)
    assert not changes(Recoding(Harm.FACE_SIZE, 96), MediaKind.IMAGE, None)
    with pytest.raises(ValueError, match="changes nothing"):
        recode(clip, tmp_path, Recoding(Harm.FACE_SIZE, 96), probe(clip), 50.0)


def test_there_are_five_axes_from_mild_to_strong() -> None:
    assert {recoding.harm for recoding in RECODINGS} == set(Harm)
    assert len({recoding.name for recoding in RECODINGS}) == len(RECODINGS)
