"""Dask workers on this machine: how many, on which device, and starting them."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.model.memory import ENVIRONMENT

if TYPE_CHECKING:
    from distributed import Security, SpecCluster

LOOPBACK = "127.0.0.1"
READERS = 8
"""Dask threads of a GPU worker at most: one block is predicted while the others are read."""
_NETWORK_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_SILENT = {"DASK_LOGGING__DISTRIBUTED": "critical"}
"""A worker whose parent was killed has nothing to tell; what fails comes back with the block."""
_PROC = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, slots=True)
class LocalWorkers:
    """Worker processes of one machine, all alike but for their GPU."""

    processes: int
    threads: int
    """Dask threads of each: blocks that it holds at once."""
    gpus: tuple[str, ...] = ()
    """Devices as ``CUDA_VISIBLE_DEVICES`` names them, dealt out in turn; () where there are none."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """What each worker offers."""

    def options(self, number: int) -> dict[str, Any]:
        """Arguments of one worker's nanny."""
        gpu = {"CUDA_VISIBLE_DEVICES": self.gpus[number % len(self.gpus)]} if self.gpus else {}
        return {
            "nthreads": self.threads,
            "resources": dict(self.resources),
            "env": gpu,
            # Blocks are made to fit before the run; a worker paused or killed at a share of the
            # machine's memory would only turn a slow run into a broken one.
            "memory_limit": 0,
            # What a worker tells of its coming and going would stand between the progress bars.
            "silence_logs": logging.CRITICAL,
        }


def cores() -> int:
    """Cores this process may use: of the machine, its affinity and its container's quota."""
    from dask.system import cpu_count  # noqa: PLC0415

    return max(1, cpu_count())


def visible_gpus() -> tuple[str, ...]:
    """The CUDA devices of this process, as ``CUDA_VISIBLE_DEVICES`` names them.

    Asks the driver and not torch, whose CUDA context would take the flow's process 500 MB.
    """
    there = _driver_gpus()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None or not there:
        return tuple(str(number) for number in range(there))
    gpus: list[str] = []
    for name in (part.strip() for part in named.split(",")):
        if name in ("", "-1"):  # as CUDA does: what comes after an invalid one is invisible
            break
        gpus.append(name)
    return tuple(gpus)


def _driver_gpus() -> int:
    """How many GPUs the NVIDIA driver shows."""
    tool = shutil.which("nvidia-smi")
    if tool:
        command = [tool, "-L"]
        try:
            listed = subprocess.run(
                command, capture_output=True, text=True, timeout=20, check=True
            ).stdout
        except (OSError, subprocess.SubprocessError):
            return 0  # a tool without its driver: an image for GPUs on a machine without one
        return sum(line.startswith("GPU ") for line in listed.splitlines())
    return len(list(_PROC.iterdir())) if _PROC.is_dir() else 0


@contextmanager
def start(workers: LocalWorkers, security: Security) -> Iterator[SpecCluster]:
    """A scheduler in this process and its workers, for this machine only; stopped at the end.

    The same as Dask's ``LocalCluster``, whose workers cannot differ in their environment.
    """
    import dask  # noqa: PLC0415
    from distributed import Nanny, Scheduler, SpecCluster  # noqa: PLC0415

    common = {
        "protocol": "tls://" if security.require_encryption else "tcp://",
        "host": LOOPBACK,
        "security": security,
        # No dashboard. The little web server for /health is there in any case: a free port, and
        # loopback only, where Dask's default is 8787 and a warning in the second run beside it.
        "dashboard": False,
        "dashboard_address": f"{LOOPBACK}:0",
    }
    specs = {
        number: {"cls": Nanny, "options": {**common, **workers.options(number)}}
        for number in range(workers.processes)
    }
    scheduler = {"cls": Scheduler, "options": {**common, "port": 0, **blame()}}
    # A worker that died is started again by its nanny. If that takes longer than this, Dask takes
    # it off the list for good: the default of 15 s is short for a machine that swaps.
    settings = {
        "distributed.deploy.lost-worker-timeout": "120s",
        "distributed.nanny.pre-spawn-environ": {**_NETWORK_THREADS, **ENVIRONMENT, **_SILENT},
    }
    with _same_environment(), dask.config.set(settings):
        with _deaf_to_ctrl_c():
            cluster = SpecCluster(workers=specs, scheduler=scheduler, security=security)
        with cluster:
            yield cluster


def blame() -> dict[str, int]:
    """How many workers a block may kill before it is found guilty: the first may be bad luck.

    A dying worker takes the blocks of all its threads with it, and each try of a poisonous one costs
    a new process and its neighbours' work; Dask's default of 3 lets it kill four.
    """
    return {"allowed_failures": 1}


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Threads begun in the body, and the workers they start, do not get Ctrl-C.

    A terminal sends it to every process, and each worker would die of it with a traceback: this one
    alone is to hear it, and stops them. A blocked signal is inherited by threads and processes.
    """
    # Python's own helper first: starting it takes every block off the signal.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _same_environment() -> Iterator[None]:
    """Undo what Dask writes into this process for its children: one OpenMP thread, an eager malloc.

    What runs here afterwards, or is started from here, is not one of many workers on the machine.
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
