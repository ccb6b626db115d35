"""Nothing is left of a run that was killed: real processes, found by a mark in their environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from geoseg.flows import orphan_reaper
from geoseg.grid import Grid
from geoseg.io import plain_yaml
from geoseg.io.raster import geotiffs
from tests.support.common import ROOT
from tests.support.engine_season import BANDS, make_bundle

MARK = "GEOSEG_TEST_MARK"

PARENT = """
import subprocess, sys, time
from geoseg.flows import orphan_reaper as guard
guard.INTERVALS = (0.1,)
guard.start()
sleep = "import signal, time; signal.signal(signal.SIGTERM, {}); print(1, flush=True); time.sleep(60)"
def child(answer, *name):
    command = [sys.executable, "-c", sleep.format(answer), *name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process
ours = child("signal.SIG_DFL", "multiprocessing.spawn")
deaf = child("signal.SIG_IGN", "prefect.server.api.server:create_app")
other = child("signal.SIG_DFL", "a program of the user's")
time.sleep(1)
print(ours.pid, deaf.pid, other.pid, flush=True)
if sys.argv[1] == "stay":
    time.sleep(60)
for process in (ours, deaf, other):
    process.kill()
"""


@pytest.fixture
def mark() -> Iterator[str]:
    """A mark for processes; whatever still has it at the end is killed."""
    mark = uuid.uuid4().hex
    yield mark
    for process in _marked(mark):
        with suppress(psutil.Error):
            process.kill()


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            living = process.status() != psutil.STATUS_ZOMBIE
            if living and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def _parent(mark: str, how: str) -> tuple[subprocess.Popen[str], list[int]]:
    command = [sys.executable, "-c", PARENT, how]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, MARK: mark}
    )
    assert process.stdout
    return process, [int(word) for word in process.stdout.readline().split()]


def _until(condition: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_what_a_killed_run_leaves_behind_ends(mark: str) -> None:
    process, (ours, deaf, other) = _parent(mark, "stay")
    assert {ours, deaf, other, process.pid} < {found.pid for found in _marked(mark)}
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert _until(lambda: [found.pid for found in _marked(mark)] == [other], 15), (
        "what the run started ends, by force if need be, and the guard; nothing else does"
    )


def test_ctrl_c_does_not_reach_it(mark: str) -> None:
    process, pids = _parent(mark, "stay")
    (warden,) = (p for p in _marked(mark) if p.pid not in (process.pid, *pids))
    assert os.getsid(warden.pid) == warden.pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        warden.send_signal(number)
    time.sleep(0.3)
    assert warden.is_running()
    process.kill()
    process.wait()


def test_quiet_after_a_normal_end(mark: str) -> None:
    process, _ = _parent(mark, "leave")
    assert process.wait(20) == 0
    assert _until(lambda: not _marked(mark), 5)


def test_a_number_given_again_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        started = psutil.Process(process.pid).create_time()
        told = [str(process.pid), repr(started)]
        later = [str(process.pid), repr(started + 1)]
        gone = ["4194303", repr(started)]
        assert [found.pid for found in orphan_reaper._living([later, told, gone])] == [process.pid]
        assert not list(orphan_reaper._living([later]))
        process.kill()


@pytest.fixture
def long_run(tmp_path: Path) -> Path:
    """A run of a thousand blocks, with a model that is there."""
    import numpy as np
    from affine import Affine

    grid = Grid("EPSG:32631", Affine(10, 0, 5e5, 0, -10, 5.6e6), 2048, 2048)
    rng = np.random.default_rng(3)
    for date in ("2025-04-01", "2025-06-01"):
        spec = geotiffs.RasterSpec("uint16", 2, 0, BANDS)
        with geotiffs.create(tmp_path / f"season/{date}.tif", grid, spec) as target:
            target.write(rng.integers(1, 4000, (2, 2048, 2048)).astype(np.uint16), grid.window)
    content = {
        "name": "long",
        "imagery": {"folder": "season"},
        "model": {"bundle": str(make_bundle(tmp_path / "model"))},
        "predict": {"core": 64, "margin": 32, "block": 64, "precision": "fp32"},
        "cluster": {"workers": 2, "concurrency": 1},
    }
    path = tmp_path / "long.yaml"
    path.write_text(plain_yaml.dump(content))
    return path


@pytest.mark.flow
@pytest.mark.slow
def test_kill_9_of_geoseg_run_leaves_no_process(long_run: Path, mark: str) -> None:
    output = long_run.parent / "out"
    env = {**os.environ, MARK: mark, "PREFECT_HOME": str(long_run.parent / "prefect")}
    env.pop("PREFECT_API_URL", None)
    log = long_run.parent / "run.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "geoseg", "run", str(long_run), "-o", str(output)],
            stdout=out, stderr=out, cwd=ROOT, env=env,
        )  # fmt: skip
    assert _until(lambda: len(list(output.glob("work/blocks-*/r*.json"))) > 10, 200), (
        log.read_text()
    )
    time.sleep(2)
    commands = "\n".join(" ".join(found.cmdline()) for found in _marked(mark))
    assert "prefect.server.api.server:create_app" in commands
    assert commands.count("--multiprocessing-fork") == 2
    assert "guard.py" in commands
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(output.glob("work/blocks-*/r*.json"))) < 1024, "killed while it predicted"
    assert _until(lambda: not _marked(mark), 15), [p.cmdline() for p in _marked(mark)]
