"""Everything that may break under a service, broken for real: maps are published once, and right.

One stack serves all tests: Prefect's server on PostgreSQL, a worker, a Dask scheduler and workers with
TLS, a watcher on a schedule. Each test has an area of its own; after each, what ``require_sound``
says must hold.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from geoseg.io import plain_yaml
from geoseg.service.orders import Order
from tests.support.common import run_geoseg
from tests.support.faulty_places import BUCKET, SECRETS, bucket_server, small_disk
from tests.support.postgres import Postgres, free_port, postgres
from tests.support.service_areas import DATES, make_ground, service_config, write_service
from tests.support.service_stack import Receiver, RunningService, receiver, start_service
from tests.support.stack_process import StackProcess, artifacts, running_stack, wait_for

pytestmark = [pytest.mark.flow, pytest.mark.slow, pytest.mark.timeout(420)]

AREAS = [
    "new", "dask-worker", "dask-scheduler", "server", "database", "runner", "flow", "both", "term",
    "reboot", "cancel", "clock", "gate", "disk",
]  # fmt: skip


@pytest.fixture(scope="module")
def hook() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, hook: Receiver, database: Postgres
) -> Iterator[StackProcess]:
    root = tmp_path_factory.mktemp("st")
    with running_stack(
        root, GEOSEG_DATABASE=database.url, GEOSEG_WEBHOOK=hook.url, **SECRETS
    ) as made:
        yield made


@pytest.fixture(scope="module")
def service(
    stack: StackProcess, database: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> RunningService:
    folder = tmp_path_factory.mktemp("service")
    ground = make_ground(folder / "ground", width=420, height=333)

    def change(content: dict[str, Any]) -> None:
        content["ledger"] = database.url
        content["gates"] = {"seam": None}
        wrong = {"file": str(folder / "wrong.geojson"), "attribute": "crop", "accuracy": 0.9}
        content["areas"]["gate"]["gates"] = {"seam": None, "control": wrong}

    # Mirrored views: four times the work, so that there is time to break something.
    return start_service(stack, folder, ground, AREAS, change, margin=64, flips=True)


def _only(processes: list[psutil.Process]) -> psutil.Process:
    assert processes
    return min(processes, key=lambda one: one.create_time())


def _flow(service: RunningService, area: str) -> psutil.Process:
    return _only(service.runs_of(service.order(area)))


# No fault


def test_new_imagery_is_mapped_and_published(service: RunningService, hook: Receiver) -> None:
    service.drop("new", DATES[:2])
    time.sleep(25)
    assert service.orders("new") == ()
    service.drop("new", DATES[2:])
    service.wait_for_state("new", "published")
    told = service.geoseg("ledger", str(service.file), "--area", "new")
    assert "published" in told
    service.require_sound("new")
    shown = artifacts(service.stack)
    assert {"geoseg-quicklook", "geoseg-areas", "geoseg-gates", "geoseg-report"} <= set(shown)
    time.sleep(25)  # further polls find nothing to do
    service.require_sound("new")
    assert len(service.flow_runs(service.order("new"))) == 1
    assert not hook.posted


# What dies


@pytest.mark.parametrize("victim", ["dask-worker", "dask-scheduler", "server", "runner"])
def test_a_service_of_the_stack_is_killed(service: RunningService, victim: str) -> None:
    names = {"dask-worker": "dask-worker-1", "server": "prefect-server", "runner": "prefect-worker"}
    service.drop(victim)
    service.wait_for_blocks(victim, 4)
    service.stack.kill(names.get(victim, victim))
    service.wait_for_state(victim, "published", seconds=240)
    service.require_sound(victim)


def test_the_database_restarts(service: RunningService, database: Postgres) -> None:
    service.drop("database")
    service.wait_for_blocks("database", 4)
    database.stop()
    time.sleep(8)
    database.start()
    service.wait_for_state("database", "published", seconds=240)
    service.require_sound("database")


def test_the_flow_is_killed(service: RunningService, hook: Receiver) -> None:
    service.drop("flow")
    order = service.wait_for_blocks("flow", 4)
    _flow(service, "flow").kill()
    wait_for(lambda: service.flow_runs(order)[-1]["state_type"] == "CRASHED", 30)
    service.wait_for_state("flow", "published", seconds=240)
    service.require_sound("flow")
    assert len(service.flow_runs(order)) == 2
    wait_for(lambda: hook.posted, 60)


def test_flow_and_worker_are_killed_together(service: RunningService) -> None:
    service.drop("both")
    order = service.wait_for_blocks("both", 4)
    flow = _flow(service, "both")
    service.stack.kill("prefect-worker")
    flow.kill()
    service.wait_for_state("both", "published", seconds=300)
    assert service.flow_runs(order)[-1]["state_type"] == "CRASHED"
    service.require_sound("both")


def test_the_worker_is_told_to_stop(service: RunningService) -> None:
    """It takes its flow along, and tells nobody."""
    service.drop("term")
    service.wait_for_blocks("term", 4)
    os.kill(service.stack.service("prefect-worker").pid, signal.SIGTERM)
    service.wait_for_state("term", "published", seconds=300)
    service.require_sound("term")


def test_the_machine_restarts(service: RunningService, database: Postgres) -> None:
    """All processes of the stack, its supervisor and the database are gone at once."""
    service.drop("reboot")
    service.wait_for_blocks("reboot", 4)
    for process in service.stack.members():
        process.kill()
    database.stop()
    database.start()
    service.stack.control("up")
    service.wait_for_state("reboot", "published", seconds=300)
    service.require_sound("reboot")


# What is stopped, and goes on


def test_a_run_is_cancelled(service: RunningService) -> None:
    service.drop("cancel")
    order = service.wait_for_blocks("cancel", 4)
    run = service.flow_runs(order)[0]["id"]
    flow = _flow(service, "cancel")
    done = service.stack.run("prefect", "--no-prompt", "flow-run", "cancel", run)
    assert done.returncode == 0, done.stderr
    began = time.monotonic()
    wait_for(lambda: not flow.is_running(), 30)
    wait_for(lambda: _idle(service), 30)
    assert time.monotonic() - began < 20
    order = service.wait_for_state("cancel", "cancelled", seconds=180)
    kept = len(list(order.output.glob("work/blocks-*/r*.json")))
    service.geoseg("ledger", str(service.file), "--retry", str(order.id))
    service.wait_for_state("cancel", "published", seconds=240)
    order = service.require_sound("cancel")
    report = plain_yaml.load((order.output / "report.json").read_text())
    assert report["plan"]["resumed"] >= kept >= 4


def _idle(service: RunningService) -> bool:
    """Whether no Dask worker computes anything."""
    workers = [service.stack.service(f"dask-worker-{number}").pid for number in (1, 2)]
    family = [child for pid in workers for child in psutil.Process(pid).children(recursive=True)]
    return sum(child.cpu_percent(interval=0.2) for child in family) < 20


def test_the_clock_jumps(service: RunningService) -> None:
    """A poll whose clock is two hours ahead takes no run for dead."""
    if not shutil.which("faketime"):
        pytest.skip("faketime is not installed")
    service.drop("clock")
    order = service.wait_for_blocks("clock", 4)
    for jump in ("+2h", "-2h"):
        done = subprocess.run(
            ["faketime", "-f", jump, "python", "-m", "geoseg.flows.watch_imagery", "--service",
             str(service.file)],
            env={**service.stack.env, "DONT_FAKE_MONOTONIC": "1",
                 "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            cwd=service.stack.project, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    service.wait_for_state("clock", "published", seconds=240)
    service.require_sound("clock")
    assert len(service.flow_runs(order)) == 1


# What is not good enough


def test_a_map_that_fails_its_gates(service: RunningService, hook: Receiver) -> None:
    (service.folder / "wrong.geojson").write_text(_control_points(service))
    before = len(hook.posted)
    service.drop("gate")
    order = service.wait_for_state("gate", "quarantined")
    assert "control" in order.reason
    assert service.versions("gate") == []
    wait_for(lambda: len(hook.posted) > before, 60)
    assert service.flow_runs(order)[0]["state_name"] == "Quarantined"
    time.sleep(25)
    assert service.order("gate").state == "quarantined"  # nobody tries it again
    service.geoseg("ledger", str(service.file), "--release", str(order.id))
    service.wait_for_state("gate", "published")
    service.require_sound("gate")


def _control_points(service: RunningService) -> str:
    """Points that say of every place that it is sunflower."""
    import rasterio
    from pyproj import Transformer

    with rasterio.open(next((service.ground.scenes[0] / "imagery").glob("*.tif"))) as scene:
        to_degrees = Transformer.from_crs(scene.crs, 4326, always_xy=True)
        places = [scene.xy(row, col) for row in range(20, 320, 60) for col in range(20, 400, 60)]
    features = [
        {
            "type": "Feature",
            "properties": {"crop": "sunflower"},
            "geometry": {"type": "Point", "coordinates": to_degrees.transform(*place)},
        }
        for place in places
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


# What has no room, or no network


def test_the_disk_is_full(service: RunningService) -> None:
    """Runs lie on a disk that fills up; when it is larger they go on."""
    area = "disk"
    place = service.folder / "runs" / area
    place.mkdir(parents=True, exist_ok=True)
    with small_disk(place, "600k"):
        service.drop(area)
        order = service.wait_for_state(area, "waiting", seconds=120)
        assert "space" in order.reason
        assert service.versions(area) == []
        subprocess.run(["mount", "-o", "remount,size=200m", str(place)], check=True)
        service.wait_for_state(area, "published", seconds=240)
        service.require_sound(area)


def test_the_storage_is_away(service: RunningService) -> None:
    """The bucket does not answer while the map is made; when it is back, the same map is published."""
    port, folder = free_port(), service.folder / "remote"
    endpoint = f"http://127.0.0.1:{port}"
    content = service_config(folder, ["bucket"])
    content["publish"] = {"destination": f"s3://{BUCKET}/crops", "endpoint": endpoint}
    content["gates"] = {"seam": None}
    file = write_service(folder, service.ground, content)
    away = RunningService(service.stack, folder, service.ground, file)
    away.drop("bucket")
    order = _look_until(away, "waiting")
    assert endpoint in order.reason or "does not answer" in order.reason
    with bucket_server(port):
        order = _look_until(away, "published")
        command = ["versions", f"s3://{BUCKET}/crops", "--endpoint", endpoint, "--verify"]
        done = run_geoseg(*command, env=SECRETS)
        assert done.returncode == 0, done.stderr
        assert order.version in done.stdout
    report = plain_yaml.load((order.output / "report.json").read_text())
    assert report["plan"]["resumed"] == report["plan"]["blocks"]


def _look_until(service: RunningService, state: str) -> Order:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        service.look_now()
        orders = service.orders("bucket")
        if orders and orders[-1].state == state:
            return orders[-1]
        time.sleep(3)
    raise AssertionError(f"{service.orders('bucket')}\n{service.stack.logs()[-6000:]}")
