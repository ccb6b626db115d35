"""A Dask cluster outside of geoseg, as its users start one: scheduler and workers to be killed."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from benchmarks.faults import processes
from benchmarks.faults.trial import Trial

HOST = "127.0.0.1"


class Cluster:
    """Processes of ``dask scheduler`` and ``dask worker``, on this machine only."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._port = _free_port()
        self._log = trial.folder / "dask.log"
        self.scheduler: subprocess.Popen[bytes]
        self.workers: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        """For ``--scheduler``."""
        return f"tcp://{HOST}:{self._port}"

    def start_scheduler(self) -> None:
        """``dask scheduler``, at the same address each time."""
        place = ["--host", HOST, "--port", str(self._port), "--dashboard-address", f"{HOST}:0"]
        self.scheduler = self._trial.spawn("dask", ["scheduler", *place], self._log)

    def start_worker(self) -> None:
        """``dask worker`` with its nanny and two threads: one computes, the other reads ahead."""
        place = [self.address, "--host", HOST, "--nthreads", "2", "--no-dashboard"]
        local = ["--local-directory", str(self._trial.folder)]
        self.workers.append(self._trial.spawn("dask", ["worker", *place, *local], self._log))

    def family(self, number: int) -> list[psutil.Process]:
        """A worker, its nanny first: the nanny would start it again."""
        worker = self.workers[number]
        return [psutil.Process(worker.pid), *processes.below(worker)]

    def stop(self) -> None:
        """Kill what is left; how a cluster ends is not under test."""
        for process in (*self.workers, self.scheduler):
            if process.poll() is None:
                processes.kill(*processes.below(process), psutil.Process(process.pid))
            process.wait()
        self.workers.clear()


@contextmanager
def dask_cluster(trial: Trial, workers: int) -> Iterator[Cluster]:
    """A scheduler with so many workers; gone at the end."""
    cluster = Cluster(trial)
    cluster.start_scheduler()
    try:
        for _ in range(workers):
            cluster.start_worker()
        yield cluster
    finally:
        cluster.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
