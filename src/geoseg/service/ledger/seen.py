"""The ledger's part on what was seen: a row for each version of each item, and what areas wait for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from geoseg.imagery.catalogs.found import CatalogItem
from geoseg.io.database import Database
from geoseg.service.ledger.tables import events, from_found, item_records, schema, to_sighting
from geoseg.service.orders import ItemRecord, utc_now


class Seen:
    """What was seen, and why it has not become a map."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def item_records(self, area: str, season: str) -> tuple[ItemRecord, ...]:
        """Everything seen for an area and season."""
        return self._database.read(lambda c: _of_area(c, area, season))

    def see(
        self, area: str, season: str, found: Sequence[CatalogItem], known: Sequence[ItemRecord] = ()
    ) -> int:
        """Write down what a poll has found; returns how much of it was new or has changed.

        ``known`` is what ``item_records`` gave before the poll: nothing new, nothing is written.
        """
        known = known or self.item_records(area, season)
        changed = _differing(known, found)
        ended = _ended(known, found)

        def work(connection: Connection) -> None:
            connection.execute(select(schema).with_for_update())  # two watchers see the same
            for record in ended:
                _forget(connection, record)
            _store(connection, area, season, changed)

        if changed or ended:
            self._database.write(work)
        return len(changed)

    def note(self, area: str, season: str, what: str) -> bool:
        """Keep what an area is waiting for, unless that was the last thing noted of it."""

        def work(connection: Connection) -> bool:
            if _last_note(connection, area, season) == what:
                return False
            values = {"at": utc_now(), "area": area, "season": season, "what": what}
            connection.execute(insert(events).values(values))
            return True

        known = self._database.read(lambda c: _last_note(c, area, season))
        return known != what and self._database.write(work)

    def noted(self, area: str, season: str) -> str:
        """What was last noted of an area and season; empty where nothing was."""
        return self._database.read(lambda c: _last_note(c, area, season))


def _of_area(connection: Connection, area: str, season: str) -> tuple[ItemRecord, ...]:
    """All of an area and season, by day and item."""
    query = select(item_records).where(item_records.c.area == area, item_records.c.season == season)
    order = (item_records.c.date, item_records.c.item, item_records.c.id)
    return tuple(to_sighting(row) for row in connection.execute(query.order_by(*order)))


def _differing(
    known: Sequence[ItemRecord], found: Sequence[CatalogItem]
) -> tuple[CatalogItem, ...]:
    """What the ledger does not have as it was found."""
    have = {(s.found.item, s.found.version): s.found for s in known}
    return tuple(f for f in found if have.get((f.item, f.version)) != f)


def _ended(known: Sequence[ItemRecord], found: Sequence[CatalogItem]) -> tuple[ItemRecord, ...]:
    """Those that were unfinished, and whose item is now whole, another or gone."""
    pending = {f.item for f in found if not f.version}
    return tuple(s for s in known if not s.found.version and s.found.item not in pending)


def _store(connection: Connection, area: str, season: str, found: Sequence[CatalogItem]) -> None:
    """Write them down, or what has changed of them."""
    place, now = {"area": area, "season": season}, utc_now()
    c = item_records.c
    query = select(c.id, c.item, c.version, c.verdict, c.reason).where(
        c.area == area, c.season == season
    )
    known = {(row.item, row.version): row for row in connection.execute(query.with_for_update())}
    new = [one for one in found if (one.item, one.version) not in known]
    if new:  # all at once: a season of a new area is many
        rows = [{**place, **from_found(one), "seen": now, "changed": now} for one in new]
        connection.execute(insert(item_records), rows)
    for one in found:
        row = known.get((one.item, one.version))
        if row is None:
            continue
        values = from_found(one)
        if (row.verdict, row.reason) != (one.verdict, one.reason):
            values["changed"] = now
        connection.execute(update(item_records).where(c.id == row.id).values(values))


def _forget(connection: Connection, record: ItemRecord) -> None:
    """Take one out."""
    found = record.found
    place = _is(record.area, record.season, found.item, found.version)
    connection.execute(delete(item_records).where(*place))


def _is(area: str, season: str, item: str, version: str) -> tuple[Any, ...]:
    c = item_records.c
    return (c.area == area, c.season == season, c.item == item, c.version == version)


def _last_note(connection: Connection, area: str, season: str) -> str:
    query = select(events.c.what).where(
        events.c.area == area, events.c.season == season, events.c.order_id.is_(None)
    )
    return connection.execute(query.order_by(events.c.id.desc()).limit(1)).scalar() or ""
