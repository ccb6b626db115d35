"""A Prefect server of its own, with a deployment that nobody works on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.support.common import ROOT
from tests.support.postgres import free_port


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """A running server's URL; ``crop-map/area`` is deployed there."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    env = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        _wait_for(url, process, home / "log")
        with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
            flow = client.create_flow_from_name("crop-map")
            client.create_deployment(flow, "area", enforce_parameter_schema=False)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise AssertionError(f"the server does not answer: {log.read_text()}")


def watcher(service: Path, server: str, home: Path) -> subprocess.Popen[str]:
    """One poll of all areas, as ``python -m geoseg.flows.watch_imagery`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "geoseg.flows.watch_imagery", "--service", str(service)],
        env={**os.environ, "PREFECT_API_URL": server, "PREFECT_HOME": str(home)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
