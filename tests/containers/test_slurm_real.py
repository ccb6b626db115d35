"""docker/slurm/area.yaml on a real SLURM: the same map as without one, whatever becomes of its jobs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from geoseg.grid import Grid
from geoseg.io import plain_yaml
from tests.support.common import ROOT, Raster
from tests.support.engine_season import BANDS, DATES, make_bundle
from tests.support.slurm_cluster import Slurm, slurm
from tests.support.stack_process import clean_environment, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

AREA = ROOT / "docker" / "slurm" / "area.yaml"
JOBS = "dask-worker"
DEATH_TIMEOUT = 60
"""Seconds; a worker's start counts, which takes a dozen on a busy machine."""
MAPS = ("area_class.tif", "area_confidence.tif")
BLOCKS = 90
# What `geoseg predict` does, with the config's cluster, as the flow of `geoseg run` does it.
PREDICT = """
import sys
from pathlib import Path
from geoseg.pipeline import predict, select, stitch
from geoseg.pipeline.run import Run
run = Run.open(Path(sys.argv[1]), Path(sys.argv[2]))
select.select_scenes(run)
predict.predict_blocks(run)
stitch.finish_map(run)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    with slurm() as found:
        yield found


@pytest.fixture(scope="module")
def area(tmp_path_factory: pytest.TempPathFactory, raster: Raster) -> Path:
    """A folder with imagery, a model, certificates, and ``out/alone``: the map made without a cluster."""
    folder = tmp_path_factory.mktemp("area")
    rng = np.random.default_rng(7)
    grid = Grid("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_100_000), 64 * 9, 64 * 10)
    for date in DATES:
        values = rng.integers(1, 4000, (len(BANDS), grid.height, grid.width)).astype(np.uint16)
        raster(folder / "imagery" / f"{date}.tif", values, 0, BANDS, grid)
    make_bundle(folder / "model")
    assert geoseg(folder, "certificates", "keys").wait(60) == 0
    made = geoseg(
        folder, "predict", str(config(folder, "alone", class_=None)), "--output", "out/alone"
    )
    assert made.wait(200) == 0, said(folder)
    return folder


def config(folder: Path, name: str, class_: str | None = "", workers: int = 2, **own: Any) -> Path:
    """area.yaml with what is site's own replaced, small, and the timeouts short."""
    content = plain_yaml.load(AREA.read_text())
    content["imagery"]["folder"] = str(folder / "imagery")
    content["model"]["bundle"] = str(folder / "model")
    content["predict"] = {"core": 64, "margin": 96, "block": 64, "precision": "fp32"}
    section = content["cluster"]
    if class_ is None:
        content["cluster"] = {"workers": 0}
    else:
        section["workers"] = workers
        words = section["options"]["worker_extra_args"]
        words[words.index("--death-timeout") + 1] = str(DEATH_TIMEOUT)
        for option, value in own.pop("words", {}).items():
            words[words.index(option) + 1] = value
        section["options"] |= {
            "interface": "lo", "memory": "2GiB", "local_directory": str(folder / "scratch"),
            "scheduler_options": {**section["options"]["scheduler_options"], "interface": "lo"},
            **own,
        }  # fmt: skip
    path = folder / f"{name}.yaml"
    path.write_text(plain_yaml.dump(content))
    return path


def geoseg(folder: Path, *command: str, **env: str) -> subprocess.Popen[bytes]:
    """The command line in that folder, begun."""
    return python(folder, "-m", "geoseg", *command, **env)


def predict(folder: Path, name: str, **env: str) -> subprocess.Popen[bytes]:
    """A prediction by jobs, begun."""
    return python(folder, "-c", PREDICT, f"{name}.yaml", f"out/{name}", **env)


def python(folder: Path, *command: str, **env: str) -> subprocess.Popen[bytes]:
    with (folder / "said").open("wb") as out:
        return subprocess.Popen(
            [sys.executable, *command], cwd=folder, stdout=out, stderr=out,
            env={**clean_environment(), "PREFECT_HOME": str(folder / "prefect"),
                 "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "150", **env},
        )  # fmt: skip


def said(folder: Path) -> str:
    logs = sorted((folder / "logs").glob("*.err"))[-4:]
    return "\n".join(path.read_text()[-3000:] for path in [folder / "said", *logs])


def blocks(output: Path) -> int:
    return len(list(output.glob("work/blocks-*/r*.json")))


def require_same(area: Path, output: Path) -> None:
    for name in MAPS:
        assert (output / name).read_bytes() == (area / "out/alone" / name).read_bytes(), name


def begun(cluster: Slurm, area: Path, name: str, count: int, **own: Any) -> subprocess.Popen[bytes]:
    """A prediction by jobs of the cluster that has finished some blocks."""
    wait_for(lambda: not cluster.jobs(), 60)
    config(area, name, **own)
    output, run = area / "out" / name, predict(area, name, **cluster.env)
    wait_for(lambda: blocks(output) >= count or run.poll() is not None, 120)
    assert run.poll() is None, said(area)
    assert blocks(output) < BLOCKS, "it was over before the fault"
    return run


def ended(cluster: Slurm, area: Path, run: subprocess.Popen[bytes]) -> None:
    """The run ends well, and its jobs with it."""
    assert run.wait(200) == 0, said(area)
    since = time.monotonic()
    wait_for(lambda: not cluster.jobs(), DEATH_TIMEOUT)
    print(f"no job is left {time.monotonic() - since:.1f} s after the run")


def test_the_map_is_the_same(cluster: Slurm, area: Path) -> None:
    path, output = config(area, "jobs"), area / "out/jobs"
    run = geoseg(area, "run", str(path), "--output", str(output), **cluster.env)
    wait_for(lambda: len(cluster.jobs(JOBS, "running")) == 2 or run.poll() is not None, 120)
    shown = cluster.call("squeue", "--noheader", "--format=%P %a %C %m %l %b")
    ended(cluster, area, run)
    assert shown.splitlines() == ["gpu crops 4 2G 2:00:00 gres:gpu:1"] * 2
    require_same(area, output)


def test_a_job_that_is_cancelled_is_replaced(cluster: Slurm, area: Path) -> None:
    """The only one: without another the run would end for want of workers."""
    run = begun(cluster, area, "cancelled", 5, workers=1)
    (job,) = cluster.jobs(JOBS)
    cluster.call("scancel", job)
    ended(cluster, area, run)
    require_same(area, area / "out/cancelled")


def test_a_worker_that_is_killed(cluster: Slurm, area: Path) -> None:
    run = begun(cluster, area, "killed", 5)
    for process in cluster.of_job(cluster.jobs(JOBS)[0]):
        process.kill()
    ended(cluster, area, run)
    require_same(area, area / "out/killed")


def test_a_run_that_is_killed_leaves_no_job(cluster: Slurm, area: Path) -> None:
    """Neither those that run nor the one that waits: each of the two nodes has cores for one."""
    run = begun(cluster, area, "orphaned", 5, workers=3)
    assert cluster.jobs(JOBS, "pending")
    run.send_signal(signal.SIGKILL)
    run.wait()
    since = time.monotonic()
    wait_for(lambda: not cluster.jobs(), 3 * DEATH_TIMEOUT)
    print(f"no job is left {time.monotonic() - since:.1f} s after kill -9")
    again = predict(area, "orphaned", **cluster.env)  # goes on from the blocks
    ended(cluster, area, again)
    require_same(area, area / "out/orphaned")
