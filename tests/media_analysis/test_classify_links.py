"""Links on the command line: fetched and refused as on the site. None of these tests may touch a database."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest
from django.conf import settings as site_settings

from accounts.errors import Code, text_of
from media_analysis.links import BAD_LINK
from media_analysis.video_sites import version
from media_analysis.wording import LINK_PROBLEMS
from tests.media_analysis.test_commands import classify
from tests.media_factory import make_face_image, make_video
from tests.video_site import VideoSite

pytestmark = pytest.mark.usefixtures("detector")


def left_over() -> list[Path]:
    return list(Path(site_settings.FILE_UPLOAD_TEMP_DIR).iterdir())


def test_a_link_is_judged_as_its_file_is_and_says_where_it_comes_from(site: VideoSite, tmp_path: Path) -> None:
    face = make_face_image(tmp_path / "face.jpg")
    site.files["/a/face.jpg"] = content = face.read_bytes()
    url = f"{site.file_url}/a/face.jpg?utm_source=x"
    printed, code = classify("--json", url, str(face))
    linked, given = json.loads(printed)
    assert code == 0
    assert linked.pop("file") == url
    assert given.pop("file") == str(face)
    link = linked.pop("link")
    assert given.pop("link") is None
    del linked["seconds"], given["seconds"]
    assert linked == given
    assert len(linked["tracks"]) == 1
    assert (link["url"], link["site"], link["server_address"]) == (url, "127.0.0.2", "127.0.0.2")
    assert (link["name"], link["size"], link["sha256"]) == (
        "face.jpg",
        len(content),
        hashlib.sha256(content).hexdigest(),
    )
    assert link["headers"]["last-modified"] == "Fri, 20 Nov 2026 04:45:00 GMT"
    assert link["fetched_at"].startswith("20")
    assert (link["problem"], link["cut_start"]) == ("", None)
    assert not left_over()


def test_text_and_csv_tell_the_origin_shortly(site: VideoSite, tmp_path: Path, photo: Path) -> None:
    site.files["/photo.jpg"] = photo.read_bytes()
    url, digest = f"{site.file_url}/photo.jpg", hashlib.sha256(photo.read_bytes()).hexdigest()
    printed, code = classify(url, str(photo), f"{site.file_url}/gone", "--csv", str(tmp_path / "out.csv"))
    assert code == 1
    # Each begins with what was given; what is said of it is indented.
    said: dict[str, str] = {}
    for line in printed.splitlines():
        if line and not line.startswith(" "):
            given = line
        said[given] = said.get(given, "") + line
    assert f"SHA-256 {digest}." in said[url]
    assert "Origin" not in said[str(photo)]
    refused = f"Could not be examined (link_unreachable). {LINK_PROBLEMS['not_found']}"
    assert said[f"{site.file_url}/gone"].endswith(refused)
    rows = list(csv.reader((tmp_path / "out.csv").open()))
    assert rows[0] == ["filename", "label", "canonical_url", "fetched_at", "sha256"]
    assert [row[0] for row in rows[1:]] == [url, "photo.jpg", f"{site.file_url}/gone"]
    assert [row[4] for row in rows[1:]] == [digest, "", ""]


def test_what_the_site_would_refuse_is_refused_with_code_and_text_and_the_others_go_on(
    site: VideoSite, photo: Path, tmp_path: Path
) -> None:
    site.files |= {"/face.jpg": photo.read_bytes(), "/text.mp4": b"no video"}
    long = make_video(tmp_path / "long.mp4", seconds=62, fps=5, size=(64, 48))
    site.files["/long.mp4"] = long.read_bytes()
    refusals = {
        "/missing.mp4": ("link_unreachable", "not_found", LINK_PROBLEMS["not_found"]),
        "/private": ("link_not_supported", "refused", LINK_PROBLEMS["refused"]),
        "/article": ("link_not_supported", "no_media", LINK_PROBLEMS["no_media"]),
        "/huge.mp4": ("file_too_large", "", text_of(Code.FILE_TOO_LARGE)),
        "/text.mp4": ("unreadable_media", "", text_of(Code.UNREADABLE_MEDIA)),
        "/long.mp4": ("video_too_long", "", text_of(Code.VIDEO_TOO_LONG)),
        # Inside our network, by a redirect: like a host that is not there.
        "/to?url=http://169.254.169.254/latest/": ("link_unreachable", "unreachable", LINK_PROBLEMS["unreachable"]),
    }
    urls = [f"{site.file_url}{path}" for path in refusals]
    printed, code = classify("--json", *urls, f"{site.file_url}/face.jpg")
    *refused, fine = json.loads(printed)
    assert code == 1
    assert (fine["outcome"], fine["reason"]) == ("NOT_ASSESSABLE", "no_face")
    found = {answer["file"]: (answer["reason"], answer["link"]["problem"]) for answer in refused}
    assert found == {url: expected[:2] for url, expected in zip(urls, refusals.values(), strict=True)}
    told, _ = classify(*urls)
    for reason, _problem, text in refusals.values():
        assert f"({reason}). {text}" in told
    assert not left_over()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/clip.mp4",
        "http://2130706433/",
        "HTTP://localhost:8000/",
        "https://169.254.169.254/latest/meta-data/",
        "http://[::ffff:127.0.0.1]/",
        "http://user:password@videos.example/",
        "http://videos.example:6379/",
    ],
)
def test_no_link_leads_into_our_network(url: str, site: VideoSite) -> None:
    printed, code = classify("--json", url)
    (answer,) = json.loads(printed)
    assert (code, answer["reason"], answer["link"]["url"]) == (1, "link_not_supported", url)
    assert str(BAD_LINK) in classify(url)[0]
    assert not site.asked


def test_a_part_of_a_link_is_judged(site: VideoSite, tmp_path: Path) -> None:
    long = make_video(tmp_path / "long.mp4", seconds=6, fps=10, size=(64, 48), options={"g": "20"})
    site.files["/long.mp4"] = long.read_bytes()
    printed, code = classify("--json", f"{site.file_url}/long.mp4", "--from", "0:04", "--to", "5")
    (answer,) = json.loads(printed)
    link = answer["link"]
    assert (code, link["cut_start"], link["cut_end"]) == (0, 4.0, 5.0)
    assert (link["cut_from"], link["cut_to"]) == (pytest.approx(4.0), pytest.approx(5.0, abs=0.5))
    assert link["whole_sha256"] == hashlib.sha256(long.read_bytes()).hexdigest() != link["sha256"]
    told, _ = classify(f"{site.file_url}/long.mp4", "--from", "0:04", "--to", "5")
    assert f"part judged 4.0 to {link['cut_to']:.1f} s;" in told
    printed, code = classify("--json", f"{site.file_url}/long.mp4", "--from", "20", "--to", "30")
    (answer,) = json.loads(printed)
    assert (code, answer["reason"], answer["link"]["problem"]) == (1, "invalid_field", "outside_cut")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--from", "1x", "--to", "5"], "--from: Enter a time such as 1:30."),
        (["--from", "5"], "--to: Say where the part ends."),
        (["--from", "9", "--to", "5"], "--to: The end has to come after the start."),
        (["--to", "2:00"], "--to: The part may be 60 seconds long at most."),
    ],
)
def test_an_impossible_part_is_said_before_anything_is_fetched(
    site: VideoSite, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert classify(f"{site.file_url}/clip.mp4", *arguments) == ("", 2)
    assert told in capsys.readouterr().err
    assert not site.asked


def test_files_have_no_parts(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert classify(str(clip), "--from", "0", "--to", "1") == ("", 2)
    assert "for links" in capsys.readouterr().err


@pytest.mark.slow
def test_a_page_of_a_site_is_fetched_with_what_it_says(site: VideoSite, clip: Path) -> None:
    page = site.add_page("abc", "/clip.mp4", duration="PT1S")
    printed, code = classify("--json", page, site.add_page("long", "/clip.mp4", duration="PT12M30S"))
    found, long = json.loads(printed)
    link = found["link"]
    assert (code, found["outcome"]) == (1, "NOT_ASSESSABLE")
    assert (link["title"], link["uploader"], link["uploaded"]) == (
        "Minister sings",
        "Village News",
        "2026-11-20T04:45:00Z",
    )
    assert (link["canonical_url"], link["fetched_with"]) == (page, version())
    assert link["sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    # Known before anything of it was fetched.
    assert (long["reason"], long["link"]["duration"], long["link"]["title"]) == (
        "video_too_long",
        750.0,
        "Minister sings",
    )
    told, _ = classify(page)
    assert f"Origin: lasting link {page}; title Minister sings; uploaded by Village News; uploaded 2026-11-20" in told
    assert not left_over()
