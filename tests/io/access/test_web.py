"""Downloads from a real server that behaves in every way but well."""

from __future__ import annotations

import hashlib
import http.server
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from geoseg.config import TlsConfig
from geoseg.errors import ConfigError, ConfinedError, OutputError, RemoteError
from geoseg.feedback import Console
from geoseg.io.access import web
from geoseg.io.access.hosts import HOSTS, Hosts, without_query
from geoseg.io.access.web import Download, fetch
from geoseg.io.store import checksums
from tests.support.certificate_authority import Authority

BODY = bytes(range(256)) * 20_000
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Site:
    """A server, and what was asked of it. ``behave`` answers the n-th request, from 1."""

    behave: Callable[[Any, int], None]
    asked: list[str] = field(default_factory=list)
    address: str = ""

    @property
    def url(self) -> str:
        return f"http://{self.address}/a.tif?token=hunter2"

    @property
    def allowed(self) -> Hosts:
        return Hosts.of(self.address)


def send(
    handler: Any, status: int = 200, body: bytes = BODY, length: int | None = None, **more: str
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in more.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)
    if length is not None:
        handler.close_connection = True


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    monkeypatch.setattr(web, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setenv("NO_PROXY", "*")
    servers = []

    def start(behave: Callable[[Any, int], None], tls: TlsConfig | None = None) -> Site:
        made = Site(behave)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                made.asked.append(self.path)
                made.behave(self, len(made.asked))

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.cert, tls.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        made.address = f"127.0.0.1:{server.server_port}"
        return made

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _whole(folder: Path) -> bool:
    """The file is there with all its bytes, and nothing else is."""
    return [path.read_bytes() for path in folder.iterdir()] == [BODY]


def _fails(site: Site, folder: Path, message: str, **wanted: Any) -> None:
    """An old file stays as it was, and no message shows the query."""
    target = folder / "a.tif"
    target.write_bytes(b"old")
    with pytest.raises(RemoteError, match=message) as told:
        fetch(site.url, target, site.allowed, Download(**wanted))
    assert "hunter2" not in str(told.value)
    assert [path.name for path in folder.iterdir()] == ["a.tif"]
    assert target.read_bytes() == b"old"


def test_a_file_comes_whole(site: Callable[..., Site], tmp_path: Path) -> None:
    here = site(lambda handler, _: send(handler))
    lines: list[str] = []
    for checksum in (SHA256, f"1220{SHA256}", f"1220{SHA256}".upper(), "99aa00"):
        wanted = Download(len(BODY), checksum)
        got = fetch(here.url, tmp_path / "a.tif", here.allowed, wanted, Console(lines.append))
        assert got == len(BODY)
        assert _whole(tmp_path)
    assert any("fetch a.tif: " in line and "bytes" in line for line in lines)
    assert sum("a kind not known here" in line for line in lines) == 1
    assert not any("hunter2" in line for line in lines)


def test_503_twice_then_fine(site: Callable[..., Site], tmp_path: Path) -> None:
    here = site(lambda h, n: send(h, 503, b"", Retry_After="0") if n < 3 else send(h))
    fetch(here.url, tmp_path / "a.tif", here.allowed)
    assert len(here.asked) == 3
    assert _whole(tmp_path)


def test_a_server_says_when_to_come_back(site: Callable[..., Site], tmp_path: Path) -> None:
    here = site(lambda h, n: send(h, 429, b"", Retry_After="1") if n < 2 else send(h))
    began = time.monotonic()
    fetch(here.url, tmp_path / "a.tif", here.allowed)
    assert time.monotonic() - began >= 1


def test_a_server_cannot_make_us_wait_for_ever(
    site: Callable[..., Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "LONGEST_SECONDS", 0)
    here = site(lambda h, n: send(h, 503, b"", Retry_After="86400") if n < 2 else send(h))
    began = time.monotonic()
    fetch(here.url, tmp_path / "a.tif", here.allowed)
    assert time.monotonic() - began < 5


def test_503_for_good(site: Callable[..., Site], tmp_path: Path) -> None:
    here = site(lambda handler, _: send(handler, 503, b""))
    _fails(here, tmp_path, r"/a\.tif: the server answers 503 Service Unavailable")
    assert len(here.asked) == web.TRIES


def test_404_is_asked_once(site: Callable[..., Site], tmp_path: Path) -> None:
    here = site(lambda handler, _: send(handler, 404, b""))
    _fails(here, tmp_path, "the server answers 404 Not Found")
    assert len(here.asked) == 1


def test_a_connection_that_is_cut(site: Callable[..., Site], tmp_path: Path) -> None:
    """Less comes than was announced: twice, then all of it."""
    here = site(lambda h, n: send(h, body=BODY[:999_999], length=len(BODY)) if n < 3 else send(h))
    fetch(here.url, tmp_path / "a.tif", here.allowed)
    assert len(here.asked) == 3
    assert _whole(tmp_path)


def test_a_connection_that_is_always_cut(site: Callable[..., Site], tmp_path: Path) -> None:
    here = site(lambda h, _: send(h, body=BODY[:999_999], length=len(BODY)))
    _fails(here, tmp_path, rf"the download broke off: IncompleteRead, {web.TRIES} times")


def test_nobody_there(site: Callable[..., Site], tmp_path: Path) -> None:
    here = site(lambda handler, _: send(handler))
    here.address = "127.0.0.1:9"
    _fails(here, tmp_path, r"127\.0\.0\.1:9/a\.tif: no answer: .*refused; try again later")


def test_another_length_or_checksum_than_the_catalogues(
    site: Callable[..., Site], tmp_path: Path
) -> None:
    here = site(lambda handler, _: send(handler))
    _fails(here, tmp_path, f"{len(BODY)} bytes, and the catalogue says 7", size=7)
    _fails(here, tmp_path, r"another checksum \(sha256\)", checksum="0" * 64)
    _fails(here, tmp_path, r"another checksum \(md5\)", checksum="d50110" + "0" * 32)


def test_a_length_that_nobody_knows(site: Callable[..., Site], tmp_path: Path) -> None:
    def behave(handler: Any, number: int) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(BODY if number == 4 else BODY[:1000])

    here = site(behave)
    _fails(here, tmp_path, "does not say how long it is")
    fetch(here.url, tmp_path / "a.tif", here.allowed, Download(len(BODY)))
    assert _whole(tmp_path)


def test_a_file_too_large(site: Callable[..., Site], tmp_path: Path) -> None:
    def endless(handler: Any, _: int) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"10000\r\n" + bytes(2**16) + b"\r\n")
        except OSError:
            handler.close_connection = True

    # Not a byte of what says itself that it is too large.
    for behave in (endless, lambda handler, _: send(handler, body=b"", length=2_000_001)):
        here = site(behave)
        with pytest.raises(ConfinedError, match=r"a\.tif is larger than 2000000 bytes"):
            fetch(here.url, tmp_path / "a.tif", here.allowed, Download(largest=2_000_000))
        assert not list(tmp_path.iterdir())


def test_a_redirect_stays_with_the_hosts_that_were_named(
    site: Callable[..., Site], tmp_path: Path
) -> None:
    other = site(lambda handler, _: send(handler))
    here = site(lambda handler, _: send(handler, 302, b"", Location=other.url))
    with pytest.raises(ConfinedError, match=rf"the host {other.address} is not one"):
        fetch(here.url, tmp_path / "a.tif", here.allowed)
    assert not other.asked
    fetch(here.url, tmp_path / "a.tif", Hosts.of(here.address, other.url))
    assert _whole(tmp_path)


def test_redirects_to_what_is_not_http(site: Callable[..., Site], tmp_path: Path) -> None:
    for place in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
        here = site(lambda handler, _, place=place: send(handler, 302, b"", Location=place))
        with pytest.raises((ConfinedError, RemoteError)):
            fetch(here.url, tmp_path / "a.tif", here.allowed)
    here = site(lambda handler, _: send(handler, 302, b"", Location="/again"))
    _fails(here, tmp_path, "more than 5 redirects")


def test_encryption_is_not_given_up_on_the_way(
    site: Callable[..., Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = Authority.make("authority").issue(tmp_path / "keys")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls.ca_file))
    plain = site(lambda handler, _: send(handler))
    places = [plain.url]
    safe = site(lambda h, n: send(h, 302, b"", Location=places.pop()) if places else send(h), tls)
    allowed = Hosts.of(safe.address, plain.address)
    url = f"https://{safe.address}/a.tif"
    with pytest.raises(ConfinedError, match="redirects to an address without encryption"):
        fetch(url, tmp_path / "out" / "a.tif", allowed)
    fetch(url, tmp_path / "out" / "a.tif", allowed)
    assert _whole(tmp_path / "out")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(RemoteError, match="no answer: SSL"):
        fetch(url, tmp_path / "out" / "a.tif", allowed)


def test_a_full_disk_is_no_fault_of_the_server(site: Callable[..., Site], tmp_path: Path) -> None:
    here = site(lambda handler, _: send(handler))
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        fetch(here.url, tmp_path / "file" / "a.tif", here.allowed)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.org/x",
        "http://example.org.evil.org/x",
        "http://example.org:8080/x",
        "http://example.org@evil.org/x",
        "http://user:hunter2@example.org/x",
        "http://example.org\\@evil.org/x",
        "http://example.org:99999/x",
        "http://2130706433/x",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost/x",
        "http://[::1]/x",
        "file:///etc/passwd",
        "ftp://example.org/x",
        "//example.org/x",
        "gopher://example.org:80/x",
    ],
)
def test_hosts_that_nobody_named(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfinedError) as told:
        fetch(url, tmp_path / "x", Hosts.of("example.org", "10.0.0.5:9000"))
    assert "hunter2" not in str(told.value)


def test_hosts_that_somebody_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOSTS, "mine.org, 10.0.0.5:9000")
    allowed = Hosts.of("Example.org", "[::1]:81", "https://api.org/stac/v1")
    for url in (
        "https://example.org/x",
        "http://EXAMPLE.org./x",
        "http://[::1]:81/x",
        "https://api.org/other",
        "https://mine.org/x",
        "http://10.0.0.5:9000/x",
    ):
        allowed.require(url)
    for url in ("http://api.org/x", "http://[::1]/x", "http://10.0.0.5/x"):
        with pytest.raises(
            ConfinedError, match="name it in 'hosts' of the source, or in GEOSEG_HOSTS"
        ):
            allowed.require(url)
    for wrong in ("a/b", "user@a.org"):
        with pytest.raises(ConfigError, match="is no host"):
            Hosts.of(wrong)


def test_what_messages_show() -> None:
    assert without_query("https://u:p@a.org:8/b/c?sig=x#y") == "https://a.org:8/b/c"


def test_checksums() -> None:
    for name, prefix in (("sha1", "1114"), ("sha512", "1340"), ("sha3_256", "1620")):
        digest = hashlib.new(name, BODY).hexdigest()
        assert checksums.parse(prefix + digest) == checksums.Checksum(name, digest)
        assert checksums.parse(prefix + digest[2:]) is None
    assert checksums.parse("") is None
