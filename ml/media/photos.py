"""Photos: facts about them and their pixels, through Pillow. JPEG, PNG, WebP and HEIC, told apart by content."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from ml.contracts import AnalysisError, ErrorCode, MediaInfo, MediaKind
from ml.media.container import check_regular_file
from ml.media.files import open_file

# Checked on the header, before anything is decoded. Pillow's own limit, at which it only warns, is a little higher.
MAX_PIXELS = 80_000_000

EXIF_ORIENTATION = 0x0112
# EXIF orientation → (what turns the picture upright, the same in degrees clockwise without the mirroring).
UPRIGHT: dict[int, tuple[Image.Transpose, int]] = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT, 0),
    3: (Image.Transpose.ROTATE_180, 180),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, 180),
    5: (Image.Transpose.TRANSPOSE, 90),
    6: (Image.Transpose.ROTATE_270, 90),
    7: (Image.Transpose.TRANSVERSE, 270),
    8: (Image.Transpose.ROTATE_90, 270),
}

# ITU-T T.81, table K.1, row by row.
ANNEX_K_LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)

_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"mif1"}
_UNSUPPORTED_BRANDS = {b"avif", b"avis", b"msf1", b"hevc", b"hevx"}
# What Pillow and libheif raise on broken files.
PILLOW_ERRORS = (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error, EOFError, RuntimeError)

pillow_heif.register_heif_opener()


def picture_format(path: Path) -> str | None:
    """Pillow's name of the photo format that the file's first bytes announce; None if it is no picture.

    Raises AnalysisError: UNSUPPORTED_TYPE for the picture formats that are not taken (GIF, AVIF, TIFF, BMP, image
    sequences), FILE_MISSING, UNREADABLE_MEDIA for an empty file or something that is no file.
    """
    check_regular_file(path)
    try:
        with open_file(path) as stream:
            head = stream.read(16)
    except OSError as error:
        raise AnalysisError(ErrorCode.UNREADABLE_MEDIA, str(error)) from error
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand in _HEIC_BRANDS:
        return "HEIF"
    if brand in _UNSUPPORTED_BRANDS or head.startswith((b"GIF8", b"BM", b"II*\0", b"MM\0*")):
        raise AnalysisError(ErrorCode.UNSUPPORTED_TYPE, f"picture format not taken: {head[:12]!r}")
    return None


@contextmanager
def opened_photo(path: Path, file_format: str) -> Iterator[Image.Image]:
    """The picture with its header read and its size checked, not decoded."""
    # A phone's JPEG with a second picture inside (depth, gain map) is MPO to Pillow; the first one is the photo.
    formats = ("JPEG", "MPO") if file_format == "JPEG" else (file_format,)
    try:
        with open_file(path) as stream, Image.open(stream, formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise AnalysisError(ErrorCode.UNREADABLE_MEDIA, f"too many pixels: {image.width}x{image.height}")
            # Of an animation one frame would be judged and the others pass unseen.
            if image.format in {"PNG", "WEBP"} and getattr(image, "is_animated", False):
                raise AnalysisError(ErrorCode.UNSUPPORTED_TYPE, f"animated {image.format}")
            yield image
    except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
        raise AnalysisError(ErrorCode.UNREADABLE_MEDIA, str(error)) from error


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(EXIF_ORIENTATION, 1)
    except PILLOW_ERRORS:
        # Unreadable EXIF says nothing about the picture, which viewers show as stored.
        return 1
    return value if isinstance(value, int) and value in UPRIGHT else 1


def probe_photo(path: Path, file_format: str) -> MediaInfo:
    """Facts about a photo of a format from :func:`picture_format`. Decodes it whole: headers can promise anything.

    Raises AnalysisError: UNREADABLE_MEDIA if it is damaged, cut off or larger than MAX_PIXELS; UNSUPPORTED_TYPE if
    it is animated.
    """
    with opened_photo(path, file_format) as image:
        rotation = UPRIGHT.get(_orientation(image), (None, 0))[1]
        image.load()
        width, height = image.size
        if rotation in {90, 270}:
            width, height = height, width
        name = "heic" if file_format == "HEIF" else file_format.lower()
        quality = jpeg_quality(image.quantization) if isinstance(image, JpegImageFile) else 0
        return MediaInfo(
            MediaKind.IMAGE,
            container=name,
            codec=name,
            width=width,
            height=height,
            rotation=rotation,
            jpeg_quality=quality,
        )


def jpeg_quality(tables: Mapping[int, Sequence[int]]) -> int:
    """The quality from 1 to 100 at which libjpeg's luminance table is as coarse as the given one; 0 without a table.

    Exact for files that libjpeg wrote, and comparable for others, whose tables differ in their proportions.
    """
    coarseness = sum(tables.get(0, ()))
    if not coarseness:
        return 0
    return min(range(1, 101), key=lambda quality: abs(_libjpeg_coarseness(quality) - coarseness))


@cache
def _libjpeg_coarseness(quality: int) -> int:
    """Sum of the luminance table that libjpeg derives from Annex K of the JPEG standard."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return sum(min(max((value * scale + 50) // 100, 1), 255) for value in ANNEX_K_LUMINANCE)


def read_photo(path: Path) -> NDArray[np.uint8]:
    """The upright photo as RGB (height, width, 3). Raises AnalysisError as :func:`probe_photo` does.

    Transparency is laid on white; colour profiles are not applied.
    """
    file_format = picture_format(path)
    if file_format is None:
        raise AnalysisError(ErrorCode.UNSUPPORTED_TYPE, "not a photo")
    with opened_photo(path, file_format) as image:
        orientation = _orientation(image)
        upright = _to_rgb(image)
        if orientation in UPRIGHT:
            upright = upright.transpose(UPRIGHT[orientation][0])
        return np.asarray(upright, dtype=np.uint8)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        # Sixteen bits of grey: Pillow's own conversion clips to 255 instead of scaling.
        grey = np.asarray(image, dtype=np.uint32) >> 8
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")
