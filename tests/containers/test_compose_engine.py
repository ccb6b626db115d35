"""What an engine makes of docker/compose.yaml; skipped where there is none. Nothing is started."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.docker_files import COMPOSE, DOCKER, SERVICES

PROJECT = f"geoseg-test-{os.getpid()}"
IMAGES = ("geoseg:cpu", "postgres:16.14-bookworm")
MADE = sorted(set(SERVICES) - {"dask-worker-gpu"})

pytestmark = pytest.mark.slow


def _docker(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = ["docker", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | settings, timeout=120, check=False
    )


def _answer(*arguments: str) -> list[dict[str, Any]]:
    done = _docker(*arguments)
    assert done.returncode == 0, done.stderr
    answer: list[dict[str, Any]] = json.loads(done.stdout)
    return answer


def _missing() -> str:
    """Why there is nothing to try it with."""
    try:
        if _docker("compose", "version").returncode:
            return "no Docker Compose"
    except FileNotFoundError:
        return "no docker"
    wanted = [_docker("image", "inspect", image) for image in IMAGES]
    return next((done.stderr.strip() for done in wanted if done.returncode), "")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """Each service's container, as the engine describes it."""
    if missing := _missing():
        pytest.skip(missing)
    data, secrets = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("secrets")
    subprocess.run([DOCKER / "make-secrets.sh", secrets], check=True, capture_output=True)
    compose = ["compose", "--file", str(COMPOSE), "--project-name", PROJECT]
    profiles = ["--profile", "cpu", "--profile", "metrics"]
    given = {"GEOSEG_DATA": str(data), "GEOSEG_SECRETS": str(secrets)}
    settings = {**given, "GEOSEG_CPUS": "1", "GEOSEG_RUN_CPUS": "1"}
    try:
        done = _docker(*compose, *profiles, "create", "--no-build", "--pull=never", **settings)
        assert done.returncode == 0, done.stderr
        names = [f"{PROJECT}-{name}-1" for name in MADE]
        yield dict(zip(MADE, _answer("inspect", *names), strict=True))
    finally:
        _docker(*compose, *profiles, "down", "--volumes", **settings)


@pytest.mark.parametrize("name", MADE)
def test_rights_and_limits_reach_the_container(made: dict[str, dict[str, Any]], name: str) -> None:
    host = made[name]["HostConfig"]
    assert made[name]["Config"]["User"].split(":")[0] not in {"", "0", "root"}
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["PidsLimit"] > 0
    assert host["NanoCpus"] > 0
    assert host["MemorySwap"] == host["Memory"] > 0
    bindings = [each for port in (host["PortBindings"] or {}).values() for each in port]
    assert {each["HostIp"] for each in bindings} <= {"127.0.0.1"}


def test_closed_networks_have_no_way_out(made: dict[str, dict[str, Any]]) -> None:
    assert made
    names = [f"{PROJECT}_{name}" for name in ("database", "dask")]
    for network in _answer("network", "inspect", *names):
        assert network["Internal"]
        assert network["Options"]["com.docker.network.bridge.inhibit_ipv4"] == "true"
