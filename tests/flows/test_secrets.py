"""Planted secrets appear nowhere: not in results, logs and reports, nor at a real Prefect server."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from geoseg.io import plain_yaml
from tests.support.common import ROOT, run_geoseg
from tests.support.engine_season import make_bundle, make_imagery

pytestmark = [pytest.mark.flow, pytest.mark.slow]

BIN = Path(sys.executable).parent
LOGIN = "admin:planted-Login7"
SECRETS = {
    "GEOSEG_DATABASE_PASSWORD": "planted-Database",
    "AWS_SECRET_ACCESS_KEY": "planted/Key+wJalr",
    "MAP_SERVICE_TOKEN": "planted.Token",
}
OPTION = "planted-Option"
"""What a config's ``cluster.options`` keep."""
PLANTED = (
    "planted",
    base64.b64encode(LOGIN.encode()).decode(),
    *(base64.b64encode(value.encode()).decode() for value in SECRETS.values()),
)


@dataclass(frozen=True)
class Server:
    """A Prefect server that asks who calls."""

    url: str
    env: dict[str, str]
    home: Path
    log: Path

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Everything of a kind that the server has, as its page gets it."""
        answer = httpx.post(
            f"{self.url}/{kind}/filter", json={"limit": 200}, auth=("admin", LOGIN[6:]), timeout=20
        )
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}/api"
    # The level too: a test that has imported the flow into this process has set it for the flow's own.
    env = {"PREFECT_HOME": str(folder / "home"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
           "PREFECT_LOGGING_LEVEL": "INFO"}  # fmt: skip
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(BIN / "prefect"), "server", "start", "--port", str(port)],
            stdout=out, stderr=out, cwd=ROOT,
            env={**os.environ, **env, "PREFECT_SERVER_API_AUTH_STRING": LOGIN},
        )  # fmt: skip
    try:
        _wait(url)
        client = {**env, "PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": LOGIN, **SECRETS}
        yield Server(url, client, folder / "home", log)
    finally:
        process.terminate()
        process.wait(30)


def _wait(url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.3)
    raise AssertionError("the Prefect server did not start")


def _config(folder: Path, name: str, options: dict[str, Any]) -> Path:
    make_imagery(folder / "season")
    content = {
        "name": name,
        "imagery": {"folder": "season"},
        "model": {"bundle": str(make_bundle(folder / "model"))},
        "predict": {"core": 32, "margin": 32, "block": 64, "precision": "fp32"},
        "cluster": {"class": "distributed.LocalCluster", "workers": 1, "options": options},
    }
    path = folder / f"{name}.yaml"
    path.write_text(plain_yaml.dump(content))
    return path


def _clean(text: str) -> None:
    for secret in PLANTED:
        place = text.find(secret)
        assert place < 0, text[max(0, place - 300) : place + 100]


def _clean_files(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for secret in PLANTED:
                assert secret.encode() not in content, path


def _settled(server: Server, kind: str) -> list[Any]:
    """All rows of a kind: the server writes logs and task runs some time after it got them."""
    deadline, before = time.monotonic() + 90, []
    while time.monotonic() < deadline:
        rows = server.rows(kind)
        if rows and len(rows) == len(before):
            return rows
        before = rows
        time.sleep(2)
    raise AssertionError(f"the server has no {kind}")


def _clean_server(server: Server) -> None:
    for kind in ("artifacts", "logs", "flow_runs", "task_runs"):
        _clean(json.dumps(_settled(server, kind)))
    _clean_files(server.home)
    _clean(server.log.read_text(errors="replace"))


def test_a_run_that_ends_well(server: Server, tmp_path: Path) -> None:
    options = {
        "n_workers": 1, "threads_per_worker": 2, "dashboard_address": "127.0.0.1:0",
        "name": OPTION, "host": "127.0.0.1",
    }  # fmt: skip
    config = _config(tmp_path, "valley", options)
    output = tmp_path / "out"
    logged = {"GEOSEG_LOG": "json", "GEOSEG_LOG_LEVEL": "debug"}
    done = run_geoseg("run", str(config), "-o", str(output), env={**server.env, **logged})
    assert done.returncode == 0, done.stderr[-3000:]
    _clean(done.stdout + done.stderr)
    _clean_files(output)
    _clean_server(server)
    _see_log(done.stderr, output)
    _see_page(server, output)


def _see_log(text: str, output: Path) -> None:
    """The log is there, and of the run: else nothing secret would be in it for a poor reason."""
    records = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    blocks = [r for r in records if r["message"] == "block finished"]
    assert len({r["block"] for r in blocks}) == 12
    assert {r["run"] for r in blocks} == {str(output)}
    stages = [r["stage"] for r in records if r["message"] == "stage finished"]
    assert stages[:3] == ["select", "predict", "stitch"]
    assert any(r["message"].startswith("predict: fp32") and r["flow_run"] for r in records)


def _see_page(server: Server, output: Path) -> None:
    """What a person finds on the page of the run."""
    shown = {row["key"]: row for row in server.rows("artifacts")}
    assert shown["geoseg-map"]["type"] == "markdown"
    text = shown["geoseg-map"]["data"]
    assert "100.00 % of the pixels with data have a class" in text
    assert "12 of 12 blocks" in text
    assert "Seam score" in text
    assert "Warning: No independent validation" in text
    assert "| crop 4 |" in text
    assert "/status" in shown["geoseg-dask"]["data"]
    assert "progress.json" in shown["geoseg-status"]["data"]
    progress = json.loads((output / "work/progress.json").read_text())
    assert progress["state"] == "finished"
    run = progress["prefect"]["run"]
    assert run in {row["id"] for row in server.rows("flow_runs")}
    assert progress["prefect"]["url"].endswith(f"/flow-runs/flow-run/{run}")
    assert progress["dashboard"] in shown["geoseg-dask"]["data"]


def test_a_run_that_fails_because_of_a_secret(server: Server, tmp_path: Path) -> None:
    """The cluster class repeats the option that it cannot use, and Prefect gets the message."""
    config = _config(tmp_path, "hill", {"protocol": f"{OPTION}-tcp"})
    output = tmp_path / "out"
    done = run_geoseg("run", str(config), "-o", str(output), env=server.env)
    assert done.returncode == 2, done.stderr[-3000:]
    assert "***" in done.stderr
    assert "does not start" in done.stderr
    _clean(done.stdout + done.stderr)
    _clean_files(output)
    _clean_server(server)
    states = [row["state"]["message"] or "" for row in server.rows("flow_runs")]
    assert any("does not start" in message and "***" in message for message in states)
    status = run_geoseg("status", str(output))
    assert status.returncode == 3
    assert "failed in stage predict" in status.stdout
