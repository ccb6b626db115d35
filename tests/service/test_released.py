"""A map that goes out though a gate fails says so wherever somebody may meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pystac
import pytest

from geoseg.errors import GateError
from geoseg.pipeline.describe import describe_products
from geoseg.pipeline.report import write_reports
from geoseg.pipeline.run import Run
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.order_run import Failure, OrderRun, judge, publish, tell
from tests.support.served import AREA, Served
from tests.support.service_season import service_file


def finish(served: Served, number: int, run_id: str) -> Run:
    """The steps of an order's run from its gates on."""
    run, assignment = served.run(number), OrderRun(served.file, number, run_id)
    judge(run, assignment)
    write_reports(run)
    describe_products(run)
    publish(run, assignment)
    return run


def test_a_released_map_says_so(tmp_path: Path, made: Run) -> None:
    file = service_file(tmp_path, {AREA: {}}, gates={"mapped": 0.999, "seam": None})
    served = Served(file, tmp_path, made)
    number = served.order("a")
    with pytest.raises(GateError, match="mapped") as failed:
        finish(served, number, "run")
    assert "released" not in (served.run(number).folder.root / "report.md").read_text().lower()
    assert tell(OrderRun(file, number, "run"), Failure(str(failed.value), False, 4)) == (
        "quarantined"
    )
    with Ledger.open(served.config) as ledger:
        released = ledger.release(number)
        again = ledger.retry(released)
        assert again is not None
        assert released.released is not None
        ledger.begin(number, "run-2")
    finish(served, number, "run-2")
    told = {
        "gates": ["mapped"],
        "at": released.released.isoformat(timespec="seconds"),
        "by": f"geoseg ledger SERVICE --release {number}",
    }
    home = next((served.maps / AREA).glob("*-aaaaaaaa"))
    assert json.loads((home / "gates.json").read_text())["released"] == told
    assert json.loads((home / "report.json").read_text())["released"] == told
    item = pystac.Item.from_file(str(home / "small.json"))
    assert item.properties["geoseg:released"] == told
    collection = json.loads((served.maps / AREA / "collection.json").read_text())
    (link,) = [link for link in collection["links"] if link["rel"] == "item"]
    assert link["geoseg:released"] == told
    for page in ("report.html", "report.md"):
        text = (home / page).read_text("utf-8")
        assert "published though it fails 1 of its gates (mapped)" in text
        assert told["at"] in text
        assert told["by"] in text
        assert "A map that fails a gate is not published" not in text


def test_the_next_version_keeps_that_of_the_released_one(tmp_path: Path, made: Run) -> None:
    """The collection is read and written again with every version; one that passes says nothing."""
    file = service_file(tmp_path, {AREA: {}}, gates={"mapped": 0.999, "seam": None})
    served = Served(file, tmp_path, made)
    number = served.order("a")
    with Ledger.open(served.config) as ledger:
        ledger.begin(number, "run")
        ledger.finish(number, "quarantined", "mapped")
        ledger.retry(ledger.release(number))
        ledger.begin(number, "run-2")
    finish(served, number, "run-2")
    file.write_text(file.read_text().replace("0.999", "0.1"))
    finish(served, served.order("b"), "run")
    collection = json.loads((served.maps / AREA / "collection.json").read_text())
    links = [link for link in collection["links"] if link["rel"] == "item"]
    assert [bool(link.get("geoseg:released")) for link in links] == [False, True]
