"""Real mounts that a map is to be published to: read-only, and full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from geoseg.errors import OutputError
from geoseg.pipeline.run import Run
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.order_run import Failure, OrderRun, tell
from geoseg.service.orders import Order
from tests.support.served import AREA, SEASON, Served
from tests.support.service_season import service_file


@contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this system does not permit to mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def try_again(served: Served, number: int) -> Order:
    """A try that publishes, or tells why it cannot, as the flow does."""
    with Ledger.open(served.config) as ledger:
        order = ledger.order(number)
        if order.state == "waiting":
            ledger.retry(order)
        ledger.begin(number, "run")
    try:
        served.judge_and_publish(number)
    except OutputError as error:
        tell(OrderRun(served.file, number, "run"), Failure(str(error), of_place=error.of_place))
    with Ledger.open(served.config) as ledger:
        return ledger.order(number)


@pytest.mark.parametrize(
    ("at", "bad", "good", "reason"),
    [
        ("maps", "ro", "rw", "Read-only file system"),
        (f"maps/{AREA}", "ro", "rw", "Read-only file system"),
        ("maps", "size=40k", "size=50m", "No space left on device"),
    ],
)
def test_an_order_outlasts_its_destination(
    tmp_path: Path, made: Run, at: str, bad: str, good: str, reason: str
) -> None:
    file = service_file(tmp_path, {AREA: {}}, gates={"seam": None}, retry={"tries": 1})
    served = Served(file, tmp_path, made)
    number = served.order("a")
    with mounted(tmp_path / at, bad):
        for faults in (1, 2, 3):
            order = try_again(served, number)
            assert (order.state, order.tries, order.faults) == ("waiting", 0, faults)
            assert reason in order.reason
            assert served.versions() == []
        subprocess.run(["mount", "-o", f"remount,{good}", str(tmp_path / at)], check=True)
        assert try_again(served, number).state == "published"
        assert served.versions() == [f"{SEASON}-0001-aaaaaaaa"]
        assert served.survey(service=True) == {}
