"""Leaves no orphan when ``geoseg run`` is killed: its Prefect server and Dask workers go with it.

kill -9 gives a process no chance to stop what it started. So a small process of its own waits at the
reading end of a pipe whose writing end only the run holds: it closes when the run ends in whatever
way, and what the run told of and is still there is then terminated. After a normal end nothing is.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from threading import Thread

import psutil

OURS = ("prefect.server.api.server:create_app", "multiprocessing.spawn")
"""In the command lines of what a run starts: Prefect's temporary server, Dask's worker processes."""

GRACE_SECONDS = 5
"""Between asking a process to end and killing it."""

INTERVALS = (*[1.0] * 60, 10.0)
"""Seconds before each poll for children: most come in the first minute, a worker that is started
again may come at any time. The last one repeats."""


@cache
def start() -> None:
    """Watch over this process from now on; once is enough."""
    reading, writing = os.pipe()
    # A session of its own: neither Ctrl-C nor a kill of the run's process group reaches it. And
    # nobody shall wait for its output: a pipe behind the run would stay open as long as it.
    subprocess.Popen(
        [sys.executable, "-P", __file__, str(reading)],
        pass_fds=(reading,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    os.close(reading)
    Thread(target=_tell, args=(writing,), name="guard", daemon=True).start()


def _tell(writing: int) -> None:
    """Tell the guard of each child, by its number and the moment of its start."""
    told: set[psutil.Process] = set()
    for seconds in _waits():
        time.sleep(seconds)
        with suppress(psutil.Error):
            for child in set(psutil.Process().children(recursive=True)) - told:
                told.add(child)
                if _is_ours(child) and not _write(
                    writing, f"{child.pid} {child.create_time()!r}\n"
                ):
                    return


def _waits() -> Iterator[float]:
    yield from INTERVALS
    while True:
        yield INTERVALS[-1]


def _is_ours(child: psutil.Process) -> bool:
    with suppress(psutil.Error):
        command = " ".join(child.cmdline())
        return any(name in command for name in OURS)
    return False


def _write(writing: int, line: str) -> bool:
    """Whether somebody still reads."""
    with suppress(BrokenPipeError):
        return os.write(writing, line.encode()) > 0
    return False


def main(reading: int) -> None:
    """Read what the run tells, to the end of the run; then end what it left behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with os.fdopen(reading) as lines:
        told = [line.split() for line in lines if line.endswith("\n")]
    left = list(_living(told))
    for process in left:
        with suppress(psutil.Error):
            process.terminate()
    _, stubborn = psutil.wait_procs(left, timeout=GRACE_SECONDS)
    for process in stubborn:
        with suppress(psutil.Error):
            process.kill()


def _living(told: Iterable[list[str]]) -> Iterator[psutil.Process]:
    """Those that still run: another process may have got a number since, but not the same start."""
    for pid, started in told:
        with suppress(psutil.Error):
            process = psutil.Process(int(pid))
            if repr(process.create_time()) == started:
                yield process


if __name__ == "__main__":
    main(int(sys.argv[1]))
