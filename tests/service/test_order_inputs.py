"""Images that vanish from under an order, and come back: the same, or others."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from geoseg.errors import ChangedInputError
from geoseg.feedback import Silent
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.order_run import Failure, OrderRun, fetch, tell
from geoseg.service.orders import Order
from tests.support.service_season import APRIL, MAY, Runs, image, load, look, service_file

AREA = "north"
MISTAKE = Failure("2025-04-10.tif: no such file", retryable=False, exit_code=2)
"""What a step says that meets a missing file by itself."""


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """An order is made, and its run is about to begin."""
    path = service_file(tmp_path, {AREA: {}}, retry={"tries": 1, "first_minutes": 0.0001})
    for day in (APRIL, MAY):
        image(tmp_path / "drop" / AREA / f"{day}.tif")
    time.sleep(0.02)
    assert look(path, Runs(tmp_path / "runs"))["claimed"] == 1
    return path


def first_run(service: Path) -> OrderRun:
    return OrderRun(service, 1, "run-1-1")


def orders(service: Path) -> tuple[Order, ...]:
    with Ledger.open(load(service)) as ledger:
        return ledger.orders()


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_an_image_that_comes_back_lets_its_order_go_on(
    service: Path, tmp_path: Path, how: str
) -> None:
    april = tmp_path / "drop" / AREA / f"{APRIL}.tif"
    away = shutil.move(april, tmp_path / "away.tif")
    with pytest.raises(ChangedInputError, match="gone since order 1 was made") as gone:
        fetch(first_run(service), Silent())
    assert gone.value.of_place
    for attempt in (1, 2, 3):  # of one try
        assert tell(OrderRun(service, 1, f"run-1-{attempt}"), MISTAKE) == "waiting"
        time.sleep(0.05)
        record = look(service, Runs(tmp_path / "runs"))
        assert record["waiting"][AREA] == "1 of 2 slots has no clear image: 2025-04 (none)"
        assert record["retried"] == 1
    (order,) = orders(service)
    assert (order.state, order.tries, order.attempt) == ("started", 0, 4)
    if how == "moved":
        shutil.move(away, april)
    else:
        shutil.copy(away, april)  # other times, the same bytes
        os.utime(april, (1e9, 1e9))
    assert fetch(OrderRun(service, 1, "run-1-4"), Silent())["there"] == 0
    time.sleep(0.05)
    look(service, Runs(tmp_path / "runs"))
    (order,) = orders(service)
    assert order.state == "running", "the image is the same, and so is the order"


def test_one_that_comes_back_as_another_makes_another_order(service: Path, tmp_path: Path) -> None:
    image(tmp_path / "drop" / AREA / f"{APRIL}.tif", seed=99)
    with pytest.raises(ChangedInputError, match="replaced since order 1 was made"):
        fetch(first_run(service), Silent())
    assert tell(first_run(service), MISTAKE) == "waiting"
    time.sleep(0.05)
    assert look(service, Runs(tmp_path / "runs"))["claimed"] == 1
    first, second = orders(service)
    assert (first.state, first.reason) == ("superseded", "order 2 has newer imagery")
    assert second.state == "started"


def test_the_model_is_away(service: Path, tmp_path: Path) -> None:
    shutil.move(tmp_path / "model", tmp_path / "aside")
    mistake = Failure("model/model.json: no such model", retryable=False, exit_code=2)
    assert tell(first_run(service), mistake) == "waiting"
    assert str(tmp_path / "model") in orders(service)[0].reason
    shutil.move(tmp_path / "aside", tmp_path / "model")
    time.sleep(0.05)
    look(service, Runs(tmp_path / "runs"))
    fetch(OrderRun(service, 1, "run-1-2"), Silent())


def test_a_mistake_while_all_images_are_there_is_one(service: Path) -> None:
    fetch(first_run(service), Silent())
    assert tell(first_run(service), MISTAKE) == "failed"


def test_a_gate_that_fails_is_no_fault_of_the_place(service: Path, tmp_path: Path) -> None:
    fetch(first_run(service), Silent())
    (tmp_path / "drop" / AREA / f"{APRIL}.tif").unlink()
    assert tell(first_run(service), Failure("seam 3.1", False, 4)) == "quarantined"


def test_the_work_folder_is_away(service: Path, tmp_path: Path) -> None:
    (order,) = orders(service)
    folder = order.config.parent
    fetch(first_run(service), Silent())
    shutil.move(folder, tmp_path / "aside")
    mistake = Failure(f"{order.config}: no such config file", retryable=False, exit_code=2)
    assert tell(first_run(service), mistake) == "waiting"
    assert str(folder) in orders(service)[0].reason
    shutil.move(tmp_path / "aside", folder)
    time.sleep(0.05)
    look(service, Runs(tmp_path / "runs"))
    assert fetch(OrderRun(service, 1, "run-1-2"), Silent())["fetched"] == 0
