"""Photos become upright RGB, whatever they are stored as."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.contracts import AnalysisError, ErrorCode
from ml.media.photos import read_photo
from tests.media_factory import counter_frame, make_image, make_video, read_counter


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(tmp_path: Path, orientation: int) -> None:
    upright = Image.fromarray(counter_frame(321, (320, 240)))
    # What a camera that was held so would have stored.
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    photo = make_image(tmp_path / "a.png", picture=np.asarray(stored), orientation=orientation)

    pixels = read_photo(photo)

    assert pixels.shape == (240, 320, 3)
    assert read_counter(pixels) == 321


def test_heic_is_turned_by_its_own_property(tmp_path: Path) -> None:
    stored = np.rot90(counter_frame(77, (320, 240)))

    pixels = read_photo(make_image(tmp_path / "a.heic", picture=np.ascontiguousarray(stored), orientation=6))

    assert pixels.shape == (240, 320, 3)
    assert read_counter(pixels) == 77


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "RGBA", "LA", "I;16"])
def test_every_pixel_format_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = Image.new("L", (20, 10), 255)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        Image.fromarray(np.full((10, 20), 65535, dtype=np.uint16)).save(path)
    else:
        grey.convert("RGB").convert(mode).save(path)

    pixels = read_photo(path)

    assert pixels.shape == (10, 20, 3)
    assert pixels.dtype == np.uint8
    assert pixels.min() > 245


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a.png")

    assert read_photo(tmp_path / "a.png").min() == 255


def test_broken_exif_does_not_matter(tmp_path: Path) -> None:
    Image.fromarray(counter_frame(9)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff junk")

    assert read_photo(tmp_path / "a.jpg").shape == (240, 320, 3)


def test_a_video_is_no_photo(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError) as caught:
        read_photo(make_video(tmp_path / "a.jpg", count=2, container="mp4"))

    assert caught.value.code is ErrorCode.UNSUPPORTED_TYPE
