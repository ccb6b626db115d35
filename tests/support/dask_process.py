"""A Dask scheduler and its workers, each in its own process, as an operator starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def dask_scheduler(folder: Path, *arguments: str) -> Iterator[str]:
    """``dask scheduler`` on a free port; yields its address."""
    file = folder / "scheduler.json"
    free = ("--port", "0", "--dashboard-address", "127.0.0.1:0")
    with _process("scheduler", "--scheduler-file", str(file), *free, *arguments) as process:
        deadline = time.monotonic() + 60
        while not file.is_file() or '"address"' not in file.read_text():
            assert process.poll() is None, "the scheduler ended"
            assert time.monotonic() < deadline, "the scheduler does not start"
            time.sleep(0.1)
        yield file.read_text().split('"address": "')[1].split('"')[0]


@contextmanager
def dask_worker(address: str, *arguments: str) -> Iterator[None]:
    """``dask worker`` of an address."""
    options = ("--no-dashboard", "--memory-limit", "1GiB", "--death-timeout", "60")
    with _process("worker", address, *options, *arguments):
        yield


def die() -> None:
    """A task that takes its worker with it."""
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def _process(command: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    line = [sys.executable, "-m", "dask", command, "--host", "127.0.0.1", *arguments]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
