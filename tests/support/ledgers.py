"""A service with an empty ledger, orders in it, and its clock moved on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from geoseg.config.service import ServiceConfig
from geoseg.io.database import Database, Moment
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import Choice, Order


def empty(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


def make_service(folder: Path, url: str | None = None, **retry: Any) -> ServiceConfig:
    area = {
        "run": folder / "run.yaml",
        "season": {"start": "2025-01-01", "end": "2025-12-31"},
        "drop": {"folder": folder / "drop"},
    }
    content = {
        "work": folder / "work",
        "ledger": url,
        "publish": {"destination": str(folder / "maps")},
        "areas": {"north": area, "south": area},
        "retry": retry,
    }
    return ServiceConfig.model_validate(content)


PICK = (Choice("2025-01", "2025-01-15", "abc", "2025-01-15", "2025-01-15", 0.9),)


def claim(ledger: Ledger, fingerprint: str = "f" * 64, area: str = "north") -> Order | None:
    return ledger.claim(
        area, "2025", fingerprint, PICK, Path("/w/config.yaml"), Path("/w/out"), "t" * 64
    )


def claimed(ledger: Ledger, fingerprint: str = "f" * 64) -> Order:
    order = claim(ledger, fingerprint)
    assert order is not None
    return order


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The clock of leases stands that much later."""
    now = Database.moment

    def moved(self: Database, connection: Any) -> Moment:
        moment = now(self, connection)
        return Moment(moment.clock, moment.seconds + seconds)

    monkeypatch.setattr(Database, "moment", moved)
