"""Processes of a stack that supervisord does not hold: runs, and those it left when it was killed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psutil

from geoseg.stack.services import MARK
from geoseg.stack.settings import StackFolder

PATIENCE = 10
"""Seconds to end by oneself when told to."""


def members(folder: StackFolder) -> list[psutil.Process]:
    """All processes that this stack started, and what those started, but this one and its parents."""
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [each for each in _marked(folder) if each.pid not in mine]


def _marked(folder: StackFolder) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(folder.root):
                yield process
        except (psutil.Error, OSError):  # another user's, or gone meanwhile
            continue


def stop(processes: list[psutil.Process]) -> None:
    """Ask the processes to end, and end those that do not."""
    for process in processes:
        _tell(process, kill=False)
    _, stubborn = psutil.wait_procs(processes, timeout=PATIENCE)
    for process in stubborn:
        _tell(process, kill=True)
    psutil.wait_procs(stubborn, timeout=PATIENCE)


def _tell(process: psutil.Process, kill: bool) -> None:
    try:
        if kill:
            process.kill()
        else:
            process.terminate()
    except psutil.NoSuchProcess:
        pass


def is_run(process: psutil.Process) -> bool:
    """Whether the process is a flow run, or was started by one."""
    try:
        return "PREFECT__FLOW_RUN_ID" in process.environ()
    except (psutil.Error, OSError):
        return False
