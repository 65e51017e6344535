"""The seal: whatever is changed in a sealed document is found, and it holds in other tools too."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pypdf
import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509.oid import NameOID
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from reports import seal, timestamps
from reports.checks import check_certificate
from reports.models import Timestamp
from reports.pdf import Engine, Xhtml2Pdf, get_engine
from reports.seal import State
from tests.reports.sealing import (
    REASON,
    a_pdf,
    a_sealed_pdf,
    added_to,
    another_key,
    authority,
    key_of_another,
    took,
)
from tests.reports.test_pdf import page

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def _awake(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test leaves the authority resting for the next."""
    monkeypatch.setattr(timestamps, "_resting_until", 0.0)


def trusted() -> list[str]:
    return [seal.certificate_fingerprint()]


@pytest.mark.parametrize("make_engine", [get_engine, Xhtml2Pdf], ids=["weasyprint", "xhtml2pdf"])
def test_it_holds_and_changes_nothing_that_is_seen(make_engine: Callable[[], Engine]) -> None:
    engine = make_engine()
    plain = engine.render(page(engine, "<p>Some words</p>"), {})
    sealed = seal.sign_pdf(plain, reason=REASON).content
    assert sealed.startswith(plain)
    check = seal.check_pdf(sealed)
    assert (check.state, check.fingerprint) == (State.INTACT, seal.certificate_fingerprint())
    assert check.covered == len(sealed)
    before, after = pypdf.PdfReader(BytesIO(plain)), pypdf.PdfReader(BytesIO(sealed))
    assert [leaf.extract_text() for leaf in after.pages] == [leaf.extract_text() for leaf in before.pages]
    root: Any = after.trailer["/Root"]
    (reference,) = root["/AcroForm"]["/Fields"]
    field = reference.get_object()
    # Beside the page and printed: PDF/UA wants every other field among the tags, and PDF/A none that is hidden.
    assert field["/F"] == 4 | 128
    left, bottom, right, top = map(float, field["/Rect"])
    assert (right - left, top - bottom) == (0, 0)
    assert max(left, bottom) < 0
    assert field["/V"]["/SubFilter"] == "/ETSI.CAdES.detached"
    assert root["/Perms"]["/DocMDP"].get_object()["/Reason"] == REASON
    if engine.name == "weasyprint":
        assert root["/MarkInfo"]["/Marked"]
        assert b"pdfuaid:part" in root["/Metadata"].get_data()
        assert root["/StructTreeRoot"]["/K"] is not None


def test_other_tools_say_so_too(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(seal.certificates_pem())
    (tmp_path / "content").write_bytes(b"content")
    (tmp_path / "signature").write_bytes(seal.sign_detached(b"content"))
    (tmp_path / "sealed.pdf").write_bytes(a_sealed_pdf())
    files = ["-in", "signature", "-content", "content", "-CAfile", "ca.pem"]
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", *files]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "CMS Verification successful" in done.stderr
    if not shutil.which("pdfsig"):
        pytest.skip("pdfsig is not installed")
    told = subprocess.run(["pdfsig", "sealed.pdf"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "Signature Validation: Signature is Valid." in told
    assert "Total document signed" in told


def test_one_changed_byte_anywhere_is_found() -> None:
    """In the header, the body, the signature, the table at the end: all of the signature's own fields, else a part."""
    sealed = a_sealed_pdf()
    known = seal.known_certificates()
    start, end = sealed.index(b"/Contents <") + 11, sealed.rindex(b">") + 1
    signature = range(
        start, start + 2 * len(cms.ContentInfo.load(bytes.fromhex(sealed[start:][:9000].decode())).dump())
    )
    picked = {*range(0, start, 5), *range(end, len(sealed), 7), *signature[:100], *signature[::97], *signature[-20:]}
    picked |= {start - 1, signature[-1] + 1, signature[-1] + 2}
    missed = []
    for position in sorted(picked):
        for bit in (0x01, 0x20):
            changed = bytearray(sealed)
            changed[position] ^= bit
            if seal.check_pdf(bytes(changed), known).state is State.INTACT:
                missed.append((position, bit))
    assert len(picked) > 350
    assert missed == []


def test_one_changed_byte_of_a_detached_signature_or_its_content_is_found() -> None:
    content = b"the manifest"
    signature, known = seal.sign_detached(content), trusted()
    assert seal.check_detached(content, signature, known).state is State.INTACT
    for position in range(0, len(signature), 7):
        changed = bytearray(signature)
        changed[position] ^= 1
        assert seal.check_detached(content, bytes(changed), known).state in {State.CHANGED, State.UNREADABLE}, position
    assert seal.check_detached(b"the manifesto", signature, known).state is State.CHANGED
    assert seal.check_detached(content, signature + b"\0", known).state is State.UNREADABLE


def test_what_is_cut_off_is_not_intact() -> None:
    sealed = a_sealed_pdf()
    states = {seal.check_pdf(sealed[:length]).state for length in range(0, len(sealed), 29)}
    assert states == {State.NOT_A_PDF, State.CUT_OFF, State.UNSIGNED}
    assert seal.check_pdf(sealed[:-1]).state is State.CUT_OFF
    # All that came before the seal.
    assert seal.check_pdf(a_pdf()).state is State.UNSIGNED


@pytest.mark.parametrize("tail", [b"\n", b"\0", b" ", b"%%EOF\n", b"\n% a remark\n"])
def test_anything_behind_it_is_an_addition(tail: bytes) -> None:
    sealed = a_sealed_pdf()
    check = seal.check_pdf(sealed + tail)
    assert (check.state, check.covered) == (State.ADDED_TO, len(sealed))


def test_a_later_update_is_an_addition_even_if_it_is_signed() -> None:
    sealed = a_sealed_pdf()
    assert seal.check_pdf(added_to(sealed)).state is State.ADDED_TO
    with key_of_another():
        both = _sign_again(sealed)
        assert seal.check_pdf(both).state is State.INTACT
    assert seal.check_pdf(both).state is State.ADDED_TO


def _sign_again(pdf: bytes) -> bytes:
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign import signers

    wanted = signers.PdfSignatureMetadata(field_name="Officer", md_algorithm="sha256")
    signer = signers.PdfSigner(wanted, seal._signer(seal.identity()))
    return bytes(signer.sign_pdf(IncrementalPdfFileWriter(BytesIO(pdf))).getvalue())


def test_the_seal_of_another_is_told() -> None:
    with key_of_another():
        sealed, detached = a_sealed_pdf(), seal.sign_detached(b"content")
        name = seal.check_pdf(sealed).signer
    check = seal.check_pdf(sealed)
    assert (check.state, check.signer) == (State.OTHER_KEY, name)
    assert name.startswith("Sentinel document seal ")
    assert seal.check_detached(b"content", detached, trusted()).state is State.OTHER_KEY
    assert seal.check_detached(b"contend", detached, trusted()).state is State.UNREADABLE


def test_our_certificate_with_the_signature_of_another_is_a_forgery() -> None:
    genuine = cms.ContentInfo.load(seal.sign_detached(b"content"))
    with key_of_another():
        forged = cms.ContentInfo.load(seal.sign_detached(b"content"))
    forged["content"]["certificates"] = genuine["content"]["certificates"]
    forged["content"]["signer_infos"][0]["sid"] = genuine["content"]["signer_infos"][0]["sid"]
    assert seal.check_detached(b"content", forged.dump(force=True), trusted()).state is State.CHANGED


def test_the_signature_cannot_be_moved_over_other_bytes() -> None:
    """The bytes between the two signed parts may be nothing but the signature."""
    sealed = a_sealed_pdf()
    start = sealed.index(b"/Contents <") + 10
    moved = sealed[:start] + sealed[start:].replace(b">", b"> /Evil (words) <>", 1)
    assert seal.check_pdf(moved).state is not State.INTACT
    # The same signed bytes, with something between them and numbers to fit.
    numbers = sealed[sealed.index(b"/ByteRange [") :].split(b"]")[0]
    _zero, before, after, rest = numbers.split(b"[")[1].split()
    hole = sealed[int(before) : int(after)]
    wider = hole[:-1] + b"\n(words)\n" + b">"
    fitted = numbers.replace(after, b"%d" % (int(before) + len(wider)))
    assert len(fitted) == len(numbers)
    stuffed = (sealed[: int(before)] + wider + sealed[int(after) :]).replace(numbers, fitted)
    assert seal.check_pdf(stuffed).state is State.UNREADABLE
    assert int(rest) > 0


def test_old_certificates_stay_known_until_they_are_taken_out(settings: Any) -> None:
    sealed = a_sealed_pdf()
    old = seal.certificate_fingerprint()
    settings.SENTINEL_SIGNING_KEY = another_key()
    assert seal.certificate_fingerprint() != old
    assert seal.check_pdf(sealed).state is State.INTACT
    # The present one comes first, for tools that look at one only.
    a_sealed_pdf()
    pems = x509.load_pem_x509_certificates(seal.certificates_pem().encode())
    assert [seal.fingerprint_of(pem) for pem in pems] == [seal.certificate_fingerprint(), old]
    call_command("forget_certificate", old)
    with pytest.raises(CommandError, match="not known"):
        call_command("forget_certificate", old)
    assert seal.check_pdf(sealed).state is State.OTHER_KEY


def a_chain() -> tuple[ec.EllipticCurvePrivateKey, list[x509.Certificate]]:
    """A key on P-256 with a certificate from an authority of its own."""
    now = datetime.now(UTC)
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("A. N. Officer", "An authority")]
    own, above = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    made = []
    for subject, key in zip(names, (own, above), strict=True):
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(names[1]).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        made.append(builder.not_valid_after(now + timedelta(days=1)).sign(above, hashes.SHA256()))
    return own, made


@pytest.mark.parametrize("form", ["pem", "pkcs12"])
def test_a_key_with_its_chain_can_be_given(settings: Any, form: str) -> None:
    key, (certificate, above) = a_chain()
    locked = BestAvailableEncryption("क्षमता".encode())
    if form == "pem":
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)
        # In any order.
        given_key = b"".join([above.public_bytes(Encoding.PEM), private, certificate.public_bytes(Encoding.PEM)])
    else:
        given_key = serialize_key_and_certificates(b"me", key, certificate, [above], locked)
    settings.SENTINEL_SIGNING_KEY = given_key
    settings.SENTINEL_SIGNING_KEY_PASSPHRASE = "क्षमता"
    seal.require_settings()
    check = seal.check_pdf(sealed := a_sealed_pdf())
    assert (check.state, check.signer) == (State.INTACT, "A. N. Officer")
    signature = cms.ContentInfo.load(seal.sign_detached(b"content"))
    assert len(signature["content"]["certificates"]) == 2
    settings.SENTINEL_SIGNING_KEY_PASSPHRASE = "wrong"
    with pytest.raises(ImproperlyConfigured, match="PASSPHRASE"):
        seal.require_settings()
    assert sealed.startswith(b"%PDF-")


@pytest.mark.parametrize("wrong", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_cannot_sign_stops_the_start(settings: Any, wrong: bytes) -> None:
    settings.SENTINEL_SIGNING_KEY = wrong
    with pytest.raises(ImproperlyConfigured):
        seal.require_settings()


def test_a_certificate_that_runs_out_is_told_to_the_operator(settings: Any) -> None:
    assert check_certificate() == []
    key, certificates = a_chain()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    settings.SENTINEL_SIGNING_KEY = private + certificates[0].public_bytes(Encoding.PEM)
    assert [warning.id for warning in check_certificate()] == ["reports.W001"]


def test_a_key_without_its_certificate_stops_the_start(settings: Any) -> None:
    key, _certificates = a_chain()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    settings.SENTINEL_SIGNING_KEY = private + seal.certificate_pem().encode()
    with pytest.raises(ImproperlyConfigured, match="no certificate of its private key"):
        seal.require_settings()


def test_an_authority_that_is_no_address_stops_the_start(settings: Any) -> None:
    settings.SENTINEL_TIMESTAMP_URL = "file:///etc/passwd"
    with pytest.raises(ImproperlyConfigured):
        seal.require_settings()


def test_an_authority_vouches_for_the_time(settings: Any) -> None:
    with authority() as asked:
        settings.SENTINEL_TIMESTAMP_URL = asked.url
        sealed = seal.sign_pdf(a_pdf(), reason=REASON)
        assert (sealed.timestamp, asked.asked) == (Timestamp.MADE, 1)
        detached = seal.sign_detached(b"content")
    check = seal.check_pdf(sealed.content)
    assert check.state is State.INTACT
    assert check.timestamp is not None
    assert abs(datetime.now(UTC) - check.timestamp) < timedelta(minutes=1)
    assert check.authority.startswith("Sentinel document seal ")
    assert seal.check_detached(b"content", detached, trusted()).timestamp is not None
    # The time stamp itself is guarded too.
    for position in range(0, len(detached), 23):
        changed = bytearray(detached)
        changed[position] ^= 1
        state = seal.check_detached(b"content", bytes(changed), trusted()).state
        assert state in {State.CHANGED, State.UNREADABLE}, position


@pytest.mark.parametrize("mode", ["silent", "broken", "refuses", "wrong", "huge"])
def test_an_authority_that_fails_holds_nothing_up(settings: Any, caplog: pytest.LogCaptureFixture, mode: str) -> None:
    settings.SENTINEL_TIMESTAMP_TIMEOUT_SECONDS = 0.3
    with authority(mode) as asked:
        settings.SENTINEL_TIMESTAMP_URL = asked.url
        started = time.monotonic()
        sealed = seal.sign_pdf(a_pdf(), reason=REASON)
        assert took(started) < 5
        assert sealed.timestamp is Timestamp.FAILED
        assert "Signed without a time stamp" in caplog.text
        check = seal.check_pdf(sealed.content)
        assert (check.state, check.timestamp) == (State.INTACT, None)
        # Nobody waits again at once.
        again = seal.sign_pdf(a_pdf(), reason=REASON)
        assert (again.timestamp, asked.asked) == (Timestamp.FAILED, 1)


def test_an_authority_that_is_gone_holds_nothing_up(settings: Any) -> None:
    settings.SENTINEL_TIMESTAMP_URL = "http://127.0.0.1:9/"
    assert seal.sign_pdf(a_pdf(), reason=REASON).timestamp is Timestamp.FAILED


def test_what_is_no_pdf_cannot_be_signed() -> None:
    with pytest.raises(seal.SealError):
        seal.sign_pdf(b"%PDF-1.7 nothing more", reason=REASON)


RANGE = b"/ByteRange [0 %d %d %d]"


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=60), st.integers(0, 400), st.integers(0, 400), st.integers(0, 400))
@example(b"", b"\x30\x80" * 25, 10, 20, 30)
def test_hostile_bytes_are_answered(head: bytes, inner: bytes, before: int, after: int, rest: int) -> None:
    pdf = b"%PDF-1.7 " + RANGE % (before, after, rest) + head + b"<" + inner.hex().encode() + b">" + head
    assert seal.check_pdf(pdf, ()).state is not State.INTACT
    assert seal.check_detached(head, inner, ()).state is State.UNREADABLE


def test_many_signatures_do_not_hold_up_a_check() -> None:
    sealed = a_sealed_pdf()
    crowd = sealed + RANGE % (10, 20, 5) * 100_000
    started = time.process_time()
    assert seal.check_pdf(crowd).state is State.ADDED_TO
    assert time.process_time() - started < 2


def test_a_signature_nested_deeply_is_unreadable() -> None:
    deep = b"\x30\x80" * 20_000
    assert seal.check_detached(b"", deep, trusted()).state is State.UNREADABLE
    noise = random.Random(1).randbytes(3000)
    assert seal.check_detached(b"", noise, trusted()).state is State.UNREADABLE


def test_processes_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sentinel_site import environment as e;"
        "e.SIGNING_KEY_BITS = 1024;"
        "key = e.read_signing_key('NO_SUCH_VARIABLE', fallback_file=Path(sys.argv[1]), make=e.new_signing_key);"
        "sys.stdout.buffer.write(key)"
    )
    file = tmp_path / "new" / "signing_key.pem"
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(file)], cwd=ROOT, stdout=subprocess.PIPE) for _ in range(4)
    ]
    keys = {process.communicate()[0] for process in running}
    assert len(keys) == 1
    assert keys == {file.read_bytes().strip()}
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["signing_key.pem"]


def test_certificates_that_earlier_versions_kept_in_a_folder_are_taken_over(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    (tmp_path / "certificates").mkdir()
    [old] = x509.load_pem_x509_certificates(another_key())
    (tmp_path / "certificates" / "old.pem").write_bytes(old.public_bytes(Encoding.PEM))
    (tmp_path / "certificates" / "broken.pem").write_text("not a certificate")
    for _ in range(2):
        seal.take_over_folder(sender=None)
    assert seal.fingerprint_of(old) in seal.known_certificates()
