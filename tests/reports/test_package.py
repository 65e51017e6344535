"""Evidence packages: what is in them, that every change is found without the site, and who gets one."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import random
import shutil
import struct
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.core.signals import request_finished
from django.db import close_old_connections
from django.test import Client

from accounts.errors import Code, SentinelError
from accounts.models import User
from media_analysis import cases, custody
from media_analysis import services as media_services
from media_analysis.models import Analysis, CaseRole, CustodyEvent
from reports import package, seal
from reports.models import IssuedDocument
from reports.package import CERTIFICATE, CHECKSUMS, MANIFEST, SIGNATURE, PackageError, Writer, write_package
from reports.verification import NotAPackage, Verified, verify
from tests.media_analysis.factories import make_analysis
from tests.reports.factories import make_reportable
from tests.reports.sealing import a_pdf, a_sealed_pdf, added_to, key_of_another

BYTES = b"not really a video, and nobody looks"
MADE_AT = datetime(2026, 11, 23, 5, 6, 7, tzinfo=UTC)
Members = dict[str, bytes]


def make_packable(owner: User) -> Analysis:
    """A finished analysis whose stored file is the one that its row speaks of, with the beginning of its log."""
    sha256 = hashlib.sha256(BYTES).hexdigest()
    facts = {"sha256": sha256, "size": len(BYTES), "original_name": "../कांड.mp4"}
    analysis = make_reportable(owner, people=2, faces=3, media=facts, fake_probability=0.934)
    default_storage.delete(str(analysis.media.file))
    default_storage.save(str(analysis.media.file), ContentFile(BYTES))
    media_id = analysis.media.public_id
    with custody.acting_from("192.0.2.7"):
        custody.record(media_id, custody.Event.RECEIVED, actor=owner, size=len(BYTES))
        custody.record(media_id, custody.Event.HASHED, sha256=sha256)
    return analysis


def pack(analysis: Analysis) -> bytes:
    target = io.BytesIO()
    events = list(custody.events_of(analysis.media.public_id))
    write_package(target, analysis, {"en": a_sealed_pdf()}, events, MADE_AT)
    return target.getvalue()


@pytest.fixture
def packed(owner: User) -> bytes:
    return pack(make_packable(owner))


def members_of(content: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def repack(members: Members, change: Callable[[dict[str, Any]], object] = lambda _manifest: None) -> bytes:
    """The members as whoever has the key would pack them: lists and signature are made anew."""
    target = io.BytesIO()
    manifest = json.loads(members[MANIFEST])
    writer = Writer(target, MADE_AT)
    for name, content in members.items():
        if name not in {CHECKSUMS, MANIFEST, SIGNATURE}:
            writer.add_bytes(name, content)
    writer.add_bytes(CHECKSUMS, package.checksums(writer.members))
    manifest["members"] = list(writer.members)
    change(manifest)
    signed = package.to_json(manifest)
    writer.add_bytes(MANIFEST, signed)
    writer.add_bytes(SIGNATURE, seal.sign_detached(signed))
    writer.close()
    return target.getvalue()


def as_they_are(members: Members) -> bytes:
    """The members in a ZIP of our form, whatever they are."""
    target = io.BytesIO()
    writer = Writer(target, MADE_AT)
    for name, content in members.items():
        writer.add_bytes(name, content)
    writer.close()
    return target.getvalue()


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Verified]:
    def checked(content: bytes, **options: Any) -> Verified:
        path = tmp_path / "package.zip"
        path.write_bytes(content)
        return verify(path, **options)

    return checked


@pytest.fixture
def wrong(check: Callable[..., Verified]) -> Callable[..., set[str]]:
    """What is found wrong, by the names of the checks; "package" where it is refused as a whole."""

    def found(content: bytes, **options: Any) -> set[str]:
        try:
            return {finding.what for finding in check(content, **options).findings if not finding.holds}
        except NotAPackage:
            return {"package"}

    return found


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_all_that_belongs_to_a_result_is_in_it(owner: User) -> None:
    analysis = make_packable(owner)
    members = members_of(pack(analysis))
    pictures = {package.PICTURES + stored.rpartition("/")[2] for stored in analysis.evidence}
    assert len(pictures) == 12
    lists = {"analysis.json", "scores.csv", "custody.json", "certificate.pem", "SHA256SUMS", "manifest.json"}
    assert set(members) == {"README.txt", "original.mp4", "report-en.pdf", "manifest.sig"} | lists | pictures
    assert members["original.mp4"] == BYTES
    numbers = json.loads(members["analysis.json"])
    assert numbers["result"] == analysis.result
    assert numbers["media"]["original_name"] == "../कांड.mp4"
    rows = members["scores.csv"].decode().splitlines()
    assert rows[0].startswith("person,frame,time_seconds")
    assert rows[1:2] == ["1,0,0.0,40,60,120,160,0.99,0.934,1"]
    assert len(rows) == 1 + 6
    events = json.loads(members["custody.json"])["events"]
    assert [event["event"] for event in events] == ["received", "hashed"]
    manifest = json.loads(members["manifest.json"])
    assert manifest["reproduce"]["weights_sha256"] == analysis.weights_sha256
    assert "Signs of manipulation found" in members["README.txt"].decode()
    assert "&" not in members["README.txt"].decode()


def test_it_holds(packed: bytes, check: Callable[..., Verified]) -> None:
    found = check(packed, trusted=seal.certificate_pem().encode())
    assert [finding.text for finding in found.findings if not finding.holds] == []
    checks = ["certificate", "signature", "form", "members", "reports", "custody", "numbers"]
    assert [finding.what for finding in found.findings] == checks
    assert found.fingerprint == seal.certificate_fingerprint()


def test_the_same_gives_the_same_bytes(owner: User) -> None:
    analysis = make_packable(owner)
    first, second = pack(analysis), pack(analysis)
    # PDFs that are signed twice differ, and with them the lists.
    differ = {"report-en.pdf", CHECKSUMS, MANIFEST, SIGNATURE}
    ours, again = members_of(first), members_of(second)
    assert list(ours) == list(again)
    assert all(ours[name] == again[name] for name in ours if name not in differ)
    assert as_they_are(ours) == first


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_the_readme_s_commands_check_it(packed: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(packed)) as opened:
        opened.extractall(tmp_path)
        readme = opened.read("README.txt").decode()

    def run(command: str) -> subprocess.CompletedProcess[str]:
        assert command in readme
        return subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True, check=False)

    verify_command = next(line.strip() for line in readme.splitlines() if "openssl cms" in line)
    assert run("sha256sum -c SHA256SUMS").returncode == 0
    checked = run(verify_command)
    assert checked.returncode == 0, checked.stderr
    assert "successful" in checked.stderr
    fingerprint = run("openssl x509 -in certificate.pem -noout -fingerprint -sha256").stdout
    assert fingerprint.strip().rpartition("=")[2].replace(":", "").lower() in readme
    (tmp_path / "manifest.json").write_bytes(flipped((tmp_path / "manifest.json").read_bytes(), 40))
    assert run(verify_command).returncode != 0


def test_a_changed_byte_in_any_member_is_found(packed: bytes, wrong: Callable[..., set[str]]) -> None:
    """Both by somebody who changes the ZIP file, and by one who packs it anew with the right checksums of its own."""
    members = members_of(packed)
    generator = random.Random(5)
    for name, content in members.items():
        place = generator.randrange(len(content))
        assert wrong(as_they_are({**members, name: flipped(content, place)})), f"{name}, byte {place}"
        assert wrong(flipped(packed, packed.index(content) + place)), f"{name}, byte {place} in the file"


def test_a_changed_byte_anywhere_is_found(packed: bytes, wrong: Callable[..., set[str]]) -> None:
    for place in sorted(random.Random(7).sample(range(len(packed)), 40)):
        assert wrong(flipped(packed, place)), f"byte {place} of {len(packed)}"


@pytest.mark.slow
def test_a_changed_byte_in_any_header_or_in_the_signature_is_found(
    packed: bytes, wrong: Callable[..., set[str]]
) -> None:
    """Bytes of the ZIP's own structures and of the signature, one after the other."""
    places: set[int] = set()
    with zipfile.ZipFile(io.BytesIO(packed)) as opened:
        for info in opened.infolist():
            places |= set(range(info.header_offset, info.header_offset + 30 + len(info.filename)))
        places |= set(range(opened.start_dir, len(packed)))
        start = opened.getinfo(SIGNATURE).header_offset + 30 + len(SIGNATURE)
        places |= set(range(start, start + opened.getinfo(SIGNATURE).file_size))
    unnoticed = [place for place in sorted(places)[::4] if not wrong(flipped(packed, place))]
    assert unnoticed == []


def test_what_was_packed_anew_without_the_key_is_found(packed: bytes, wrong: Callable[..., set[str]]) -> None:
    members = members_of(packed)
    own = seal.certificate_pem().encode()
    forged = {**members, "original.mp4": b"another video of the same length!!!!"}
    with key_of_another():
        theirs = repack(forged)
        with_own_certificate = repack({**forged, CERTIFICATE: seal.certificate_pem().encode()})
    assert "signature" in wrong(theirs)
    # It speaks for itself as well as anybody's would: only who knows the right key can tell.
    assert "certificate" in wrong(with_own_certificate, trusted=own)
    assert wrong(packed, trusted=own) == set()
    with key_of_another():
        other = seal.identity().certificate.public_bytes(Encoding.PEM)
    assert wrong(packed, trusted=other) == {"certificate"}
    # A site that changed its key publishes both.
    assert wrong(packed, trusted=other + own) == set()
    assert wrong(packed, trusted=b"nothing") == {"package"}


def test_what_does_not_belong_together_is_found_though_signed(packed: bytes, wrong: Callable[..., set[str]]) -> None:
    members = members_of(packed)
    assert wrong(repack(members)) == set()
    chain = json.loads(members["custody.json"])
    chain["events"][1]["details"]["sha256"] = "0" * 64
    assert wrong(repack({**members, "custody.json": package.to_json(chain)})) == {"custody"}
    shorter = {**chain, "events": chain["events"][:1]}
    assert wrong(repack({**members, "custody.json": package.to_json(shorter)})) == {"custody"}
    address = json.loads(members["custody.json"])
    address["events"][0]["address"] = "192.0.2.8"
    assert wrong(repack({**members, "custody.json": package.to_json(address)})) == {"custody"}
    scores = members["scores.csv"].replace(b"0.934", b"0.134")
    assert wrong(repack({**members, "scores.csv": scores})) == {"numbers"}
    numbers = json.loads(members["analysis.json"])
    numbers["analysis"]["outcome"] = "REAL"
    assert wrong(repack({**members, "analysis.json": package.to_json(numbers)})) == {"numbers"}
    numbers = json.loads(members["analysis.json"])
    numbers["analysis"]["weights_sha256"] = ["0" * 64]
    assert wrong(repack({**members, "analysis.json": package.to_json(numbers)})) == {"numbers"}
    assert wrong(repack({**members, "original.mp4": b"of another"})) == {"numbers", "custody"}
    pdf = members["report-en.pdf"]
    assert wrong(repack({**members, "report-en.pdf": added_to(pdf)})) == {"reports"}
    assert wrong(repack({**members, "report-en.pdf": flipped(pdf, 100)})) == {"reports"}
    with key_of_another():
        theirs = a_sealed_pdf()
    assert wrong(repack({**members, "report-en.pdf": theirs})) == {"reports"}
    assert wrong(repack({**members, "report-en.pdf": a_pdf()})) == {"reports"}


def test_a_report_from_before_there_were_seals_is_said_to_be_one(owner: User, check: Callable[..., Verified]) -> None:
    analysis, target = make_packable(owner), io.BytesIO()
    events = list(custody.events_of(analysis.media.public_id))
    write_package(target, analysis, {"en": a_pdf()}, events, MADE_AT)
    (finding,) = [finding for finding in check(target.getvalue()).findings if finding.what == "reports"]
    assert (finding.holds, finding.text) == (True, "report-en.pdf never had a signature of its own")
    with pytest.raises(PackageError):
        write_package(io.BytesIO(), analysis, {"en": added_to(a_sealed_pdf())}, events, MADE_AT)


def test_manifests_of_any_shape_are_findings_and_no_crash(packed: bytes, wrong: Callable[..., set[str]]) -> None:
    members = members_of(packed)

    def having(**changes: Any) -> bytes:
        return repack(members, lambda manifest: manifest.update(changes))

    shapes: list[dict[str, Any]] = [
        {"members": None},
        {"members": [1]},
        {"members": [{"name": "x", "size": 1, "sha256": "y"}]},
        {"members": []},
        {"reports": {"nothing.pdf": {"signed_by": 1}}},
        {"reports": {}},
        {"custody": 7},
        {"original": "README.txt"},
        {"original": {}},
        {"made_at": "yesterday"},
        {"made_at": "9999-12-31T23:59:59-23:00"},
        {"schema": 2},
        {"reproduce": None},
    ]
    for changes in shapes:
        assert wrong(having(**changes)), changes
    for broken in (b"[" * 100_000, b"{", b"[]", b'{"schema": NaN}', b"\xff"):
        assert wrong(as_they_are({**members, MANIFEST: broken}))
    for name in ("analysis.json", "custody.json"):
        for broken in (b"[]", b"{}", b"7", b'{"media": 1, "events": [[]]}', b"[" * 100_000):
            assert wrong(repack({**members, name: broken})), (name, broken[:30])


def hostile_zips(packed: bytes) -> Iterator[tuple[str, bytes]]:
    members = members_of(packed)
    for name in ("../evil.txt", "/etc/passwd", "a\\b", "C:evil", "pictures/../../x", "a/b/c", "é.txt", "x\0y", ".", ""):
        with_name = io.BytesIO(packed)
        with zipfile.ZipFile(with_name, "a") as opened:
            opened.writestr(zipfile.ZipInfo(name or "./"), b"x")
        yield f"named {name!r}", with_name.getvalue()
    yield "more than the manifest has", as_they_are({**members, "more.txt": b"x"})
    for name in members:
        yield f"without {name}", as_they_are({other: members[other] for other in members if other != name})
    for extra in ("README.txt", "readme.TXT"):
        doubled = io.BytesIO(packed)
        with pytest.MonkeyPatch.context() as patch, zipfile.ZipFile(doubled, "a") as opened:
            patch.setattr("warnings.warn", lambda *_args, **_options: None)
            opened.writestr(zipfile.ZipInfo(extra), b"x")
        yield f"twice {extra}", doubled.getvalue()
    compressed = io.BytesIO()
    with zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name, content + b"\0" * 1_000_000)
    yield "compressed", compressed.getvalue()
    linked = io.BytesIO(packed)
    with zipfile.ZipFile(linked, "a") as opened:
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        opened.writestr(link, b"/etc/passwd")
    yield "a link", linked.getvalue()
    # In the list of contents: flags at 8, sizes at 20 and 24 of each entry.
    first = packed.index(b"PK\x01\x02")
    yield "encrypted", packed[: first + 8] + b"\x01\0" + packed[first + 10 :]
    huge = struct.pack("<II", 0xFFFF0000, 0xFFFF0000)
    yield "claims to be huge", packed[: first + 20] + huge + packed[first + 28 :]
    yield "something before", b"#!/bin/sh\n" + packed
    yield "something behind", packed + b"\0"
    commented = io.BytesIO(packed)
    with zipfile.ZipFile(commented, "a") as opened:
        opened.comment = b"harmless"
    yield "a comment", commented.getvalue()
    yield "cut off", packed[:-30]
    yield "no ZIP", b"PK\x03\x04 and nothing more"
    yield "empty", b""


def test_hostile_zip_files_are_refused(packed: bytes, wrong: Callable[..., set[str]]) -> None:
    passed = [name for name, content in hostile_zips(packed) if not wrong(content)]
    assert passed == []


def run_command(*arguments: Any) -> tuple[int, str]:
    printed = io.StringIO()
    try:
        call_command("verify_package", *map(str, arguments), stdout=printed)
    except SystemExit as ended:
        return int(ended.code or 0), printed.getvalue()
    return 0, printed.getvalue()


def test_the_command_says_in_a_line_each_what_it_found(packed: bytes, tmp_path: Path) -> None:
    path, pem = tmp_path / "package.zip", tmp_path / "site.pem"
    path.write_bytes(packed)
    pem.write_text(seal.certificate_pem())
    code, text = run_command(path)
    assert (code, text.count("ok   "), text.count("?    "), "WRONG" in text) == (0, 6, 1, False)
    assert text.endswith("Everything holds, if that fingerprint is the site's.\n")
    assert seal.certificate_fingerprint() in text
    code, text = run_command(path, "--certificate", pem)
    assert (code, text.count("ok   ")) == (0, 7)
    assert text.endswith("Everything holds.\n")
    code, text = run_command(path, "--json")
    assert json.loads(text)["holds"] is True
    path.write_bytes(flipped(packed, packed.index(BYTES)))
    code, text = run_command(path)
    assert code == 1
    assert "WRONG members: Bad CRC" in text.replace("original.mp4 is damaged (", "")
    assert "This package was changed." in text
    code, text = run_command(path, "--reproduce")
    assert (code, "not examined again" in text) == (1, True)
    path.write_bytes(b"no package")
    assert run_command(path)[0] == 2
    assert run_command(tmp_path / "nothing.zip")[0] == 2


def test_no_name_in_a_package_writes_lines_of_its_own(packed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "package.zip"
    evil = {"name": "x\n\x1b[2JEverything holds.", "size": 1, "sha256": ""}
    path.write_bytes(repack(members_of(packed), lambda manifest: manifest["members"].append(evil)))
    code, text = run_command(path)
    assert code == 1
    assert "Everything holds." not in text.splitlines()
    assert "\x1b" not in text


def test_a_package_too_large_for_the_short_fields_is_one_too(
    owner: User, check: Callable[..., Verified], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if 4 GB were a kilobyte: sizes and places then stand in the longer fields."""
    analysis = make_packable(owner)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    content = pack(analysis)
    assert b"PK\x06\x06" in content
    assert check(content).holds


@pytest.mark.slow
def test_an_examination_without_its_detector_is_not_repeated_and_says_why(packed: bytes, tmp_path: Path) -> None:
    """This result came from no detector: it does not say by what settings."""
    path = tmp_path / "package.zip"
    path.write_bytes(packed)
    code, text = run_command(path, "--reproduce")
    assert code == 3
    assert "cannot be repeated here (not_recorded)" in text


async def all_of(answer: Any) -> bytes:
    return b"".join([piece async for piece in answer.streaming_content])


def received(answer: Any) -> bytes:
    """Everything an answer holds; it is closed as Django's own test client closes one.

    An answer that ends would else close the connection to the database, which a test in a transaction still needs.
    """
    content = asyncio.run(all_of(answer))
    request_finished.disconnect(close_old_connections)
    try:
        answer.close()
    finally:
        request_finished.connect(close_old_connections)
    return content


@pytest.fixture
def _quick_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "_reports", lambda _analysis, language, _site: {language: a_sealed_pdf()})


@pytest.mark.usefixtures("_quick_reports")
def test_it_is_handed_out_and_that_is_in_the_log_that_it_holds(
    owner: User, as_owner: Client, check: Callable[..., Verified], settings: Any
) -> None:
    analysis = make_packable(owner)
    page = as_owner.get(f"/analyses/{analysis.public_id}/").content.decode()
    address = f"/analyses/{analysis.public_id}/package.zip"
    assert f'href="{address}"' in page
    answer: Any = as_owner.get(address)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/zip"
    expected = f'attachment; filename="sentinel-evidence-{analysis.media.public_id}.zip"'
    assert answer["Content-Disposition"] == expected
    assert "no-store" in answer["Cache-Control"]
    content = received(answer)
    assert int(answer["Content-Length"]) == len(content)
    found = check(content, trusted=seal.certificate_pem().encode())
    assert [finding.text for finding in found.findings if not finding.holds] == []
    last = json.loads(members_of(content)["custody.json"])["events"][-1]
    assert (last["event"], last["actor"], last["details"]["what"]) == ("downloaded", owner.public_id, "package")
    assert IssuedDocument.objects.get(kind="package").sha256 == hashlib.sha256(content).hexdigest()
    assert list(settings.FILE_UPLOAD_TEMP_DIR.iterdir()) == []


@pytest.mark.slow
def test_it_holds_the_report_in_two_languages_each_with_a_signature(
    owner: User, check: Callable[..., Verified]
) -> None:
    made = package.make_package(make_packable(owner), "hi", actor=owner, site="http://testserver/")
    with made.file as file:
        content = file.read()
    assert [finding.text for finding in check(content).findings if not finding.holds] == []
    members = members_of(content)
    assert set(json.loads(members[MANIFEST])["reports"]) == {"report-hi.pdf", "report-en.pdf"}
    assert b"http://testserver/check/" in members["README.txt"]


@pytest.mark.usefixtures("_quick_reports")
def test_nobody_else_gets_it(owner: User, as_stranger: Client, as_admin: Client, client: Client) -> None:
    analysis = make_packable(owner)
    page, api = f"/analyses/{analysis.public_id}/package.zip", f"/api/v1/analyses/{analysis.public_id}/package/"
    for other in (as_stranger, as_admin):
        assert other.get(page).status_code == 404
        assert other.get(api).status_code == 404
    assert client.get(page).status_code == 302
    assert client.get(api).status_code == 401
    assert not CustodyEvent.objects.filter(event="downloaded").exists()


@pytest.mark.usefixtures("_quick_reports")
def test_colleagues_of_its_case_get_it_and_are_in_the_log(owner: User, stranger: User, as_stranger: Client) -> None:
    analysis = make_packable(owner)
    case = cases.open_case(owner, "State v. X", {})
    seat = cases.take_seat(owner, case.public_id)
    cases.add_media(seat, [analysis.media.public_id])
    address = f"/analyses/{analysis.public_id}/package.zip"
    assert as_stranger.get(address).status_code == 404
    cases.accept_invitation(stranger, cases.invite(seat, "stranger", CaseRole.VIEWER).public_id)
    members = members_of(received(as_stranger.get(address)))
    last = json.loads(members["custody.json"])["events"][-1]
    assert (last["event"], last["actor"]) == ("downloaded", stranger.public_id)


@pytest.mark.parametrize(("status", "error"), [("running", "not_finished"), ("failed", "no_result")])
def test_without_a_result_there_is_none(owner: User, as_owner: Client, status: str, error: str) -> None:
    analysis = make_analysis(owner, status=status)
    answer = as_owner.get(f"/api/v1/analyses/{analysis.public_id}/package/")
    assert (answer.status_code, answer.json()["error"]) == (409, error)
    assert as_owner.head(f"/api/v1/analyses/{analysis.public_id}/package/").status_code == 405
    assert not CustodyEvent.objects.exists()


@pytest.mark.usefixtures("_quick_reports")
def test_of_a_stored_file_that_was_changed_there_is_none(owner: User, settings: Any) -> None:
    analysis = make_packable(owner)
    stored = str(analysis.media.file)
    for content in (flipped(BYTES, 3), BYTES + b"x", b""):
        default_storage.delete(stored)
        default_storage.save(stored, ContentFile(content))
        with pytest.raises(PackageError):
            package.make_package(analysis, "en", actor=owner)
    default_storage.delete(stored)
    with pytest.raises(PackageError):
        package.make_package(analysis, "en", actor=owner)
    assert list(settings.FILE_UPLOAD_TEMP_DIR.iterdir()) == []
    assert not IssuedDocument.objects.exists()


@pytest.mark.usefixtures("_quick_reports")
def test_of_a_file_deleted_meanwhile_there_is_none(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    analysis = make_packable(owner)
    written = package.write_package

    def delete_first(*arguments: Any, **options: Any) -> None:
        written(*arguments, **options)
        media_services.delete_media(Analysis.objects.get(pk=analysis.pk).media)

    monkeypatch.setattr(package, "write_package", delete_first)
    with pytest.raises(SentinelError) as refused:
        package.make_package(analysis, "en", actor=owner)
    assert refused.value.code is Code.NOT_FOUND


@pytest.mark.usefixtures("_quick_reports")
def test_a_reader_of_another_language_gets_a_readme_in_it(owner: User) -> None:
    made = package.make_package(make_packable(owner), "hi", actor=owner)
    with made.file as file:
        members = members_of(file.read())
    assert "हेरफेर के निशान मिले" in members["README-hi.txt"].decode()
    assert "Signs of manipulation found" in members["README.txt"].decode()
