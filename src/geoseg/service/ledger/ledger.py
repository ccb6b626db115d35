"""The ledger: what was seen, what was ordered, and how it ended. It is what "exactly once" rests on.

Each method is one transaction. Several watchers and any number of runs may use one ledger at once;
after a crash in any place it is as after the last method that ended.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, insert, select

from geoseg.config.service import RetryConfig, ServiceConfig
from geoseg.errors import ConfigError
from geoseg.io.database import Database, Moment
from geoseg.service.ledger import transitions
from geoseg.service.ledger.seen import Seen
from geoseg.service.ledger.tables import (
    METADATA,
    SCHEMA,
    bring_up_to_date,
    events,
    orders,
    schema,
    to_order,
)
from geoseg.service.orders import SENDABLE, Order, Selection, State

_Made = TypeVar("_Made")


class Ledger(Seen):
    """A ledger that is open. Raises ``LedgerError`` where its database does not answer.

    What is done to an order by its run (``beat``, ``finish``, ...) is done for the run that this
    object began it for, and raises ``OrderError`` where the order is no longer that run's.
    """

    def __init__(self, database: Database, retry: RetryConfig) -> None:
        super().__init__(database)
        self._retry = retry
        self._runs: dict[int, str] = {}

    @classmethod
    @contextmanager
    def open(cls, service: ServiceConfig) -> Iterator[Ledger]:
        """Open the service's ledger; a new one is made where there is none.

        Raises ``ConfigError`` for a ledger of a newer geoseg.
        """
        database = Database(service.ledger or f"sqlite:///{service.work / 'ledger.sqlite'}")
        try:
            database.make(METADATA, lambda connection: _require_schema(connection, database.name))
            yield cls(database, service.retry)
        finally:
            database.close()

    # Orders

    def history(self, order_id: int) -> tuple[tuple[dt.datetime, str], ...]:
        """What has happened to an order, and when."""
        query = select(events.c.at, events.c.what).where(events.c.order_id == order_id)
        return self._database.read(
            lambda c: tuple((row.at, row.what) for row in c.execute(query.order_by(events.c.id)))
        )

    def order(self, order_id: int) -> Order:
        """One order; ``OrderError`` where there is none."""
        return self._database.read(lambda c: self._order(c, order_id))

    def orders(
        self, area: str | None = None, states: Sequence[State] | None = None
    ) -> tuple[Order, ...]:
        """Orders, oldest first."""
        query = select(orders).order_by(orders.c.id)
        if area is not None:
            query = query.where(orders.c.area == area)
        if states is not None:
            query = query.where(orders.c.state.in_(states))

        def work(connection: Connection) -> tuple[Order, ...]:
            now = self._database.moment(connection)
            return tuple(to_order(row, now) for row in connection.execute(query))

        return self._database.read(work)

    def published(self, area: str, season: str) -> tuple[Order, ...]:
        """The orders whose maps were published, oldest version first."""
        done = [o for o in self.orders(area, ["published"]) if o.season == season]
        return tuple(sorted(done, key=lambda order: order.version))

    def claim(
        self,
        area: str,
        season: str,
        fingerprint: str,
        selection: Selection,
        config_file: Path,
        output: Path,
        template: str = "",
    ) -> Order | None:
        """Make an order, which this caller is to start; None where it was made before.

        Orders of the area and season that have not begun publishing are superseded by it.
        """
        new = {
            "area": area,
            "season": season,
            "fingerprint": fingerprint,
            "template": template,
            "selection": [choice.as_json() for choice in selection],
            "config": str(config_file),
            "output": str(output),
        }

        def work(connection: Connection) -> Order | None:
            made = transitions.claim(connection, new)
            return None if made is None else self._order(connection, made)

        return self._database.write(work)

    def started(self, order: Order, run_id: str) -> None:
        """Record the run that was asked for."""
        self._database.write(lambda c: transitions.started(c, order, run_id))

    # For the run of an order

    def begin(self, order_id: int, run_id: str) -> Order:
        """Take the order on for a run, until ``LEASE_SECONDS`` after its last renewal.

        Raises ``OrderError`` where it has ended, or another run has it.
        """
        self._runs[order_id] = run_id
        return self._change(order_id, lambda c, now: transitions.begin(c, order_id, run_id, now))

    def renew_lease(self, order_id: int) -> bool:
        """Renew the lease; False where the order is no longer this run's, which then must stop."""
        run_id, moment = self._run(order_id), self._database.moment
        return self._database.write(
            lambda c: transitions.renew_lease(c, order_id, run_id, moment(c))
        )

    def begin_publishing(self, order_id: int, after: int = 0, destination: str = "") -> Order:
        """Publishing begins: the order gets the version that it keeps, and is not superseded.

        Its sequence number is above ``after`` and above all others of the area and season. Raises
        ``OrderError`` where the order is no longer this run's: then nothing may be published.
        """
        run_id = self._run(order_id)
        return self._change(
            order_id,
            lambda c, _: transitions.begin_publishing(c, order_id, run_id, after, destination),
        )

    def finish(self, order_id: int, state: State, reason: str = "", version: str = "") -> Order:
        """The run has ended the order: published, quarantined, failed or cancelled."""
        run_id = self._run(order_id)
        return self._change(
            order_id,
            lambda c, _: transitions.finish(c, order_id, run_id, state, reason, version),
        )

    def reschedule(self, order_id: int, reason: str, due: dt.datetime | None = None) -> Order:
        """The run has failed and may succeed another time: at ``due``, by default after the
        service's wait. Where its tries are used up, the order has failed."""
        retry = self._retry
        return self._reschedule(
            order_id, lambda c, r: transitions.reschedule(c, r, reason, retry, due)
        )

    def hold(self, order_id: int, reason: str) -> Order:
        """The run met a fault of its place: the order waits till that is mended, its tries stay."""
        retry = self._retry
        return self._reschedule(order_id, lambda c, row: transitions.hold(c, row, reason, retry))

    def _reschedule(self, order_id: int, change: Callable[[Connection, Row[Any]], None]) -> Order:
        run_id = self._run(order_id)

        def work(connection: Connection, _: Moment) -> None:
            row = transitions.own_to_put_off(connection, order_id, run_id)
            if row is not None:
                change(connection, row)

        return self._change(order_id, work)

    # For the watcher, about the runs of others: nothing is done, and None is given, where the order
    # no longer stands as ``order`` says or a run holds it; one that is ``gone`` holds nothing,
    # though its lease is good

    def lost(
        self, order: Order, reason: str, gone: bool = False, held: bool = False
    ) -> Order | None:
        """Its run is gone without a word: it is put off. ``held``: it had met a fault of its place,
        which it could not tell the ledger."""
        retry, change = self._retry, transitions.hold if held else transitions.reschedule
        return self._unless_moved(order, lambda c, row, _: change(c, row, reason, retry), gone)

    def cancelled(self, order: Order, reason: str, gone: bool = False) -> Order | None:
        """Its run was cancelled."""
        return self._unless_moved(order, lambda c, row, _: transitions.cancel(c, row, reason), gone)

    def grant_start(self, order: Order) -> Order | None:
        """Its run is under way and has ``START_SECONDS`` to begin it."""
        return self._unless_moved(order, transitions.grant_start)

    def retry(self, order: Order) -> Order | None:
        """Claim the next attempt of a waiting order."""
        return self._unless_moved(
            order, lambda c, row, _: transitions.retry(c, row, f"try {row.tries + 1}")
        )

    # For the operator

    def send(self, order_id: int) -> Order:
        """Send an order that ended badly, or waits, on its way with all its tries."""
        return self._change(order_id, lambda c, _: transitions.send(c, order_id, SENDABLE, False))

    def release(self, order_id: int) -> Order:
        """Publish a quarantined map whatever the gates say."""
        return self._change(
            order_id, lambda c, _: transitions.send(c, order_id, ("quarantined",), True)
        )

    def published_again(self, order_id: int, destination: str) -> Order:
        """Write down that the lost version of an order was published once more."""
        return self._change(
            order_id, lambda c, _: transitions.published_again(c, order_id, destination)
        )

    def _run(self, order_id: int) -> str:
        return self._runs.get(order_id, "")

    def _order(self, connection: Connection, order_id: int) -> Order:
        row = transitions.locked(connection, order_id)
        return to_order(row, self._database.moment(connection))

    def _change(self, order_id: int, change: Callable[[Connection, Moment], None]) -> Order:
        """The order as ``change`` has left it."""

        def work(connection: Connection) -> Order:
            change(connection, self._database.moment(connection))
            return self._order(connection, order_id)

        return self._database.write(work)

    def _unless_moved(
        self, order: Order, change: Callable[[Connection, Any, Moment], None], gone: bool = False
    ) -> Order | None:
        def work(connection: Connection) -> Order | None:
            now = self._database.moment(connection)
            row = transitions.unchanged(connection, order, now, gone)
            if row is None:
                return None
            change(connection, row, now)
            return self._order(connection, order.id)

        return self._database.write(work)


def _require_schema(connection: Connection, name: str) -> None:
    """A new ledger gets this version, an older one is brought up to it; ``ConfigError`` for one of a
    newer."""
    have = connection.execute(select(schema.c.schema).with_for_update()).scalar()
    if have is None:
        connection.execute(insert(schema).values(schema=SCHEMA))
    elif have > SCHEMA:
        raise ConfigError(
            f"the ledger {name} was made by a newer geoseg (layout {have}, this one knows {SCHEMA}); "
            "upgrade geoseg, or name another ledger with 'ledger'"
        )
    elif have < SCHEMA:
        bring_up_to_date(connection, have)
