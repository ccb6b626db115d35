"""Runs of orders on a real Prefect server; no run is executed, so none is waited for."""

from __future__ import annotations

import datetime as dt
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Failed, Running

from geoseg.errors import ConfigError, RemoteError
from geoseg.flows.dispatch import PrefectDispatcher
from geoseg.service.dispatch import RunState
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import Order
from tests.support.prefect_server import prefect_server, watcher
from tests.support.service_season import APRIL, MAY, Runs, image, load, look, service_file

pytestmark = pytest.mark.flow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as url:
        yield url


@pytest.fixture
def prefect(server: str) -> Iterator[Any]:
    """A client of the server."""
    with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def order(tmp_path: Path) -> Order:
    """An order that is claimed."""
    service = service_file(tmp_path, {"north": {}})
    with Ledger.open(load(service)) as ledger:
        made = ledger.claim("north", "2025", uuid4().hex, (), tmp_path / "c.yaml", tmp_path / "out")
        assert made is not None
        return made


def test_a_run_that_is_asked_for_twice_is_one(prefect: Any, order: Order) -> None:
    runs = PrefectDispatcher("crop-map/area", "/etc/service.yaml")
    first = runs.start(order, {"config": "c", "output": "o", "order": "1"}, order.key)
    assert runs.start(order, {"config": "c", "output": "o", "order": "1"}, order.key) == first
    assert runs.start(order, {}, f"{order.id}:2") != first
    later = replace(order, created=order.created + dt.timedelta(microseconds=1))
    assert runs.start(later, {}, order.key) != first, "a new ledger counts from 1 again"
    run = prefect.read_flow_run(first)
    assert run.parameters["service"] == "/etc/service.yaml"
    assert (run.parameters["order"], run.tags) == ("1", ["north"])
    assert runs.state(first).kind == "pending"


def test_where_a_run_stands(prefect: Any, order: Order) -> None:
    runs = PrefectDispatcher("crop-map/area", "s")
    run = runs.start(order, {}, order.key)
    prefect.set_flow_run_state(run, Running(), force=True)
    assert runs.state(run).kind == "running"
    runs.crash(run, "no longer says that it is alive")
    assert runs.state(run).kind == "crashed"
    assert runs.state(run).message == "no longer says that it is alive"
    assert not runs.state(run).held
    prefect.set_flow_run_state(run, Failed(message="no space", name="Held"), force=True)
    assert runs.state(run) == RunState("failed", "no space", held=True)
    prefect.set_flow_run_state(run, Cancelled(), force=True)
    assert runs.state(run).kind == "cancelled"
    assert runs.state(str(uuid4())).kind == "unknown"
    assert runs.state("no id of Prefect").kind == "unknown"


def test_a_run_that_meets_a_fault_of_its_place_is_held(prefect: Any, tmp_path: Path) -> None:
    """A real run of the flow, whose image has gone; its order waits, and no try is used up."""
    from geoseg.flows.crop_map import crop_map

    service = service_file(tmp_path, {"north": {}}, retry={"tries": 1})
    for day in (APRIL, MAY):
        image(tmp_path / "drop" / "north" / f"{day}.tif")
    time.sleep(0.02)
    look(service, Runs(tmp_path / "runs"))
    gone = tmp_path / "drop" / "north" / f"{MAY}.tif"
    gone.unlink()
    with Ledger.open(load(service)) as ledger:
        made = ledger.order(1)
        waiting = ledger.lost(ledger.order(1), "not begun", held=True)
        assert waiting is not None
        ledger.retry(waiting)
        state: Any = crop_map(
            str(made.config), str(made.output), "", str(service), 1, return_state=True
        )
        order = ledger.order(1)
    assert (state.type.value, state.name) == ("FAILED", "Held")
    assert str(gone) in state.message
    assert (order.state, order.tries, order.faults) == ("waiting", 0, 2)
    assert order.reason == state.message
    asked = PrefectDispatcher("crop-map/area", "s").state(order.run_id)
    assert (asked.kind, asked.held) == ("failed", True)


def test_a_deployment_that_is_not_there(prefect: Any, order: Order) -> None:
    with pytest.raises(ConfigError, match="knows no 'crop-map/nowhere'"):
        PrefectDispatcher("crop-map/nowhere", "s").start(order, {}, order.key)


def test_a_server_that_is_not_there(order: Order) -> None:
    runs = PrefectDispatcher("crop-map/area", "s")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        with pytest.raises(RemoteError, match="does not answer"):
            runs.start(order, {}, order.key)
        with pytest.raises(RemoteError, match="does not answer"):
            runs.state(str(uuid4()))


def test_the_flow_orders_a_map(server: str, prefect: Any, tmp_path: Path) -> None:
    """``python -m geoseg.flows.watch_imagery``: first it waits, then it starts the run, then nothing."""
    service = service_file(tmp_path, {"north": {}})

    def watch() -> subprocess.CompletedProcess[str]:
        process = watcher(service, server, tmp_path / "home")
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    image(tmp_path / "drop/north" / f"{APRIL}.tif")
    first = watch()
    assert (first.returncode, first.stdout) == (0, "1 areas; 1 seen\n"), first.stderr
    assert "north: 1 of 2 slots has no clear image: 2025-05 (none)" in first.stderr
    image(tmp_path / "drop/north" / f"{MAY}.tif")
    assert watch().stdout == "1 areas; 1 seen, 1 claimed\n"
    assert watch().stdout == "1 areas; nothing new\n"
    with Ledger.open(load(service)) as ledger:
        (made,) = ledger.orders()
    run = prefect.read_flow_run(made.run_id)
    assert run.parameters == {
        "config": str(made.config),
        "output": str(made.output),
        "order": made.id,
        "service": str(service),
    }
    (tmp_path / "run.yaml").unlink()
    failed = watch()
    assert failed.returncode == 2
    assert "run.yaml: no such config file" in failed.stderr


def test_many_runs_are_asked_after_quickly(prefect: Any, order: Order) -> None:
    """A poll asks after each order under way: hundreds of them must not take minutes."""
    with PrefectDispatcher("crop-map/area", "s") as runs:
        run = runs.start(order, {}, order.key)
        began = time.monotonic()
        for _ in range(50):
            runs.state(run)
        assert time.monotonic() - began < 20
