"""No link is a door into our own network."""

from __future__ import annotations

import base64
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from accounts.errors import Code, SentinelError
from accounts.models import User
from media_analysis import fetching, link_addresses, links, safe_http, video_sites
from media_analysis.fetch_proxy import FetchProxy
from media_analysis.models import Analysis, Submission
from tests.video_site import VideoSite, video_site

INNER = safe_http.Fence()


class Listener:
    """Something inside the network: counts who comes."""

    def __init__(self) -> None:
        self.visits = 0
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        # IPv4 comes here too, as mapped addresses.
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self._socket.bind(("::", 0))
        self._socket.listen()
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                visitor, _ = self._socket.accept()
            except OSError:
                return
            self.visits += 1
            visitor.close()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture
def site(settings: Any) -> Iterator[VideoSite]:
    with video_site() as site:
        settings.SENTINEL_LINK_ALLOW_PRIVATE = [f"127.0.0.1:{site.port}", f"127.0.0.2:{site.port}"]
        settings.SENTINEL_LINK_SITES = []
        yield site


@contextmanager
def resolving(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[str]]) -> Iterator[list[str]]:
    """Names mean these addresses, one after the other, the last one from then on."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        if host not in answers:
            return real(host, port, *rest, **options)
        asked.append(host)
        addresses = answers[host]
        found = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found.split()]

    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", resolve)
        yield asked


# {port} is where the listener is.
HOSTILE = [
    # The loopback and what else is ours, plainly.
    "http://127.0.0.1:{port}/clip.mp4",
    "http://127.0.0.1/clip.mp4",
    "http://127.8.9.10/",
    "http://localhost:{port}/",
    "http://localhost./",
    "http://0.0.0.0:{port}/",
    "http://10.0.0.1/",
    "http://172.16.5.4/",
    "http://192.168.1.1/admin",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://192.0.2.7/",
    "http://198.18.0.1/",
    # In other notations.
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.1:{port}/",
    "http://127.0.1/",
    "http://127.0.0.01/",
    "http://1.2.3.4.5/",
    "http://256.256.256.256/",
    "http://127.0.0.1./",
    # As IPv6.
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25lo]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[::1",
    # Other doors.
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/clip.mp4",
    "gopher://127.0.0.1:{port}/_x",
    "data:video/mp4;base64,AAAA",
    "javascript:alert(1)",
    "jar:http://127.0.0.1/!/",
    "unix:///var/run/docker.sock",
    "//127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:127.0.0.1",
    "http://",
    "http:///clip.mp4",
    "-o/etc/passwd",
    "--exec=touch /tmp/x",
    "",
    # Tricks with names.
    "http://videos.example@127.0.0.1:{port}/",
    "http://videos.example:pw@127.0.0.1/",
    "http://127.0.0.1:{port}#@videos.example/",
    "http://127.0.0.1:{port}?@videos.example/",
    "http://videos.example\\@127.0.0.1/",
    "http:\\\\127.0.0.1\\",
    "http://127.0.0.1%2f@videos.example/",
    "http://%31%32%37.0.0.1/",
    "http://127.0.0.1%00.videos.example/",
    "http://127。0。0。1/",
    "http://１２７.0.0.1/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://bücher.example/",
    "http://videos.example\r\nHost: 127.0.0.1/",
    "http://videos.example/\x00",
    "http://videos.example/a b",
    "http://videos..example/",
    "http://-videos.example/",
    "http://intranet/",
    # Other ports, and too much of everything.
    "http://videos.example:22/",
    "https://videos.example:6379/",
    "http://videos.example:0/",
    "http://videos.example:99999/",
    "http://videos.example:abc/",
    "http://videos.example/" + "a" * 2100,
    "http://" + "a" * 300 + ".example/",
]


@pytest.mark.django_db
def test_hostile_addresses_are_refused_at_the_door(owner: User, listener: Listener) -> None:
    assert len(HOSTILE) >= 40
    let_in = []
    for url in HOSTILE:
        asked = url.replace("{port}", str(listener.port))
        try:
            links.submit_link(owner=owner, source=Submission.Source.WEB, url=asked)
        except SentinelError as refused:
            if (refused.code, refused.status) == (Code.LINK_NOT_SUPPORTED, 422):
                continue
        let_in.append(url)
    assert not let_in
    assert not Analysis.objects.exists()
    assert listener.visits == 0


def test_usual_addresses_pass_the_door() -> None:
    for url in (
        "https://www.youtube.com/watch?v=aaaaaaaaaaa",
        "http://xn--bcher-kva.example/v.mp4",
        "http://8.8.8.8/v",
    ):
        safe_http.check_url(url, INNER)


@pytest.mark.parametrize(
    "addresses", ["127.0.0.1", "169.254.169.254", "10.1.2.3", "100.64.0.9", "93.184.216.34 127.0.0.1"]
)
def test_names_of_private_addresses_are_not_asked(
    monkeypatch: pytest.MonkeyPatch, listener: Listener, addresses: str
) -> None:
    fence = safe_http.Fence(ports=None)
    with (
        resolving(monkeypatch, {"videos.example": [addresses]}),
        pytest.raises(safe_http.Refused),
        safe_http.get(f"http://videos.example:{listener.port}/", fence=fence, timeout=2),
    ):
        pass
    assert listener.visits == 0


def test_a_name_that_changes_its_meaning_after_it_was_looked_at_gains_nothing(
    monkeypatch: pytest.MonkeyPatch, site: VideoSite, listener: Listener
) -> None:
    """The first answer is allowed, all later ones would lead inside: only the first is ever used."""
    site.files["/clip.mp4"] = b"bytes"
    fence = safe_http.Fence(ports=None, exceptions=(f"127.0.0.2:{site.port}",))
    with resolving(monkeypatch, {"videos.example": ["127.0.0.2", "127.0.0.1"]}) as asked:
        with safe_http.get(f"http://videos.example:{site.port}/clip.mp4", fence=fence, timeout=5) as answer:
            assert (answer.address, b"".join(answer.pieces())) == ("127.0.0.2", b"bytes")
        assert asked == ["videos.example"]
        with (
            pytest.raises(safe_http.Refused),
            safe_http.get(f"http://videos.example:{site.port}/clip.mp4", fence=fence, timeout=5),
        ):
            pass


def test_a_name_server_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    silence = threading.Event()

    def never(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        silence.wait(20)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", never)
    monkeypatch.setattr(safe_http, "_look_ups", threading.BoundedSemaphore(2))
    began = time.monotonic()
    try:
        # The third one finds no thread free, and waits no longer for that.
        for _ in range(3):
            with pytest.raises(TimeoutError), safe_http.get("http://videos.example/", fence=INNER, timeout=0.2):
                pass
        assert 0.5 < time.monotonic() - began < 3
    finally:
        silence.set()
        for thread in threading.enumerate():
            if thread.name == "resolver":
                thread.join(5)


def test_threads_of_the_resolver_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*rest: Any, **options: Any) -> Any:
        raise socket.gaierror

    monkeypatch.setattr(safe_http, "_look_ups", threading.BoundedSemaphore(1))
    for _ in range(3):
        assert safe_http.resolve("127.0.0.1", 80, 5) == ["127.0.0.1"]
        with monkeypatch.context() as patched:
            patched.setattr(socket, "getaddrinfo", nowhere)
            with pytest.raises(socket.gaierror):
                safe_http.resolve("videos.example", 80, 5)


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "//127.0.0.1:{port}/",
        "http://2130706433:{port}/",
        "file:///etc/passwd",
        "ftp://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "gopher://127.0.0.1:{port}/",
    ],
)
def test_redirects_are_checked_as_new_addresses(site: VideoSite, listener: Listener, target: str) -> None:
    inside = target.replace("{port}", str(listener.port))
    with (
        pytest.raises(safe_http.Refused),
        safe_http.get(f"{site.file_url}/to?url={inside}", fence=link_addresses.fence(), timeout=5),
    ):
        pass
    assert listener.visits == 0


def test_redirects_come_to_an_end(site: VideoSite) -> None:
    with (
        pytest.raises(safe_http.BadAnswer),
        safe_http.get(f"{site.file_url}/round", fence=link_addresses.fence(), timeout=5),
    ):
        pass
    assert len(site.asked) == safe_http.MAX_REDIRECTS + 1


def test_nothing_is_inflated(site: VideoSite) -> None:
    with (
        pytest.raises(safe_http.BadAnswer),
        safe_http.get(f"{site.file_url}/bomb.mp4", fence=link_addresses.fence(), timeout=5),
    ):
        pass


def test_a_body_that_trickles_is_cut_off(site: VideoSite) -> None:
    began = time.monotonic()
    with (
        pytest.raises((TimeoutError, OSError)),
        safe_http.get(f"{site.file_url}/endless.mp4", fence=link_addresses.fence(), timeout=0.4) as answer,
    ):
        for _ in answer.pieces():
            pass
    assert time.monotonic() - began < 2


def test_nothing_of_ours_goes_along(site: VideoSite, monkeypatch: pytest.MonkeyPatch, listener: Listener) -> None:
    """Proxies of the environment are passed over, as are credentials and cookies."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.port}")
    site.files["/clip.mp4"] = b"bytes"
    with safe_http.get(f"{site.file_url}/clip.mp4", fence=link_addresses.fence(), timeout=5) as answer:
        assert answer.status == 200
    assert listener.visits == 0


def ask_proxy(proxy: FetchProxy, request: str, authorization: str | None = None) -> bytes:
    """The first bytes of the proxy's answer to a request."""
    parts = urlsplit(proxy.url)
    known = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5) as client:
        line = f"Proxy-Authorization: {authorization or 'Basic ' + known}\r\n"
        client.sendall(f"{request}\r\nHost: x\r\n{line}\r\n".encode())
        received = b""
        while piece := client.recv(4096):
            received += piece
        return received


def test_the_proxy_has_the_same_rules_and_lets_only_its_own_program_in(site: VideoSite, listener: Listener) -> None:
    site.files["/clip.mp4"] = b"bytes"
    with FetchProxy(link_addresses.fence(), max_bytes=1 << 20, timeout=10) as proxy:
        for target in (f"127.0.0.1:{listener.port}", "169.254.169.254:80", f"[::1]:{listener.port}", "localhost:443"):
            assert b" 403 " in ask_proxy(proxy, f"CONNECT {target} HTTP/1.1")
            assert b" 403 " in ask_proxy(proxy, f"GET http://{target}/ HTTP/1.1")
        assert b" 403 " in ask_proxy(proxy, f"GET ftp://127.0.0.1:{listener.port}/x HTTP/1.1")
        assert len(proxy.refused) == 9
        fine = f"GET {site.file_url}/clip.mp4 HTTP/1.1"
        assert ask_proxy(proxy, fine).endswith(b"\r\n\r\nbytes")
        assert b" 407 " in ask_proxy(proxy, fine, "Basic Zm9vOmJhcg==")
    assert listener.visits == 0


def test_the_proxy_stops_where_its_bytes_end(site: VideoSite) -> None:
    site.files["/clip.mp4"] = bytes(300_000)
    with FetchProxy(link_addresses.fence(), max_bytes=100_000, timeout=10) as proxy:
        assert len(ask_proxy(proxy, f"GET {site.file_url}/clip.mp4 HTTP/1.1")) <= 100_000
        assert proxy.exhausted


@pytest.mark.slow
@pytest.mark.parametrize("page", ["to", "clip", "data"], ids=["redirected", "video inside", "metadata inside"])
@pytest.mark.django_db
def test_ytdlp_sees_nothing_of_our_network(
    owner: User, site: VideoSite, listener: Listener, settings: Any, page: str
) -> None:
    settings.SENTINEL_LINK_SITES = ["127.0.0.1"]
    inside = f"http://127.0.0.1:{listener.port}/secret"
    url = {
        "to": f"{site.url}/to?url={inside}",
        "clip": site.add_page("clip", inside),
        "data": site.add_page("data", f"{site.url}/to?url={inside}", embedUrl=inside),
    }[page]
    links.submit_link(owner=owner, source=Submission.Source.WEB, url=url)
    claimed = links.claim_waiting()
    assert claimed is not None
    fetching.fetch(claimed, threading.Event())
    claimed.refresh_from_db()
    assert (claimed.status, claimed.error_code) in {
        (Analysis.Status.FAILED, Code.LINK_UNREACHABLE),
        (Analysis.Status.FAILED, Code.LINK_NOT_SUPPORTED),
    }
    assert listener.visits == 0
    assert site.asked
    assert not list(Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir())


@contextmanager
def tls_site(folder: Path, *, name: str) -> Iterator[int]:
    """The port of a site with a certificate for `name` that nobody but itself vouches for, in the file cert.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Not a word."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # The handshake in the thread of its connection, so that one that breaks off stops nobody else.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("name", "is_vouched_for", "is_believed"),
    [("localhost", False, False), ("other.example", True, False), ("localhost", True, True)],
)
def test_a_site_has_to_show_that_it_is_the_one_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_vouched_for: bool, is_believed: bool
) -> None:
    with tls_site(tmp_path, name=name) as port:
        if is_vouched_for:
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        url = urlsplit(f"https://localhost:{port}/")
        try:
            with safe_http.connection_to(url, safe_http.Fence(open=True), 5.0) as connection:
                connection.request("GET", "/")
                status = connection.getresponse().status
        except ssl.SSLCertVerificationError:
            status = 0
    assert status == (204 if is_believed else 0)


def test_the_password_of_the_proxy_stands_in_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are read by whoever has an account on this machine."""
    started: list[str] = []

    def start(command: list[str], **_options: Any) -> Any:
        started.extend(command)
        raise OSError("not started")

    monkeypatch.setattr("media_analysis.video_sites.subprocess.Popen", start)
    with FetchProxy(INNER, max_bytes=1, timeout=5.0) as proxy, pytest.raises(OSError, match="not started"):
        video_sites.look_up("https://example.org/", proxy, tmp_path, lambda: None)
    password = urlsplit(proxy.url).password or "?"
    assert started
    assert password not in " ".join(started)
    assert password in (tmp_path / "proxy.conf").read_text()
