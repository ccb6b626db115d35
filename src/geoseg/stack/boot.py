"""The stack as one process in the foreground, for systemd to start at boot and again when it died."""

from __future__ import annotations

import os
import signal
import socket
import time

import psutil

from geoseg.stack.lifecycle import Say, down, up
from geoseg.stack.settings import StackError, StackFolder
from geoseg.stack.supervisor import Supervisor

_LOOK_SECONDS = 1


def run(folder: StackFolder, say: Say) -> None:
    """``up``, then wait until somebody says ``down``; SIGTERM and Ctrl-C do so too.

    Raises what ``up`` raises, and ``StackError`` where supervisord ended by itself.
    """
    systemd = os.environ.pop("NOTIFY_SOCKET", "")  # no business of the services, nor of the runs
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    try:
        up(folder, say)
        _notify(systemd, "READY=1")
        _await_end(folder)
    except KeyboardInterrupt:
        say("stack: told to stop")
        down(folder, say)


def _await_end(folder: StackFolder) -> None:
    pid = Supervisor(folder).pid
    while pid and _lives(pid):
        time.sleep(_LOOK_SECONDS)
    if not folder.stopped.exists():
        raise StackError(
            f"supervisord (process {pid}) is gone, and nobody said 'down'; its log: "
            f"{folder.logs / 'supervisord.log'}. The same command starts all anew"
        )


def _lives(pid: int) -> bool:
    # Not by its socket: while supervisord stops its services it answers with faults.
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _notify(address: str, message: str) -> None:
    """sd_notify(3): tell systemd, if it is that which started this process."""
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            # An abstract socket's name begins with a zero byte, which a variable cannot hold.
            door.sendto(message.encode(), "\0" + address[1:] if address[0] == "@" else address)
