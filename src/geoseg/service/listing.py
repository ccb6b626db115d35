"""The ledger as tables: one row per order, or per version of an image."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

from geoseg.config.service import ServiceConfig
from geoseg.errors import ConfigError
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import ItemRecord, Order

Row = dict[str, Any]

ORDER_COLUMNS = ("id", "area", "season", "state", "slots", "tries", "version", "changed", "reason")
IMAGE_COLUMNS = ("area", "date", "item", "version", "clear", "verdict", "seen", "reason")

WIDEST = 60
"""Characters of a column that is not the last."""


def orders(service: ServiceConfig, ledger: Ledger, area: str | None) -> list[Row]:
    """The orders, oldest first. Raises ``ConfigError`` for an area that is none."""
    _require(service, area)
    return [_order(order) for order in ledger.orders(area)]


def images(service: ServiceConfig, ledger: Ledger, area: str | None) -> list[Row]:
    """What was seen, by area and day. Raises ``ConfigError`` for an area that is none."""
    return [
        _image(record)
        for name in _require(service, area)
        for record in ledger.item_records(name, service.areas[name].season.name)
    ]


def notes(service: ServiceConfig, ledger: Ledger, area: str | None) -> Iterator[str]:
    """How each area stood at the last poll."""
    for name in _require(service, area):
        noted = ledger.noted(name, service.areas[name].season.name)
        yield f"{name}: {noted or 'not looked at yet'}"


def lines(rows: Sequence[Row], columns: Sequence[str]) -> Iterator[str]:
    """The columns side by side, under their names."""
    if not rows:
        yield "nothing yet"
        return
    table = [list(columns), *([_text(row[column]) for column in columns] for row in rows)]
    widths = [min(WIDEST, max(len(line[n]) for line in table)) for n in range(len(columns) - 1)]
    for line in table:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=False))
        yield "  ".join([*cells, line[-1]]).rstrip()


def _require(service: ServiceConfig, area: str | None) -> tuple[str, ...]:
    if area is not None and area not in service.areas:
        raise ConfigError(f"no area {area!r} in the service; it has {', '.join(service.areas)}")
    return (area,) if area else tuple(service.areas)


def _order(order: Order) -> Row:
    names = (
        "id", "area", "season", "state", "tries", "faults", "version", "reason", "waived", "run_id",
    )  # fmt: skip
    return {
        **{name: getattr(order, name) for name in names},
        "slots": len(order.selection),
        "images": {choice.slot: choice.item for choice in order.selection},
        "due": _time(order.due),
        "created": _time(order.created),
        "changed": _time(order.changed),
        "fingerprint": order.fingerprint,
        "output": str(order.output),
    }


def _image(record: ItemRecord) -> Row:
    found = record.found
    dated = found.date != dt.date.min
    return {
        "area": record.area,
        "season": record.season,
        "date": found.date.isoformat() if dated else "",
        "item": found.item,
        "version": found.version,
        "clear": found.clear,
        "verdict": found.verdict,
        "reason": found.reason,
        "seen": _time(record.seen),
        "changed": _time(record.changed),
    }


def _time(time: dt.datetime | None) -> str:
    return time.isoformat(timespec="seconds").replace("+00:00", "Z") if time else ""


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return " ".join(str("" if value is None else value).split())
