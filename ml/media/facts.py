"""What a file says about where it comes from: encoder, times, camera, software, place or not.

Anyone can write or remove these, and most sites remove them: what is absent means unknown, and what is present is a
claim. Each part is read by itself; one that cannot be read is named in ``problems`` and costs nothing else.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
from PIL import ExifTags, Image

from ml.contracts import AnalysisError, FactsPart, FileFacts, MediaInfo, MediaKind
from ml.media.container import open_container, packets_of, video_stream
from ml.media.photos import PILLOW_ERRORS, opened_photo, picture_format

# Texts are cut: a file may hold megabytes of them.
_LONGEST, _MOST = 200, 12
# So much of the first packet is searched for an encoder's signature.
_HEAD_BYTES = 64 * 1024
# Encoders write their name into the stream itself, where rewriting the container does not remove it.
_IN_STREAM = re.compile(rb"(x264 - core \d+(?: r\d+)?|x265 \(build \d+\)|Lavc\d[\d.]* \S+)")
# Names that stand in metadata of edited, generated or passed-on files → the name to show. What no entry knows is
# shown as a tag all the same.
_SOFTWARE = {
    r"adobe photoshop|photoshop": "Adobe Photoshop",
    r"lightroom": "Adobe Lightroom",
    r"adobe premiere": "Adobe Premiere",
    r"after effects": "Adobe After Effects",
    r"adobe firefly|firefly": "Adobe Firefly",
    r"\bgimp\b": "GIMP",
    r"final cut": "Final Cut Pro",
    r"\bimovie\b": "iMovie",
    r"davinci|blackmagic": "DaVinci Resolve",
    r"capcut|jianying|lemonvideo": "CapCut",
    r"kinemaster": "KineMaster",
    r"\binshot\b": "InShot",
    r"\bpicsart\b": "Picsart",
    r"\bcanva\b": "Canva",
    r"faceapp": "FaceApp",
    r"reface": "Reface",
    r"snapseed": "Snapseed",
    r"handbrake": "HandBrake",
    r"\blavf|\blavc|ffmpeg": "FFmpeg",
    r"x264": "x264",
    r"x265": "x265",
    r"stable diffusion|sd-metadata|comfyui|automatic1111|invokeai": "Stable Diffusion",
    r"midjourney": "Midjourney",
    r"dall.?e|openai": "OpenAI",
    r"\bsora\b": "Sora",
    r"\bveo\b|google ai|imagen": "Google AI",
}
# Text blocks that picture generators write into PNG files, by their keys.
_GENERATOR_KEYS = {"parameters", "prompt", "workflow", "sd-metadata", "dream", "invokeai_metadata"}
_LOCATION_KEYS = {"location", "location-eng", "com.apple.quicktime.location.iso6709"}
_ENCODER_KEYS = ("encoder", "encoded_by", "writing_application", "handler_name", "vendor_id")
_SOFTWARE_KEYS = ("software", "com.apple.quicktime.software", "comment", "description", "artist", "copyright", "title")
_MAKE_KEYS = ("make", "com.apple.quicktime.make", "com.android.manufacturer")
_MODEL_KEYS = ("model", "com.apple.quicktime.model", "com.android.model")
_TIME_KEYS = ("com.apple.quicktime.creationdate", "creation_time", "date")
_XMP_TOOL = re.compile(r"(?:CreatorTool|softwareAgent)(?:>|=\")([^<\"]{1,200})")


def read_facts(path: Path, info: MediaInfo) -> FileFacts:
    """Facts about a file that :func:`ml.media.probe.probe` has read, its Content Credentials left out. Never raises."""
    problems: list[FactsPart] = []
    tags: dict[str, str] = {}
    with _part(FactsPart.METADATA, problems):
        tags = _photo_tags(path) if info.kind is MediaKind.IMAGE else _video_tags(path)
    texts = [*tags.values(), *(key for key in tags if key in _GENERATOR_KEYS)]
    software = [name for pattern, name in _SOFTWARE.items() if re.search(pattern, "\n".join(texts), re.IGNORECASE)]
    if _GENERATOR_KEYS & tags.keys() and "Stable Diffusion" not in software:
        software.append("Stable Diffusion")
    return FileFacts(
        encoders=_several(tags, ("in_stream", *_ENCODER_KEYS)),
        created=_first(tags, _TIME_KEYS),
        has_location=any(key in tags for key in _LOCATION_KEYS),
        camera=" ".join(filter(None, (_first(tags, _MAKE_KEYS), _first(tags, _MODEL_KEYS)))),
        software_tags=_several(tags, ("xmp_tool", *_SOFTWARE_KEYS)),
        known_software=tuple(software),
        problems=tuple(problems),
    )


@contextlib.contextmanager
def _part(part: FactsPart, problems: list[FactsPart]) -> Iterator[None]:
    try:
        yield
    except (AnalysisError, av.FFmpegError, *PILLOW_ERRORS, Image.DecompressionBombError, LookupError):
        problems.append(part)


def _video_tags(path: Path) -> dict[str, str]:
    """Metadata of the container and of its picture stream, keys in lower case."""
    with open_container(path) as container:
        stream = video_stream(container)
        tags = _clean(container.metadata) | _clean(stream.metadata)
        # An edit list or a broken start must not hide what the header says.
        with contextlib.suppress(av.FFmpegError, StopIteration):
            head = bytes(next(packets_of(container, stream)))[:_HEAD_BYTES] + (stream.codec_context.extradata or b"")
            found = _IN_STREAM.search(head)
            if found:
                tags["in_stream"] = _text(found.group(1).decode("latin-1"))
    return tags


def _photo_tags(path: Path) -> dict[str, str]:
    """EXIF, XMP and text blocks of a photo under the names that videos have."""
    file_format = picture_format(path)
    if file_format is None:
        return {}
    with opened_photo(path, file_format) as image:
        exif = image.getexif()
        inner = exif.get_ifd(ExifTags.IFD.Exif)
        tags = _clean({str(key): value for key, value in image.info.items() if isinstance(value, str)})
        tags |= _clean(
            {
                "make": exif.get(ExifTags.Base.Make),
                "model": exif.get(ExifTags.Base.Model),
                "software": exif.get(ExifTags.Base.Software),
                "artist": exif.get(ExifTags.Base.Artist),
                "comment": inner.get(ExifTags.Base.UserComment),
                "date": inner.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime),
            }
        )
        if exif.get_ifd(ExifTags.IFD.GPSInfo):
            # That there is a place, not which: it may be somebody's home.
            tags["location"] = "yes"
        xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
        tools = _XMP_TOOL.findall(xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else str(xmp))
        if tools:
            tags["xmp_tool"] = _text(", ".join(dict.fromkeys(tools)))
    return tags


def _clean(tags: Mapping[str, Any]) -> dict[str, str]:
    """Keys in lower case, values printable and short, empty ones left out."""
    return {str(key).lower(): text for key, value in tags.items() if (text := _text(value))}


def _text(value: object) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value if value is not None else "")
    return "".join(each for each in text if each.isprintable()).strip()[:_LONGEST]


def _first(tags: Mapping[str, str], keys: tuple[str, ...]) -> str:
    return next((tags[key] for key in keys if key in tags), "")


def _several(tags: Mapping[str, str], keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags[key] for key in keys if key in tags))[:_MOST]
