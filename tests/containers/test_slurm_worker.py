"""docker/slurm/prefect-worker.sbatch on a real SLURM, for a real Prefect server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.common import ROOT
from tests.support.postgres import free_port
from tests.support.slurm_cluster import Slurm, slurm
from tests.support.stack_process import clean_environment, wait_for

pytestmark = [pytest.mark.flow, pytest.mark.slow, pytest.mark.timeout(900)]

SCRIPT = ROOT / "docker" / "slurm" / "prefect-worker.sbatch"
NAME = "geoseg-worker"
# A flow that holds its job up, and tells which one it was.
SLEEPER = """
import os, pathlib, time
from prefect import flow

@flow
def sleeper(name: str, seconds: float = 0) -> None:
    pathlib.Path(name).write_text(os.environ["SLURM_JOB_ID"])
    time.sleep(seconds)
"""
PROJECT = """
deployments:
  - name: test
    entrypoint: sleeper.py:sleeper
    work_pool: {name: geoseg, work_queue_name: default}
"""


@dataclass(frozen=True)
class Place:
    """GEOSEG_HOME of a worker on a cluster, and the server that it asks for runs."""

    cluster: Slurm
    home: Path
    url: str

    def submit(self) -> None:
        """As the operator does it."""
        given = {"GEOSEG_HOME": str(self.home), "GEOSEG_LEAST": "5"}
        self.cluster.call("sbatch", "--account=crops", str(SCRIPT), cwd=self.home, **given)

    def queue(self) -> list[str]:
        """The worker's jobs: state, reason, account and partition of each."""
        shown = self.cluster.call(
            "squeue", f"--name={NAME}", "--noheader", "--sort=i", "--format=%i %T %r %a %P"
        )
        return shown.splitlines()

    def wait_for_queue(self, *wanted: str) -> None:
        try:
            wait_for(lambda: self.queue() == list(wanted), 120)
        except AssertionError:
            raise AssertionError(f"{self.queue()}\n{self.said()}") from None

    def api(self, path: str, content: object = None, method: str = "POST") -> Any:
        answer = httpx.request(method, f"{self.url}/{path}", json=content, timeout=60)
        return answer.raise_for_status().json() if answer.content else None

    def start(self, name: str, seconds: float = 0) -> str:
        """A run of the sleeper; its id."""
        found = self.api("deployments/name/sleeper/test", method="GET")
        wanted = {"parameters": {"name": name, "seconds": seconds}, "state": {"type": "SCHEDULED"}}
        return str(self.api(f"deployments/{found['id']}/create_flow_run", wanted)["id"])

    def state(self, run: str) -> str:
        return str(self.api(f"flow_runs/{run}", method="GET")["state"]["type"])

    def wait_for_state(self, run: str, state: str) -> None:
        try:
            wait_for(lambda: self.state(run) == state, 180)
        except AssertionError:
            raise AssertionError(f"{self.state(run)}, not {state}\n{self.said()}") from None

    def job_of(self, name: str) -> str:
        """The job that a run was in."""
        return (self.home / name).read_text()

    def paused(self) -> bool:
        return bool(self.api("work_pools/geoseg/queues/default", method="GET")["is_paused"])

    def said(self) -> str:
        log = self.home / f"{NAME}.log"
        return log.read_text()[-6000:] if log.exists() else "no log"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("home")
    url = f"http://127.0.0.1:{free_port()}/api"
    env = {"PREFECT_API_URL": url, "PREFECT_HOME": str(home / "prefect")}
    (home / ".venv").symlink_to(sys.prefix)
    (home / "sleeper.py").write_text(SLEEPER)
    (home / "prefect.yaml").write_text(PROJECT)
    lines = {**env, "PREFECT_WORKER_QUERY_SECONDS": "1", "PYTHONPATH": ""}
    (home / "prefect.env").write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
    with slurm() as cluster, _server(home, url, env):
        place = Place(cluster, home, url)
        place.api("work_pools/", {"name": "geoseg", "type": "process"})
        _prefect(home, env, "--no-prompt", "deploy", "--all").wait(240)
        yield place


def _prefect(home: Path, env: dict[str, str], *command: str) -> subprocess.Popen[bytes]:
    with (home / "server.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "prefect", *command], cwd=home, stdout=log, stderr=log,
            env={**clean_environment(), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", **env},
        )  # fmt: skip


@contextmanager
def _server(home: Path, url: str, env: dict[str, str]) -> Iterator[None]:
    port = url.rpartition(":")[2].partition("/")[0]
    process = _prefect(home, env, "server", "start", "--port", port)
    try:
        wait_for(lambda: _answers(url), 240)
        yield
    finally:
        for each in [*psutil.Process(process.pid).children(recursive=True), process]:
            each.kill()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_worker_hands_over_and_lets_its_run_end(place: Place) -> None:
    place.submit()
    waiting = "PENDING Dependency crops gpu"
    place.wait_for_queue("1 RUNNING None crops gpu", f"2 {waiting}")
    first = place.start("first", seconds=30)
    place.wait_for_state(first, "RUNNING")
    place.cluster.call("scancel", "--signal=USR1", "--batch", "1")
    wait_for(place.paused, 120)
    second = place.start("second")
    assert place.state(first) == "RUNNING"
    place.wait_for_queue("2 RUNNING None crops gpu", f"3 {waiting}")
    assert place.state(first) == "COMPLETED", place.said()
    place.wait_for_state(second, "COMPLETED")
    assert (place.job_of("first"), place.job_of("second")) == ("1", "2")


def test_a_worker_whose_node_is_lost_has_a_successor(place: Place) -> None:
    """The job before this test's runs; a node that is gone says nothing any more."""
    (job, *_) = place.cluster.jobs(NAME, "running")
    place.cluster.kill_node(job)
    follower = str(int(job) + 1)
    place.wait_for_queue(
        f"{follower} RUNNING None crops gpu", f"{int(follower) + 1} PENDING Dependency crops gpu"
    )
    run = place.start("third")
    place.wait_for_state(run, "COMPLETED")
    assert place.job_of("third") == follower


def test_one_command_stops_all(place: Place) -> None:
    run = place.start("fourth", seconds=600)
    place.wait_for_state(run, "RUNNING")
    jobs = place.cluster.jobs(NAME)
    assert len(jobs) == 2
    place.cluster.call("scancel", f"--name={NAME}")
    wait_for(lambda: not place.cluster.jobs(), 60)
    wait_for(lambda: not [each for job in jobs for each in place.cluster.of_job(job)], 60)
