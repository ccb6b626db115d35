"""Running one program as its users do, and what it cost: wall and CPU seconds, peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

INTERVAL = 0.05
MIB = 2**20


class ProgramError(Exception):
    """A program that did not end well, with the end of what it printed."""


@dataclass(frozen=True)
class Usage:
    """What one run cost."""

    seconds: float
    """Wall time from before the process started until it ended."""
    cpu_seconds: float
    """User and system time of the process and of every child it waited for."""
    peak_rss_mb: float
    """Largest sum of resident memory over the process tree (MiB); pages shared count each time."""
    peak_pss_mb: float
    """The same with shared pages split among their users; sampled at every tenth poll only, and only
    where the tree has more than one process (elsewhere it is the resident memory)."""
    load_before: float
    """Load average of the last minute before the start: above 0.5, mistrust the run."""
    said: dict[str, Any]
    """The JSON of the program's last line, if it is any."""


def run(command: Sequence[str | Path], log: Path, folder: Path) -> Usage:
    """Run ``command`` in ``folder``, its output in ``log``; ``ProgramError`` where it fails."""
    load = os.getloadavg()[0]
    memory = _Memory()
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command], cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
        status, usage = _watch(process, memory)
        seconds = time.perf_counter() - began
    if status:
        raise ProgramError(f"exit status {status}: ...{log.read_text(errors='replace')[-1500:]}")
    peak = max(memory.rss, usage.ru_maxrss * 1024)  # the kernel sees peaks between two polls
    return Usage(
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_rss_mb=peak / MIB,
        peak_pss_mb=(memory.pss if memory.several else peak) / MIB,
        load_before=load,
        said=_last_json(log),
    )


@dataclass
class _Memory:
    """Peaks so far, in bytes."""

    rss: int = 0
    pss: int = 0
    several: bool = False
    polls: int = 0

    def poll(self, root: psutil.Process) -> None:
        with suppress(psutil.NoSuchProcess):
            tree = [root, *root.children(recursive=True)]
            self.rss = max(self.rss, sum(_resident(process) for process in tree))
            self.several |= len(tree) > 1
            if self.several and self.polls % 10 == 0:
                self.pss = max(self.pss, sum(_proportional(process) for process in tree))
        self.polls += 1


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _proportional(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_full_info().pss)
    return 0


def _watch(process: subprocess.Popen[bytes], memory: _Memory) -> tuple[int, Any]:
    """Poll until the process ends; its exit status and the kernel's record of what it used."""
    # Where memory runs out, the kernel is to end the program and not the benchmark.
    with suppress(OSError):
        Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000")
    root = psutil.Process(process.pid)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage
        memory.poll(root)
        time.sleep(INTERVAL)


def _last_json(log: Path) -> dict[str, Any]:
    lines = log.read_text(errors="replace").strip().splitlines()
    with suppress(json.JSONDecodeError, IndexError):
        content = json.loads(lines[-1])
        return content if isinstance(content, dict) else {}
    return {}
