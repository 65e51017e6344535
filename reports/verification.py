"""Checking an evidence package with nothing but the package: no database, no network, and no trust in what is in it.

Whatever a package says of itself is believed only after its signature: until then its bytes are those of a stranger.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from cryptography import x509

from media_analysis import custody
from reports import package, seal
from reports.package import ANALYSIS, CERTIFICATE, CHECKSUMS, CUSTODY, MANIFEST, SCORES, SIGNATURE

# Far beyond every package; a list of contents that is longer is an attack.
MOST_MEMBERS = 20_000
# What is read whole, lists and reports, may have so many bytes. The original is read in pieces.
MOST_BYTES_READ = 64 << 20
LOCAL_HEADER = 30
MOST_NESTED = 50
_STRINGS, _BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL), re.compile(rb"[\[\]{}]")
PIECE_BYTES = 1 << 20


class NotAPackage(Exception):
    """The file is no package, or not one that may safely be opened. The text says why, in English."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked. ``what`` names it, ``text`` says what was found."""

    what: str
    holds: bool
    text: str


@dataclass(slots=True)
class Verified:
    """``fingerprint`` is that of the certificate in the package. ``numbers`` is analysis.json, None if unreadable."""

    findings: list[Finding] = field(default_factory=list)
    fingerprint: str = ""
    original: str = ""
    numbers: dict[str, Any] | None = None

    @property
    def holds(self) -> bool:
        return all(finding.holds for finding in self.findings)


class Contents:
    """An opened package that is safe to read: plain members with plain names, none larger than the file itself."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, UnicodeDecodeError) as error:
            raise NotAPackage(f"it is no ZIP file, or a damaged one ({error})") from error
        self._infos = self._zip.infolist()
        self.names = [info.filename for info in self._infos]
        _require_safe(self._infos, file.seek(0, 2))
        self._by_name = dict(zip(self.names, self._infos, strict=True))

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def size(self, name: str) -> int:
        return self._by_name[name].file_size

    def open(self, name: str) -> BinaryIO:
        """Raises NotAPackage where the member's own header says otherwise than the list of contents."""
        try:
            opened: Any = self._zip.open(self._by_name[name])
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, ValueError, KeyError) as error:
            raise NotAPackage(f"{name} cannot be read ({error})") from error
        return opened  # type: ignore[no-any-return]

    def pieces(self, name: str) -> Iterator[bytes]:
        with self.open(name) as member:
            while True:
                try:
                    piece = member.read(PIECE_BYTES)
                except (zipfile.BadZipFile, EOFError, OSError) as error:
                    raise NotAPackage(f"{name} is damaged ({error})") from error
                if not piece:
                    return
                yield piece

    def read(self, name: str) -> bytes:
        if self.size(name) > MOST_BYTES_READ:
            raise NotAPackage(f"{name} is too large to be what it is called")
        return b"".join(self.pieces(name))

    def sha256(self, name: str) -> str:
        digest = hashlib.sha256()
        for piece in self.pieces(name):
            digest.update(piece)
        return digest.hexdigest()

    def is_written_as_ours(self, made_at: datetime) -> bool:
        """Whether the same members, written by this software, give the very same bytes: so nothing else is in it."""
        with tempfile.TemporaryFile() as again:
            with package.Writer(again, made_at) as writer:
                for name in self.names:
                    try:
                        with self.open(name) as member:
                            writer.add(name, member, self.size(name))
                    except (zipfile.BadZipFile, EOFError) as error:
                        raise NotAPackage(f"{name} is damaged ({error})") from error
            again.seek(0)
            self._file.seek(0)
            while piece := again.read(PIECE_BYTES):
                if piece != self._file.read(len(piece)):
                    return False
            return not self._file.read(1)


def verify(path: Path, *, trusted: bytes | None = None) -> Verified:
    """Check a package. ``trusted``: the certificates (PEM), one of whose keys must have signed it.

    Raises :class:`NotAPackage` where there is nothing to check, and OSError. Whatever else is wrong is a finding.
    """
    with path.open("rb") as file:
        contents = Contents(file)
        found = Verified()
        for needed in (MANIFEST, SIGNATURE, CERTIFICATE, ANALYSIS, SCORES, CUSTODY, CHECKSUMS):
            if needed not in contents:
                raise NotAPackage(f"{needed} is missing")
        certificate = _check_certificate(contents, found, trusted)
        manifest_bytes = contents.read(MANIFEST)
        _check_signature(contents, found, manifest_bytes, certificate)
        manifest = _read_json(found, "manifest", manifest_bytes)
        if manifest is None:
            return found
        for check in (_check_form, _check_members, _check_reports, _check_custody, _check_numbers):
            _guarded(check, contents, manifest, found)
        return found


def copy_original(path: Path, name: str, target: BinaryIO) -> None:
    """Write the original out of a package that was verified."""
    with path.open("rb") as file:
        for piece in Contents(file).pieces(name):
            target.write(piece)


def _require_safe(infos: list[zipfile.ZipInfo], size: int) -> None:
    if len(infos) > MOST_MEMBERS:
        raise NotAPackage(f"it lists {len(infos)} members")
    seen: set[str] = set()
    declared = 0
    for info in infos:
        name = info.filename
        if not _is_plain(name) or name != info.orig_filename:
            raise NotAPackage(f"a member is called {name!r}, which is no name that a package has")
        if name.casefold() in seen:
            raise NotAPackage(f"{name} is in it twice")
        seen.add(name.casefold())
        if info.flag_bits & 0x1:
            raise NotAPackage(f"{name} is encrypted")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise NotAPackage(f"{name} is compressed, which packages never are")
        if info.is_dir() or (info.external_attr >> 16) & 0o170000 not in {0, 0o100000}:
            raise NotAPackage(f"{name} is no ordinary file")
        declared += info.file_size + LOCAL_HEADER + len(name)
    if declared > size:
        raise NotAPackage(f"its members claim {declared} bytes, and it has {size}")


def _is_plain(name: str) -> bool:
    """Letters, digits and a few signs, in one folder at most: nothing that could lead out of the folder unpacked to."""
    parts = name.split("/")
    return len(parts) <= 2 and all(
        part and part.isascii() and part.strip(".") and not set(part) - _PLAIN for part in parts
    )


_PLAIN = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")

WRONG_SHAPES = (
    *(KeyError, TypeError, ValueError, AttributeError, OverflowError),
    package.PackageError,
)
Check = Callable[[Contents, dict[str, Any], Verified], None]


def _guarded(check: Check, contents: Contents, manifest: dict[str, Any], found: Verified) -> None:
    """What a stranger wrote may have any shape: where a check cannot make sense of it, that is what it found."""
    what = check.__name__.removeprefix("_check_")
    try:
        check(contents, manifest, found)
    except NotAPackage as error:
        found.findings.append(Finding(what, holds=False, text=str(error)))
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RecursionError,
        package.PackageError,
    ) as error:
        found.findings.append(Finding(what, holds=False, text=f"it is not as packages are ({error!r:.200})"))


def _check_certificate(contents: Contents, found: Verified, trusted: bytes | None) -> x509.Certificate | None:
    try:
        certificate = x509.load_pem_x509_certificate(contents.read(CERTIFICATE))
    except ValueError as error:
        found.findings.append(Finding("certificate", holds=False, text=f"it cannot be read ({error})"))
        return None
    found.fingerprint = seal.fingerprint_of(certificate)
    if trusted is None:
        text = f"nobody said which key to trust: compare its fingerprint with the site's: {found.fingerprint}"
        found.findings.append(Finding("certificate", holds=True, text=text))
        return certificate
    try:
        wanted = {seal.fingerprint_of(each) for each in x509.load_pem_x509_certificates(trusted)}
    except ValueError as error:
        raise NotAPackage(f"the certificate to trust cannot be read ({error})") from error
    same = found.fingerprint in wanted
    text = "it is the one to trust" if same else f"it is another than the one to trust: {found.fingerprint}"
    found.findings.append(Finding("certificate", holds=same, text=text))
    return certificate


def _check_signature(
    contents: Contents, found: Verified, manifest: bytes, certificate: x509.Certificate | None
) -> None:
    trusted = [seal.fingerprint_of(certificate)] if certificate else []
    checked = seal.check_detached(manifest, contents.read(SIGNATURE), trusted)
    texts = {
        seal.State.INTACT: "it fits the manifest and the certificate",
        seal.State.CHANGED: "manifest or signature were changed",
        seal.State.OTHER_KEY: f"it was made with another key than the certificate's: {checked.fingerprint}",
    }
    text = texts.get(checked.state, f"it is no signature ({checked.state})")
    if checked.timestamp is not None:
        text += f"; time stamp of {checked.timestamp.isoformat()} by {checked.authority}"
    found.findings.append(Finding("signature", checked.state is seal.State.INTACT, text))


def _check_form(contents: Contents, manifest: dict[str, Any], found: Verified) -> None:
    """That there is nothing in the file but its members: no bytes before, between or behind them."""
    if manifest["schema"] != package.SCHEMA:
        raise NotAPackage(f"it has form {manifest['schema']!r:.20}, and this software knows form {package.SCHEMA}")
    same = contents.is_written_as_ours(datetime.fromisoformat(manifest["made_at"]))
    text = "nothing in the file but its members" if same else "bytes outside of the members were changed or added"
    found.findings.append(Finding("form", same, text))


def _check_members(contents: Contents, manifest: dict[str, Any], found: Verified) -> None:
    listed = {member["name"]: member for member in manifest["members"]}
    unlisted = [name for name in contents.names if name not in listed and name not in {MANIFEST, SIGNATURE}]
    problems = [f"{name} is not in the manifest" for name in unlisted]
    for name, member in listed.items():
        if name not in contents:
            problems.append(f"{name} is missing")
        elif contents.size(name) != member["size"]:
            problems.append(f"{name} has {contents.size(name)} bytes and not {member['size']}")
        else:
            try:
                digest = contents.sha256(name)
            except NotAPackage as error:
                problems.append(str(error))
                continue
            if digest != member["sha256"]:
                problems.append(f"{name} was changed")
    if len(listed) != len(manifest["members"]):
        problems.append("the manifest names a member twice")
    sums = [member for member in manifest["members"] if member["name"] != CHECKSUMS]
    if contents.read(CHECKSUMS) != package.checksums(sums):
        problems.append(f"{CHECKSUMS} says otherwise than the manifest")
    text = "; ".join(problems) or f"all {len(listed)} are as the manifest says, and there are no others"
    found.findings.append(Finding("members", not problems, text))


def _check_reports(contents: Contents, manifest: dict[str, Any], found: Verified) -> None:
    problems, signed, unsigned = [], [], []
    for name, told in manifest["reports"].items():
        state = seal.check_pdf(contents.read(name), [told["signed_by"]]).state
        if state is seal.State.UNSIGNED and not told["signed_by"]:
            unsigned.append(name)
        elif state is seal.State.INTACT:
            signed.append(name)
        else:
            problems.append(f"{name}: its own signature is {state}")
    if not manifest["reports"]:
        problems.append("there is none")
    said = [f"the signatures of {', '.join(signed)} hold"] if signed else []
    said += [f"{', '.join(unsigned)} never had a signature of its own"] if unsigned else []
    found.findings.append(Finding("reports", not problems, "; ".join(problems or said)))


def _check_custody(contents: Contents, manifest: dict[str, Any], found: Verified) -> None:
    described = _load(contents.read(CUSTODY))
    events = package.read_custody(described)
    problems = [f"event {fault.number}: {fault.fault}" for fault in custody.check(events)]
    told = manifest["custody"]
    if described["media"] != manifest["media"]:
        problems.append("it is the log of another file")
    if len(events) != told["events"] or not events or events[-1].digest != told["last_digest"]:
        problems.append("it ends otherwise than the manifest says")
    members = {member["name"]: member["sha256"] for member in manifest["members"]}
    hashed = [event.details.get("sha256") for event in events if event.event == custody.Event.HASHED]
    if set(hashed) - {members[manifest["original"]]}:
        problems.append("it speaks of a file with another SHA-256")
    text = "; ".join(problems) or f"a whole chain of {len(events)} events"
    found.findings.append(Finding("custody", not problems, text))


def _check_numbers(contents: Contents, manifest: dict[str, Any], found: Verified) -> None:
    """That the lists agree with each other and with the file: each could be right by itself and not belong here."""
    numbers = _load(contents.read(ANALYSIS))
    members = {member["name"]: member for member in manifest["members"]}
    original = members[manifest["original"]]
    problems = []
    if contents.read(SCORES) != package.scores_csv(numbers["result"]):
        problems.append(f"{SCORES} says otherwise than {ANALYSIS}")
    if (numbers["media"]["sha256"], numbers["media"]["size"]) != (original["sha256"], original["size"]):
        problems.append("they are of another file")
    if (numbers["analysis"]["id"], numbers["media"]["id"]) != (manifest["analysis"], manifest["media"]):
        problems.append("they are of another analysis")
    if manifest["reproduce"] != package.describe_method(numbers):
        problems.append("the manifest names another detector or other settings")
    if any(numbers["analysis"][name] != numbers["result"][name] for name in ("outcome", "fake_probability")):
        problems.append("the verdict is not the one that was found")
    found.original, found.numbers = manifest["original"], numbers
    faces = sum(len(track["faces"]) for track in numbers["result"]["tracks"])
    text = "; ".join(problems) or f"{ANALYSIS}, {SCORES} and manifest agree on {faces} scores and belong to the file"
    found.findings.append(Finding("numbers", not problems, text))


def _load(content: bytes) -> Any:
    """Raises ValueError for what is no JSON, or nested so deeply that reading it would not end well."""
    depth = 0
    for sign in _BRACKETS.findall(_STRINGS.sub(b"", content)):
        depth += 1 if sign in b"[{" else -1
        if depth > MOST_NESTED:
            raise ValueError(f"more than {MOST_NESTED} brackets inside each other")
    return json.loads(content)


def _read_json(found: Verified, what: str, content: bytes) -> dict[str, Any] | None:
    try:
        value = _load(content)
    except ValueError as error:
        found.findings.append(Finding(what, holds=False, text=f"it is no JSON ({error})"))
        return None
    if not isinstance(value, dict):
        found.findings.append(Finding(what, holds=False, text="it is not as packages are"))
        return None
    return value
