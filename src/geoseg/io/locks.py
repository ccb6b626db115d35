"""One run at a time in a folder: a lock that the kernel frees when its process ends, however it ends."""

from __future__ import annotations

import datetime as dt
import errno
import hashlib
import json
import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from geoseg.errors import BusyError, OutputError
from geoseg.io import files

_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""How a file system says that it knows no ``flock``: Lustre and 9p may, as they are mounted."""


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Keep every other run out of a run's folder while the body works.

    ``work/.lock`` in it says who has it: process, machine, since when. The lock itself is the
    kernel's (``flock``): where its process was killed or its machine restarted it is free, and the
    file that stays behind means nothing. On a file system without ``flock`` the lock lies among the
    machine's temporary files, with a warning: there it keeps out runs on this machine only.
    Raises ``BusyError`` at once where another run is in, ``OutputError`` where no lock can be made.
    """
    path = files.make_folder(folder / "work") / ".lock"
    lock = _acquire(path, folder)
    try:
        yield
    finally:
        with suppress(OSError):  # it would hide what went wrong before it
            Path(lock.lock_file).write_text("")
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether a run is in the folder now. Raises ``OutputError`` where that cannot be told."""
    if not (folder / "work" / ".lock").exists():
        return False
    try:
        with holding(folder):
            return False
    except BusyError:
        return True


def _acquire(path: Path, folder: Path) -> FileLock:
    """The lock, taken."""
    try:
        try:
            return _lock(path, folder)
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
            logging.getLogger("geoseg").warning(
                "%s lies on a file system without locks: runs on other machines are not kept out; "
                "mount it with locks (Lustre: -o flock), or start no two runs there",
                folder,
            )
            return _lock(_substitute(path), folder)
    except OSError as error:
        raise OutputError(
            f"{error.filename or path}: cannot be locked: {error.strerror}; two runs could spoil "
            "each other's results. Choose another --output, or change its permissions."
        ) from error


def _lock(path: Path, folder: Path) -> FileLock:
    # A soft lock, the library's substitute, would outlive a process that is killed.
    lock = FileLock(
        path, timeout=0, mode=0o644, fallback_to_soft=False, preserve_lock_file=True,
        on_acquired=_sign,
    )  # fmt: skip
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(
            f"{folder}: another run works in this folder ({_holder(path)}); wait until it has "
            "ended, or stop it, and run the same command, or choose another --output"
        ) from None
    return lock


def _substitute(path: Path) -> Path:
    """Where the lock of a folder lies that cannot hold one."""
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]
    return Path(tempfile.gettempdir()) / f"geoseg-{os.getuid()}-{name}.lock"


def _sign(handle: int) -> None:
    """Say who has the lock. For people only, so a full disk does not matter."""
    now = dt.datetime.now().astimezone().isoformat(timespec="seconds")
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now})
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode(), 0)


def _holder(path: Path) -> str:
    try:
        found = json.loads(path.read_text())
        return f"process {found['pid']} on {found['host']}, since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # between its lock and its signature
        return "it has just begun"
