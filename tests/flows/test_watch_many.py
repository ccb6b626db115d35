"""Looks at 200 areas that all have new images: what an order costs, and a watcher that is killed."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.watching import make
from geoseg.feedback import Silent
from geoseg.io import configs
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import Order
from geoseg.service.poll import poll
from tests.support.prefect_server import prefect_server, watcher
from tests.support.service_season import APRIL, MAY, Runs, image, load, service_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

AREAS = 200


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "prefect").mkdir()
    with prefect_server(tmp_path / "prefect") as url:
        yield url


def orders(service: Path) -> tuple[Order, ...]:
    with Ledger.open(load(service)) as ledger:
        return ledger.orders()


def flow_runs(server: str) -> list[Any]:
    """Every run that the Prefect server was ever asked for."""
    found: list[Any] = []
    with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as client:
        while page := client.read_flow_runs(limit=100, offset=len(found)):
            found += page
    return [run for run in found if "order" in run.parameters]


def killed_at(process: subprocess.Popen[str], service: Path, count: int) -> None:
    """kill -9 once there are so many orders."""
    while len(orders(service)) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.kill()
    process.communicate()


@pytest.mark.flow
def test_a_watcher_that_is_killed_loses_none_and_doubles_none(server: str, tmp_path: Path) -> None:
    names = [f"area-{number:03d}" for number in range(AREAS)]
    service = service_file(tmp_path, {name: {} for name in names})
    for number, name in enumerate(names):
        for day in (APRIL, MAY):
            image(tmp_path / "drop" / name / f"{day}.tif", seed=number)
    for count in (1, 70, 140):
        killed_at(watcher(service, server, tmp_path / "home"), service, count)
        assert len(orders(service)) < AREAS, "it was over before it was killed"
    out, err = watcher(service, server, tmp_path / "home").communicate()
    assert out.startswith(f"{AREAS} areas; "), out + err
    made = orders(service)
    assert Counter(order.area for order in made) == dict.fromkeys(names, 1)
    assert {order.state for order in made} == {"started"}
    runs = flow_runs(server)
    assert Counter(run.parameters["order"] for run in runs) == {order.id: 1 for order in made}
    assert {str(run.id) for run in runs} == {order.run_id for order in made}


def test_what_an_order_costs(tmp_path: Path) -> None:
    """CPU time, which other work on the machine changes little: images read, recorded, ordered."""
    service = configs.load_service(make(tmp_path, AREAS, 12, None))
    with Ledger.open(service) as ledger:
        began = time.process_time()
        record = poll(service, ledger, Runs(tmp_path / "runs"), Silent())
        seconds = time.process_time() - began
        assert record["claimed"] == AREAS
        assert seconds / AREAS < 0.3
        began = time.process_time()
        assert poll(service, ledger, Runs(tmp_path / "runs"), Silent())["claimed"] == 0
        assert (time.process_time() - began) / AREAS < 0.05
