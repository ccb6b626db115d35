"""What is removed from the work folder once a newer map is published, and what is not."""

from __future__ import annotations

import json
from pathlib import Path

from geoseg.config.service import ServiceConfig
from geoseg.io import locks
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.order_folder import FETCH, OrderFolder
from geoseg.service.orders import Order, State
from geoseg.service.retention import clean_up


def _service(folder: Path) -> ServiceConfig:
    area = {
        "run": folder / "run.yaml",
        "season": {"start": "2025-01-01", "end": "2025-12-31"},
        "drop": {"folder": folder / "drop"},
    }
    return ServiceConfig.model_validate(
        {
            "work": folder / "work",
            "publish": {"destination": str(folder / "maps")},
            "areas": {"north": area},
        }
    )


def _order(ledger: Ledger, service: ServiceConfig, letter: str, state: State) -> Order:
    """An order that came to an end, with what a run of it leaves."""
    place = OrderFolder.of(service, "north", letter * 64)
    order = ledger.claim("north", "2025", letter * 64, (), place.config, place.output)
    assert order is not None
    ledger.begin(order.id, letter)
    if state == "published":
        ledger.begin_publishing(order.id)
    if state != "running":
        ledger.finish(order.id, state)
    for folder in (place.output / "work" / "blocks-1", place.imagery / f"item-{letter}"):
        folder.mkdir(parents=True)
        (folder / "x.tif").write_text("x")
    target = place.imagery / f"item-{letter}" / "x.tif"
    fetch = {"fetch": [{"target": str(target)}], "given": []}
    (place.folder / FETCH).write_text(json.dumps(fetch))
    return ledger.order(order.id)


def test_older_maps_go_and_what_somebody_may_look_at_stays(tmp_path: Path) -> None:
    service = _service(tmp_path)
    with Ledger.open(service) as ledger:
        states: dict[str, State] = {
            "a": "published", "b": "quarantined", "c": "superseded", "d": "published",
        }  # fmt: skip
        made = {letter: _order(ledger, service, letter, state) for letter, state in states.items()}
        newest = made["d"]
        outside = tmp_path / "elsewhere"
        outside.mkdir()
        assert clean_up(service, ledger, newest) == 4
    there = {letter: order.config.parent.is_dir() for letter, order in made.items()}
    assert there == {"a": False, "b": True, "c": False, "d": True}
    images = OrderFolder.of(service, "north", "a" * 64).imagery
    assert sorted(path.name for path in images.iterdir()) == ["item-b", "item-d"]
    assert not list(newest.output.glob("work/blocks-*"))
    assert list(made["b"].output.glob("work/blocks-*"))


def test_a_folder_in_use_is_left(tmp_path: Path) -> None:
    service = _service(tmp_path)
    with Ledger.open(service) as ledger:
        old, newest = (_order(ledger, service, letter, "published") for letter in "ab")
        with locks.holding(old.output):
            clean_up(service, ledger, newest)
            assert old.config.parent.is_dir()
        clean_up(service, ledger, newest)
        assert not old.config.parent.exists()


def test_a_path_that_is_not_the_services_is_left(tmp_path: Path) -> None:
    service, outside = _service(tmp_path), tmp_path / "precious"
    with Ledger.open(service) as ledger:
        strange = ledger.claim(
            "north", "2025", "e" * 64, (), outside / "config.yaml", outside / "out"
        )
        assert strange is not None
        outside.mkdir()
        newest = _order(ledger, service, "f", "published")  # the one before is superseded by it
        clean_up(service, ledger, newest)
    assert outside.is_dir()
