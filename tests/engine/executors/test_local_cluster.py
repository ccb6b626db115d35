"""Workers on this machine: a GPU each, no door to the network, and back after a death."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
from distributed import Client, KilledWorker

from geoseg.engine.executors import local_cluster
from geoseg.engine.executors.capacity import Capacity, capacity
from geoseg.engine.executors.cluster import ClusterSettings, connect
from geoseg.engine.executors.dask import DaskExecutor
from tests.support.dask_process import die


@pytest.fixture(scope="module")
def here() -> Iterator[Client]:
    """Two workers of this machine, each made to believe in a GPU of its own."""
    before = dict(os.environ)
    settings = ClusterSettings(workers=2, gpus=("0", "GPU-b"), resources={"GPU": 0.5})
    with connect(settings) as client:
        yield client
    assert dict(os.environ) == before, "Dask's settings for workers stayed in this process"


def _device() -> tuple[str | None, str | None]:
    return os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("OMP_NUM_THREADS")


def _sockets(pid: int) -> list[str]:
    """Hosts at which a process listens."""
    import psutil

    connections = psutil.Process(pid).net_connections("inet")
    return [c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN]


def test_each_worker_has_its_gpu(here: Client) -> None:
    assert sorted(here.run(_device).values()) == [("0", "1"), ("GPU-b", "1")]
    threads = min(8, max(2, local_cluster.cores() // 2))
    assert capacity(here, {"GPU": 0.5}) == Capacity(2, threads, None)
    assert capacity(here, {"GPU": 0.5 * threads}).threads_per_worker == 1
    assert here.submit(int, 3, resources={"GPU": 0.5}).result(timeout=10) == 3


def test_nothing_listens_beyond_this_machine(here: Client) -> None:
    processes = [os.getpid(), *here.run(os.getpid).values()]
    hosts = [host for pid in processes for host in _sockets(pid)]
    assert len(hosts) >= 6
    assert set(hosts) == {"127.0.0.1"}


def test_a_block_that_kills_is_found_quickly_and_workers_come_back(
    here: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    before = set(here.run(os.getpid).values())
    with pytest.raises(KilledWorker, match="on 2 different workers"):
        here.submit(die, pure=False).result(timeout=60)
    deadline = time.monotonic() + 60
    while capacity(here).workers < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    after = set(here.run(os.getpid).values())
    assert len(after) == 2
    assert len(after & before) <= 1
    assert sorted(here.run(_device).values()) == [("0", "1"), ("GPU-b", "1")]
    assert capfd.readouterr().err == "", "between the progress bars"


def test_what_waits_for_others_is_schedulable_and_what_waits_for_the_dead_is() -> None:
    with connect(ClusterSettings(workers=1)) as client:
        workers = DaskExecutor.on(client, {})
        assert not workers.unschedulable(), "nothing was sent"
        with Client(client.scheduler.address) as others:
            before = [others.submit(time.sleep, 60, pure=False) for _ in range(20)]
            time.sleep(1)
            mine = [workers.submit(time.sleep, 60) for _ in range(20)]
            time.sleep(1)
            assert not any(each.done() for each in mine)
            assert not workers.unschedulable()
            for each in mine:
                each.cancel()
            others.cancel(before)
        (pid,) = client.run(os.getpid).values()
        waiting = [workers.submit_to(0, time.sleep, 60) for _ in range(5)]
        time.sleep(0.5)
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while not workers.unschedulable():
            assert time.monotonic() < deadline
            assert not any(each.done() for each in waiting)
            time.sleep(0.2)
        assert client.submit(int, pure=False).result(timeout=60) == 0, "a worker is there"
        for each in waiting:
            each.cancel()
