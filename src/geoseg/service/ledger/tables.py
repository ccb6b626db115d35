"""The ledger's tables, and its rows as nouns."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
    update,
)
from sqlalchemy.schema import CreateColumn

from geoseg.imagery.catalogs.found import CatalogFile, CatalogItem
from geoseg.io.database import Moment
from geoseg.service.orders import START_SECONDS, Choice, ItemRecord, Lease, Order

SCHEMA = 2
"""Raised when the tables change; a ledger of a newer version is refused."""


class Utc(TypeDecorator[dt.datetime]):
    """Times in UTC, in databases that know time zones and in those that do not."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> Any:
        """To the database."""
        return value.astimezone(dt.UTC) if value else None

    def process_result_value(self, value: Any | None, dialect: Dialect) -> dt.datetime | None:
        """From the database."""
        if value is None:
            return None
        time: dt.datetime = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        return time.astimezone(dt.UTC)


METADATA = MetaData()

schema = Table("geoseg_ledger", METADATA, Column("schema", Integer, nullable=False))
"""One row. Who changes what others decide on locks it, so that they do so one after another."""

item_records = Table(
    "geoseg_sightings",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("area", String(80), nullable=False),
    Column("season", String(40), nullable=False),
    Column("item", Text, nullable=False),
    Column("version", String(80), nullable=False),
    Column("stamp", String(80), nullable=False),
    Column("acquisition", Text, nullable=False),
    Column("date", String(10), nullable=False),
    Column("made", String(40), nullable=False),
    Column("grid", String(80), nullable=False),
    Column("clear", Float),
    Column("verdict", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("files", JSON, nullable=False),
    Column("seen", Utc, nullable=False),
    Column("changed", Utc, nullable=False),
    UniqueConstraint("area", "season", "item", "version"),
)

orders = Table(
    "geoseg_orders",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("area", String(80), nullable=False),
    Column("season", String(40), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("template", String(64), nullable=False),
    Column("selection", JSON, nullable=False),
    Column("config", Text, nullable=False),
    Column("output", Text, nullable=False),
    Column("state", String(20), nullable=False, index=True),
    Column("attempt", Integer, nullable=False, default=1),
    Column("tries", Integer, nullable=False, default=0),
    Column("run_id", String(80), nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("due", Utc),
    Column("sequence", Integer),
    Column("version", String(80)),
    Column("publishing", Boolean, nullable=False, default=False),
    Column("waived", Boolean, nullable=False, default=False),
    Column("lease_clock", String(80), nullable=False, default=""),
    Column("lease_until", Float, nullable=False, default=0.0),
    Column("created", Utc, nullable=False),
    Column("changed", Utc, nullable=False),
    # Of layout 2; the server's defaults are for processes of layout 1 that are still at work.
    Column("faults", Integer, nullable=False, default=0, server_default="0"),
    Column("destination", Text, nullable=False, default="", server_default=""),
    Column("released", Utc),
    UniqueConstraint("area", "season", "fingerprint"),
    UniqueConstraint("area", "season", "sequence"),
    UniqueConstraint("area", "season", "version"),
)

events = Table(
    "geoseg_events",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", Utc, nullable=False),
    Column("area", String(80), nullable=False),
    Column("season", String(40), nullable=False),
    Column("order_id", Integer),  # none: about the area, such as what it is waiting for
    Column("what", Text, nullable=False),
    Index("geoseg_events_of", "area", "season", "order_id"),
)


def bring_up_to_date(connection: Connection, layout: int) -> None:
    """Make the tables of an older layout those of ``SCHEMA``; what is in them stays."""
    if layout < 2:
        for name in ("faults", "destination", "released"):
            column = CreateColumn(orders.c[name]).compile(dialect=connection.dialect)
            connection.execute(text(f"ALTER TABLE {orders.name} ADD COLUMN {column}"))
    connection.execute(update(schema).values(schema=SCHEMA))


def to_order(row: Row[Any], now: Moment) -> Order:
    """A row of ``orders``."""
    return Order(
        id=row.id,
        area=row.area,
        season=row.season,
        fingerprint=row.fingerprint,
        template=row.template,
        selection=tuple(Choice(**choice) for choice in row.selection),
        config=Path(row.config),
        output=Path(row.output),
        state=row.state,
        attempt=row.attempt,
        tries=row.tries,
        run_id=row.run_id,
        reason=row.reason,
        due=row.due,
        version=row.version or "",
        sequence=row.sequence or 0,
        publishing=row.publishing,
        waived=row.waived,
        created=row.created,
        changed=row.changed,
        lease=lease_of(row, now),
        faults=row.faults,
        destination=row.destination,
        released=row.released,
    )


def lease_of(row: Row[Any], now: Moment) -> Lease:
    """How the lease on an order is. The machine's clock starts anew with the machine: it is over.

    A lease that ends later than any is given for was given by a clock that was wrong.
    """
    if not row.lease_clock:
        return "none"
    good = row.lease_clock == now.clock and 0 < row.lease_until - now.seconds <= START_SECONDS
    return "good" if good else "over"


def to_sighting(row: Row[Any]) -> ItemRecord:
    """A row of ``item_records``."""
    found = CatalogItem(
        item=row.item,
        date=dt.date.fromisoformat(row.date),
        version=row.version,
        stamp=row.stamp,
        acquisition=row.acquisition,
        made=row.made,
        grid=row.grid,
        clear=row.clear,
        verdict=row.verdict,
        reason=row.reason,
        files=tuple(CatalogFile(*file) for file in row.files),
    )
    return ItemRecord(row.area, row.season, found, row.seen, row.changed)


def from_found(found: CatalogItem) -> dict[str, Any]:
    """The columns of ``item_records`` that tell what was found."""
    files = [[f.role, f.href, f.size, f.checksum, f.modified, f.state] for f in found.files]
    names = ("item", "version", "stamp", "acquisition", "made", "grid", "verdict", "reason")
    return {
        **{name: getattr(found, name) for name in names},
        "clear": found.clear,
        "date": found.date.isoformat(),
        "files": files,
    }
