"""A scheduler at an address: resources that its workers offer or not, and what is not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from distributed import Client

from geoseg.config import TlsConfig
from geoseg.engine.executors import capacity as capacity_module
from geoseg.engine.executors import cluster
from geoseg.engine.executors.capacity import Capacity, capacity
from geoseg.engine.executors.cluster import ClusterSettings, connect
from geoseg.errors import ClusterError, ConfigError
from tests.support.dask_process import dask_scheduler, dask_worker


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler with two workers, of which one offers a GPU."""
    folder = str(tmp_path_factory.mktemp("dask"))
    with ExitStack() as stack:
        address = stack.enter_context(dask_scheduler(Path(folder)))
        gpu = ("--resources", "GPU=2", "--name", "gpu")
        stack.enter_context(
            dask_worker(address, "--nthreads", "3", "--local-directory", folder, *gpu)
        )
        stack.enter_context(dask_worker(address, "--nthreads", "4", "--local-directory", folder))
        with Client(address) as client:
            client.wait_for_workers(2, timeout=60)
        yield address


def test_blocks_go_where_the_resource_is(plain: str) -> None:
    settings = ClusterSettings(address=plain, resources={"GPU": 1})
    with connect(settings) as client:
        workers = client.scheduler_info()["workers"].items()
        (gpu,) = (address for address, worker in workers if worker["name"] == "gpu")
        futures = [client.submit(os.getpid, pure=False, resources={"GPU": 1}) for _ in range(6)]
        assert set(client.gather(futures)) == set(client.run(os.getpid, workers=[gpu]).values())
        assert capacity(client) == Capacity(2, 4, 2**30)
        assert capacity(client, settings.resources) == Capacity(1, 2, 2**30)


def test_a_resource_that_nobody_offers(plain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity_module, "RESOURCE_SECONDS", 0.5)
    message = r"needs FPGA=2 and no worker at tcp://.* \(they offer GPU=2; nothing\).*--resources"
    with (
        pytest.raises(ConfigError, match=message),
        connect(ClusterSettings(address=plain, resources={"FPGA": 2})),
    ):
        pass
    with (
        pytest.raises(ConfigError, match="needs GPU=3"),
        connect(ClusterSettings(address=plain, resources={"GPU": 3})),
    ):
        pass


def test_a_scheduler_without_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "WORKER_SECONDS", 0.5)
    with (
        dask_scheduler(tmp_path) as address,
        pytest.raises(
            ClusterError, match=r"no worker for 0\.5 s; start one with 'dask worker tcp:"
        ),
        connect(ClusterSettings(address=address)),
    ):
        pass


def test_no_scheduler_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    settings = ClusterSettings(address="tcp://127.0.0.1:9")
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers"), connect(settings):
        pass


def test_tls_to_a_scheduler_without(plain: str, certificates: TlsConfig) -> None:
    settings = ClusterSettings(address=plain.replace("tcp://", "tls://"), tls=certificates)
    with pytest.raises(ConfigError, match=r"it must speak TLS"), connect(settings):
        pass
