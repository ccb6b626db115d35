"""``geoseg certificates``: real handshakes with the files it writes, and what it refuses."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from geoseg.config import ClusterConfig
from geoseg.engine.executors.cluster import ClusterSettings, check
from geoseg.engine.executors.tls import of_environment, security
from geoseg.errors import ConfigError, OutputError
from geoseg.io.certificates import ROLES, CertificateFolder, make_certificates

Geoseg = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> CertificateFolder:
    return make_certificates(tmp_path_factory.mktemp("tls"), ["node1.lan", "10.0.0.5"], 30)


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bytes:
    """What a client reads from a server, each with its certificate, over a real connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            try:
                with server.wrap_socket(connection, server_side=True) as encrypted:
                    encrypted.sendall(b"hello")
            except (ssl.SSLError, OSError):
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        with (
            socket.create_connection(listening.getsockname(), timeout=5) as plain,
            client.wrap_socket(plain, server_hostname=name) as encrypted,
        ):
            return encrypted.recv(5)


def _context(files: CertificateFolder, role: str, purpose: ssl.Purpose) -> ssl.SSLContext:
    context = ssl.create_default_context(purpose, cafile=str(files.authority))
    context.load_cert_chain(files.certificate(role), files.key(role))
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "node1.lan", "10.0.0.5"])
@pytest.mark.parametrize("role", ROLES)
def test_every_role_is_client_and_server(made: CertificateFolder, role: str, name: str) -> None:
    server = _context(made, role, ssl.Purpose.CLIENT_AUTH)
    client = _context(made, "worker", ssl.Purpose.SERVER_AUTH)
    assert _handshake(server, client, name) == b"hello"


def test_another_name_and_another_authority_are_refused(
    made: CertificateFolder, tmp_path: Path
) -> None:
    server = _context(made, "scheduler", ssl.Purpose.CLIENT_AUTH)
    client = _context(made, "client", ssl.Purpose.SERVER_AUTH)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'node2\.lan'"):
        _handshake(server, client, "node2.lan")
    other = make_certificates(tmp_path / "other", [], 30)
    stranger = _context(other, "client", ssl.Purpose.SERVER_AUTH)
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(server, stranger, "localhost")


def test_keys_are_for_their_owner_and_no_key_signs(made: CertificateFolder) -> None:
    for role in ROLES:
        assert made.key(role).stat().st_mode & 0o777 == 0o600
    assert {path.name for path in made.root.iterdir()} == {path.name for path in made.files}
    for path in made.files:
        assert (b"PRIVATE KEY" in path.read_bytes()) == (path.suffix == ".key")


def test_validity(made: CertificateFolder) -> None:
    for role in ROLES:
        found = x509.load_pem_x509_certificate(made.certificate(role).read_bytes())
        left = found.not_valid_after_utc - datetime.now(UTC)
        assert timedelta(days=29) < left <= timedelta(days=30)
        assert found.not_valid_before_utc < datetime.now(UTC) - timedelta(minutes=5), "other clocks"


def test_command(geoseg: Geoseg, tmp_path: Path) -> None:
    code, out, _ = geoseg("certificates", str(tmp_path / "keys"), "--host", "a.lan", "--days", "7")
    assert code == 0
    assert "dask scheduler --host a.lan --protocol tls" in out
    assert "dask worker tls://a.lan:8786" in out
    assert f"GEOSEG_TLS_KEY={tmp_path}/keys/client.key" in out
    before = (tmp_path / "keys/client.key").read_bytes()
    code, _, err = geoseg("certificates", str(tmp_path / "keys"))
    assert code == 2
    assert "is there already" in err
    assert (tmp_path / "keys/client.key").read_bytes() == before


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "worker.key").write_text("precious")
    with pytest.raises(OutputError, match=r"worker\.key is there already"):
        make_certificates(tmp_path, [], 1)
    assert [path.name for path in tmp_path.iterdir()] == ["worker.key"]
    assert (tmp_path / "worker.key").read_text() == "precious"


@pytest.fixture
def environment(made: CertificateFolder, monkeypatch: pytest.MonkeyPatch) -> CertificateFolder:
    monkeypatch.setenv("GEOSEG_TLS_CA", str(made.authority))
    monkeypatch.setenv("GEOSEG_TLS_CERT", str(made.certificate("client")))
    monkeypatch.setenv("GEOSEG_TLS_KEY", str(made.key("client")))
    return made


def test_the_environment_is_for_an_encrypted_scheduler(environment: CertificateFolder) -> None:
    settings = ClusterSettings.of(ClusterConfig(), scheduler="tls://127.0.0.1:8786")
    assert settings.tls == of_environment()
    check(settings)
    assert security(settings.tls).get_connection_args("client")["require_encryption"]
    assert ClusterSettings.of(ClusterConfig(), scheduler="tcp://127.0.0.1:8786").tls is None
    assert ClusterSettings.of(ClusterConfig(), workers=1).tls is None


def test_a_config_wins_over_the_environment(environment: CertificateFolder) -> None:
    own = {
        "ca_file": environment.authority,
        "cert": environment.certificate("worker"),
        "key": environment.key("worker"),
    }
    config = ClusterConfig.model_validate({"address": "tls://10.0.0.5:8786", "tls": own})
    settings = ClusterSettings.of(config)
    assert settings.tls is not None
    assert settings.tls.cert == environment.certificate("worker")


@pytest.mark.usefixtures("environment")
def test_half_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEOSEG_TLS_KEY")
    with pytest.raises(ConfigError, match=r"GEOSEG_TLS_KEY: not set.*all three"):
        ClusterSettings.of(ClusterConfig(), scheduler="tls://127.0.0.1:8786")


def test_an_encrypted_scheduler_without_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEOSEG_TLS_CA", "GEOSEG_TLS_CERT", "GEOSEG_TLS_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="or set GEOSEG_TLS_CA"):
        check(ClusterSettings.of(ClusterConfig(), scheduler="tls://127.0.0.1:8786"))
