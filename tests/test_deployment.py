"""As an operator runs it: a Prefect server, a process worker, a Dask scheduler and a Dask worker."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ROOT

pytestmark = [pytest.mark.flow, pytest.mark.slow]

BIN = Path(sys.executable).parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _service(log: Path, env: dict[str, str], *command: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]], stdout=out, stderr=out, env=env, cwd=ROOT
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_for_server(url: str) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    pytest.fail("the Prefect server did not start")


def _run(env: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Environment of a client of the running services."""
    port, dask = _free_port(), _free_port()
    url, scheduler = f"http://127.0.0.1:{port}/api", f"tcp://127.0.0.1:{dask}"
    alone = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")}
    alone["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    env = {**alone, "PREFECT_API_URL": url, "GEOSEG_SCHEDULER": scheduler}
    with (
        _service(tmp_path / "server.log", alone, "prefect", "server", "start", "--port", str(port)),
        _service(
            tmp_path / "scheduler.log", env, "dask", "scheduler", "--port", str(dask), "--no-show",
            "--dashboard-address", ":0",
        ),
        _service(
            tmp_path / "dask.log", env, "dask", "worker", scheduler, "--nthreads", "1",
            "--no-dashboard",
        ),
    ):  # fmt: skip
        _wait_for_server(url)
        _run(env, "prefect", "work-pool", "create", "geoseg", "--type", "process")
        _run(env, "prefect", "--no-prompt", "deploy", "--all")
        pool = ("prefect", "worker", "start", "--pool", "geoseg")
        with _service(tmp_path / "worker.log", env, *pool):
            yield env


def test_deployment_run_watch(stack: dict[str, str], small_area: Path, tmp_path: Path) -> None:
    config = ["--param", f"config={small_area / 'small.yaml'}"]
    output = ["--param", f"output={tmp_path / 'out'}"]
    _run(stack, "prefect", "deployment", "run", "crop-map/demo", *config, *output, "--watch")
    for name in ("small_class.tif", "small_confidence.tif", "small_crops.gpkg", "report.html"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["plan"]["workers"] == stack["GEOSEG_SCHEDULER"]
    shown = _artifacts(stack["PREFECT_API_URL"])
    assert shown["geoseg-predict"]["data"] == 100
    assert [row["pixels"] for row in json.loads(shown["geoseg-areas"]["data"])] == [
        row["pixels"] for row in report["areas"]
    ]
    assert "report.html" in shown["geoseg-report"]["data"]
    assert "data:image/png;base64," in shown["geoseg-quicklook"]["data"]


def _artifacts(url: str) -> dict[str, dict[str, Any]]:
    """The newest artifact of each key, as the page shows them."""
    answer = httpx.post(f"{url}/artifacts/latest/filter", json={}).raise_for_status()
    return {artifact["key"]: artifact for artifact in answer.json()}


def test_a_mistake_fails_the_run(stack: dict[str, str], tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    done = subprocess.run(
        [str(BIN / "prefect"), "deployment", "run", "crop-map/demo", "--param",
         f"config={missing}", "--watch"],
        env=stack, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no such config file" in (tmp_path / "worker.log").read_text() + done.stdout
