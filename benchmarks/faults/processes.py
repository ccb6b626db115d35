"""Real processes: started with a mark in their environment, so that none can go missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.scene import ROOT

MARK = "GEOSEG_FAULTS_TRIAL"
INTERVAL = 0.01


def start(
    mark: str, module: str, arguments: list[str], log: Path, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """``python -m module``, in a process group of its own, with output and errors in ``log``."""
    _hear_interrupts()
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, **env, MARK: mark},
            start_new_session=True,
        )


def _hear_interrupts() -> None:
    """A shell's background jobs ignore Ctrl-C, and so would their children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def marked(mark: str) -> list[psutil.Process]:
    """Every living process with that mark: the one started, and all that it started."""
    return [process for process in psutil.process_iter() if _mark_of(process) == mark]


def _mark_of(process: psutil.Process) -> str | None:
    with suppress(psutil.Error):
        if process.status() != psutil.STATUS_ZOMBIE:
            return str(process.environ().get(MARK, "")) or None
    return None


def below(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """All descendants of a process."""
    return list(psutil.Process(process.pid).children(recursive=True))


def workers_below(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The Dask workers among them: those that compute, not the nannies."""
    return [child for child in below(process) if "spawn_main" in command(child)]


def command(process: psutil.Process) -> str:
    """A process's command line; empty where it is gone."""
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def kill(*processes: psutil.Process) -> None:
    """kill -9."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def until(condition: Callable[[], object], seconds: float) -> bool:
    """Wait for a condition, at most so long; returns whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(INTERVAL)
    return True
