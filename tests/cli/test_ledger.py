"""``geoseg ledger``: what a person reads, what a program reads, what an operator does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from geoseg.service.ledger.ledger import Ledger
from tests.support.service_season import APRIL, MAY, Runs, image, load, look, service_file

Geoseg = Callable[..., tuple[int, str, str]]


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """North has a map that is quarantined, south waits."""
    path = service_file(tmp_path, {"north": {}, "south": {}})
    for day, area in ((APRIL, "north"), (MAY, "north"), (APRIL, "south")):
        image(tmp_path / "drop" / area / f"{day}.tif", clear=0.625)
    time.sleep(0.02)
    look(path, Runs(tmp_path / "runs"))
    with Ledger.open(load(path)) as ledger:
        ledger.begin(1, "run-1-1")
        ledger.finish(1, "quarantined", "completeness 0.4, at least 1 wanted")
    return path


def test_a_person_reads_it(service: Path, geoseg: Geoseg) -> None:
    code, out, err = geoseg("ledger", str(service))
    assert code == 0, err
    head, row, *notes = out.splitlines()
    assert head.split() == [
        "id", "area", "season", "state", "slots", "tries", "version", "changed", "reason",
    ]  # fmt: skip
    assert row.startswith("1   north  20250401-20250531  quarantined  2")
    assert row.endswith("completeness 0.4, at least 1 wanted")
    assert notes == [
        "north: order 1 has the newest images",
        "south: 1 of 2 slots has no clear image: 2025-05 (none)",
    ]


def test_the_images(service: Path, geoseg: Geoseg) -> None:
    _, out, _ = geoseg("ledger", str(service), "--seen", "--area", "south")
    (head, row) = out.splitlines()
    assert head.split() == ["area", "date", "item", "version", "clear", "verdict", "seen", "reason"]
    assert row.split()[:3] == ["south", APRIL, APRIL]
    assert row.split()[4:6] == ["0.625", "usable"]


def test_a_program_reads_it(service: Path, geoseg: Geoseg) -> None:
    (order,) = json.loads(geoseg("ledger", str(service), "--json")[1])
    assert (order["state"], order["images"]) == ("quarantined", {"2025-04": APRIL, "2025-05": MAY})


def test_an_operator_acts(service: Path, geoseg: Geoseg, tmp_path: Path) -> None:
    _, out, _ = geoseg("ledger", str(service), "--release", "1")
    assert out == "order 1 (north) is sent on its way by the next poll\n"
    code, _, err = geoseg("ledger", str(service), "--release", "1")
    assert code == 2
    assert "order 1 is waiting; this is for one that is quarantined" in err
    assert look(service, Runs(tmp_path / "runs"))["retried"] == 1
    with Ledger.open(load(service)) as ledger:
        order = ledger.order(1)
    assert (order.state, order.waived, order.run_id) == ("started", True, "run-1-2")
    _, _, err = geoseg("ledger", str(service), "--area", "west")
    assert "no area 'west' in the service; it has north, south" in err
