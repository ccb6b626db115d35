"""One run in a folder at a time, and a lock that outlives no process: real processes, real kills."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from geoseg.errors import BusyError, OutputError
from geoseg.io.locks import holding, is_held

HOLDER = """
import multiprocessing, os, subprocess, sys, time
from pathlib import Path
from geoseg.io.locks import holding

if __name__ == "__main__":
    with holding(Path(sys.argv[1])):
        started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        spawned = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
        spawned.start()
        forked = os.fork()
        if forked == 0:
            print(end="begun ", flush=True)
            time.sleep(60)
        time.sleep(0.2)
        print(started.pid, spawned.pid, forked, flush=True)
        time.sleep(60)
"""


@contextmanager
def _holder(folder: Path, script: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process that has the folder, with a child of each kind: started, spawned, forked."""
    script.write_text(HOLDER)
    command = [sys.executable, str(script), str(folder)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    children = [int(pid) for pid in holder.stdout.readline().split()[1:]]
    try:
        yield holder, children
    finally:
        for pid in (holder.pid, *children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        holder.wait()


def _alive(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return state != "Z"


def test_a_second_run_is_told_who_is_there(tmp_path: Path) -> None:
    with _holder(tmp_path / "out", tmp_path / "holder.py") as (holder, _):
        began = time.monotonic()
        with pytest.raises(BusyError, match=rf"out: .*process {holder.pid} on .*--output"):
            holding(tmp_path / "out").__enter__()
        assert time.monotonic() - began < 1
        assert is_held(tmp_path / "out")
        with holding(tmp_path / "other"):
            pass
    assert not is_held(tmp_path / "out")
    assert not is_held(tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_a_killed_holder_whose_children_live_lets_go(tmp_path: Path) -> None:
    with _holder(tmp_path, tmp_path / "holder.py") as (holder, children):
        holder.kill()
        holder.wait()
        assert len(children) == 3
        assert all(map(_alive, children))
        with holding(tmp_path):
            assert json.loads((tmp_path / "work/.lock").read_text())["pid"] == os.getpid()


def test_a_forked_child_that_ends_leaves_the_lock_alone(tmp_path: Path) -> None:
    with holding(tmp_path):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(BusyError, match=f"process {os.getpid()}"):
            holding(tmp_path).__enter__()


def test_a_lock_is_free_after_its_body(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), holding(tmp_path):
        raise RuntimeError
    assert (tmp_path / "work/.lock").read_text() == ""
    with holding(tmp_path):
        pass


def test_a_holder_that_has_not_signed_yet(tmp_path: Path) -> None:
    lock = tmp_path / "work/.lock"
    lock.parent.mkdir()
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="it has just begun"):
            holding(tmp_path).__enter__()


def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No such file system is at hand: the kernel's answer is played, on this folder only."""
    real = fcntl.flock
    folder, temporary = tmp_path / "lustre", tmp_path / "tmp"
    temporary.mkdir()

    def flock(handle: int, operation: int) -> None:
        if os.readlink(f"/proc/self/fd/{handle}").startswith(str(folder)):
            raise OSError(errno.ENOSYS, "Function not implemented")
        real(handle, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    # As it is before anybody has said where the log goes.
    monkeypatch.setattr(logging.getLogger("geoseg"), "propagate", True)
    caplog.set_level(logging.WARNING, "geoseg")
    with holding(folder):
        with pytest.raises(BusyError, match=f"process {os.getpid()}"):
            holding(folder).__enter__()
        assert "without locks: runs on other machines are not kept out" in caplog.text
    with holding(folder):
        pass


def test_a_folder_where_no_lock_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "work/.lock").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"work/\.lock: cannot be locked: Is a directory"):
        holding(tmp_path).__enter__()


@pytest.mark.parametrize("command", ["train", "predict"])
def test_commands_keep_out_of_a_busy_folder(
    command: str, small_area: Path, geoseg: Callable[..., Any], tmp_path: Path
) -> None:
    with holding(tmp_path / "out"):
        code, _, err = geoseg(command, str(small_area / "small.yaml"), "-o", str(tmp_path / "out"))
    assert code == 2
    assert "another run works in this folder" in err


@pytest.mark.flow
@pytest.mark.slow
def test_the_flow_keeps_out_of_a_busy_folder(
    small_area: Path, geoseg: Callable[..., Any], tmp_path: Path
) -> None:
    with holding(tmp_path / "out"):
        code, _, err = geoseg("run", str(small_area / "small.yaml"), "-o", str(tmp_path / "out"))
    assert code == 2
    assert "another run works in this folder" in err
