"""Certificates between flow, scheduler and workers: who has none, or those of another, stays out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from geoseg.config import TlsConfig
from geoseg.engine.executors import cluster
from geoseg.engine.executors.cluster import ClusterSettings, check, connect
from geoseg.errors import ClusterError, ConfigError
from tests.support.certificate_authority import Authority
from tests.support.dask_process import dask_scheduler, dask_worker


@pytest.fixture(scope="module")
def encrypted(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler and a worker that speak TLS only."""
    folder = tmp_path_factory.mktemp("dask")
    tls = authority.issue(folder / "tls")
    files = ("--tls-ca-file", tls.ca_file, "--tls-cert", tls.cert, "--tls-key", tls.key)
    arguments = tuple(str(part) for part in files)
    with (
        dask_scheduler(folder, "--protocol", "tls", *arguments) as address,
        dask_worker(address, "--nthreads", "1", "--local-directory", str(folder), *arguments),
    ):
        yield address


def test_tls(encrypted: str, certificates: TlsConfig) -> None:
    assert encrypted.startswith("tls://")
    with connect(ClusterSettings(address=encrypted, tls=certificates)) as client:
        assert client.submit(sum, [1, 2]).result(timeout=20) == 3
        workers = client.scheduler_info()["workers"]
    assert all(address.startswith("tls://") for address in workers)


def test_tls_on_this_machine(certificates: TlsConfig) -> None:
    with connect(ClusterSettings(workers=1, tls=certificates)) as client:
        assert client.submit(sum, [1, 2]).result(timeout=20) == 3
        address = client.scheduler.address
        workers = client.scheduler_info()["workers"]
        assert all(name.startswith("tls://") for name in (address, *workers))
        with pytest.raises(OSError, match=r"reset by peer|Timed out|closed"):
            Client(address.replace("tls://", "tcp://"), timeout=2)


def test_tls_refuses_who_has_no_certificate(
    encrypted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 2)
    message = r"tls://.* is encrypted and there are no certificates; give 'cluster\.tls'"
    with pytest.raises(ConfigError, match=message), connect(ClusterSettings(address=encrypted)):
        pass
    tcp = encrypted.replace("tls://", "tcp://")
    message = r"no Dask scheduler answers at tcp://.*'cluster\.tls' where it wants certificates"
    with pytest.raises(ClusterError, match=message), connect(ClusterSettings(address=tcp)):
        pass


def test_tls_refuses_another_authority(
    encrypted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 2)
    stranger = Authority.make("stranger").issue(tmp_path / "stranger")
    message = r"cluster\.tls: .* at tls://.* do not get along \(.*verify failed.*both sides need"
    with (
        pytest.raises(ConfigError, match=message),
        connect(ClusterSettings(address=encrypted, tls=stranger)),
    ):
        pass


def test_tls_refuses_a_certificate_of_another_authority(
    encrypted: str, certificates: TlsConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client trusts the scheduler, the scheduler not the client."""
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 2)
    stranger = Authority.make("stranger").issue(tmp_path / "stranger")
    mixed = stranger.model_copy(update={"ca_file": certificates.ca_file})
    with (
        pytest.raises(ConfigError, match=r"cluster\.tls: .* do not get along"),
        connect(ClusterSettings(address=encrypted, tls=mixed)),
    ):
        pass


def test_wrong_files(certificates: TlsConfig, authority: Authority, tmp_path: Path) -> None:
    other = authority.issue(tmp_path / "other")
    wrong = {
        "cluster.tls.key: .*gone.pem is not a file": {"key": tmp_path / "gone.pem"},
        "do not make a pair": {"key": other.key},
        "cluster.tls: ": {"cert": other.key},
    }
    for message, change in wrong.items():
        with pytest.raises(ConfigError, match=message):
            check(ClusterSettings(tls=certificates.model_copy(update=change)))
    check(ClusterSettings(tls=certificates))
    with pytest.raises(ConfigError, match=r"not encrypted.*write tls://10\.0\.0\.5:8786"):
        check(ClusterSettings(address="10.0.0.5:8786", tls=certificates))
