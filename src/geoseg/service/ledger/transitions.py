"""How orders change: each function is part of one transaction, and harmless when it is done twice.

claimed -> started -> running -> published | quarantined | failed | cancelled
   ^                     |
   +------ waiting <-----+

From any of these but published and cancelled to superseded: by a newer order, or by its map.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, or_, select, update

from geoseg.config.service import RetryConfig
from geoseg.errors import OrderError
from geoseg.io.database import Moment
from geoseg.service.ledger.tables import events, lease_of, orders, schema
from geoseg.service.orders import (
    ACTIVE,
    LEASE_SECONDS,
    SENDABLE,
    START_SECONDS,
    Order,
    State,
    next_try,
    utc_now,
    wait,
)


def claim(connection: Connection, new: dict[str, Any]) -> int | None:
    """Record an order, unless it is known; older ones of its area and season are superseded.

    ``new`` has the columns that an order is made of. Returns the order's id where it is this
    caller's to start: one that was superseded, and whose imagery is back, may be again.
    """
    connection.execute(select(schema).with_for_update())  # one watcher at a time decides
    same = (orders.c.area == new["area"]) & (orders.c.season == new["season"])
    known = connection.execute(
        select(orders).where(same, orders.c.fingerprint == new["fingerprint"])
    ).one_or_none()
    if known and known.state != "superseded":
        return None
    if known:
        retry(connection, known, "its imagery is the newest again", **_ANEW)
        made = int(known.id)
    else:
        now = utc_now()
        values = {**new, "state": "claimed", "created": now, "changed": now}
        query = insert(orders).values(values).returning(orders.c.id)
        made = int(connection.execute(query).scalar_one())
        tell(connection, new, made, "claimed")
    supersede(connection, new, made)
    return made


_ANEW = {
    "tries": 0, "faults": 0, "waived": False,
    "publishing": False, "sequence": None, "version": None, "destination": "",
}  # fmt: skip
"""Of an order that is revived: nothing of its first life counts, and a version is younger."""


def started(connection: Connection, order: Order, run_id: str) -> None:
    """A run was asked for. It may have begun, or even ended, before this is recorded."""
    row = locked(connection, order.id)
    if row.state == "claimed" and row.attempt == order.attempt:
        move(connection, row, "started", run_id=run_id)


def begin(connection: Connection, order_id: int, run_id: str, now: Moment) -> None:
    """The run takes the order on. Raises ``OrderError`` where it is not to be worked on by it."""
    row = locked(connection, order_id)
    mine = row.run_id in ("", run_id)
    if row.state not in ACTIVE:
        again = f"; 'geoseg ledger SERVICE --retry {order_id}' sends it on its way again"
        raise OrderError(
            f"order {order_id} is {row.state}{_because(row)}{again if row.state in SENDABLE else ''}"
        )
    if not mine and (row.state == "started" or _held(row, now)):
        raise OrderError(
            f"order {order_id} is run {row.run_id}'s ({row.state}); only one may work on it"
        )
    move(connection, row, "running", run_id=run_id, due=None, **_lease(now, LEASE_SECONDS))


def renew_lease(connection: Connection, order_id: int, run_id: str, now: Moment) -> bool:
    """Renew the run's lease; False where the order is no longer the run's."""
    renewed = connection.execute(
        update(orders).where(*_own(order_id, run_id)).values(**_lease(now, LEASE_SECONDS))
    )
    return renewed.rowcount == 1


def begin_publishing(
    connection: Connection, order_id: int, run_id: str, after: int, destination: str
) -> None:
    """From here on the order will be ended, and its version has a name; it never gets another."""
    connection.execute(select(schema).with_for_update())
    row = _require_own(connection, order_id, run_id)
    this = update(orders).where(orders.c.id == order_id)
    connection.execute(this.values(destination=destination))
    if row.publishing:
        return
    same = (orders.c.area == row.area) & (orders.c.season == row.season)
    highest = connection.execute(select(func.max(orders.c.sequence)).where(same)).scalar_one()
    sequence = max(highest or 0, after) + 1
    version = f"{row.season}-{sequence:04d}-{row.fingerprint[:8]}"
    connection.execute(this.values(publishing=True, sequence=sequence, version=version))
    tell(connection, row._asdict(), order_id, f"publishing {version}")


def finish(
    connection: Connection, order_id: int, run_id: str, state: State, reason: str, version: str
) -> None:
    """The run has ended the order. Raises ``OrderError`` where it was no longer the run's."""
    row = locked(connection, order_id)
    if row.state == state and row.run_id == run_id:
        return
    row = _require_own(connection, order_id, run_id)
    if version and row.version and version != row.version:
        raise OrderError(f"order {order_id} is version {row.version}, not {version}")
    if state == "failed":
        _fail(connection, row, reason)
        return
    move(connection, row, state, reason=reason, version=version or row.version, due=None)
    if state == "published":
        outdate(connection, row)


def _fail(connection: Connection, row: Row[Any], reason: str, **values: Any) -> None:
    """For good; an order that another has overtaken is nobody's to mend, and so superseded."""
    newer = overtaking(connection, row, (*ACTIVE, "published"))
    if newer:
        reason = f"order {newer} is newer; this one failed: {reason}"
    state: State = "superseded" if newer else "failed"
    move(connection, row, state, reason=reason, due=None, **values)


def reschedule(
    connection: Connection,
    row: Row[Any],
    reason: str,
    retry: RetryConfig,
    due: dt.datetime | None = None,
) -> None:
    """A try has ended badly: the order waits for another, or has failed where none is left."""
    tries = row.tries + 1
    following = next_try(retry, tries, utc_now())
    if following is None:
        text = f"{reason} (tried {tries} {'time' if tries == 1 else 'times'})"
        _fail(connection, row, text, tries=tries, faults=0)
    else:
        due = due or following
        move(connection, row, "waiting", reason=reason, tries=tries, faults=0, due=due)


def hold(connection: Connection, row: Row[Any], reason: str, retry: RetryConfig) -> None:
    """The place has failed, not the work: the order waits until that is mended, and its tries stay.

    One that was to be published, and whose area has a newer map by now, need not.
    """
    newer = overtaking(connection, row, ("published",))
    if newer:
        reason = f"order {newer} is published; this one waited: {reason}"
        move(connection, row, "superseded", reason=reason, due=None)
        return
    faults = row.faults + 1
    due = utc_now() + wait(retry, faults)
    move(connection, row, "waiting", reason=reason, faults=faults, due=due)


def own_to_put_off(connection: Connection, order_id: int, run_id: str) -> Row[Any] | None:
    """The order's row for ``reschedule`` or ``hold`` by the run itself; None where that was done."""
    row = locked(connection, order_id)
    if row.run_id == run_id and row.state in ("waiting", "failed", "superseded"):
        return None
    return _require_own(connection, order_id, run_id)


def unchanged(connection: Connection, order: Order, now: Moment, gone: bool) -> Row[Any] | None:
    """The order's row, locked, where it stands as ``order`` says and no run holds it.

    ``gone``: that run is known to be dead, whatever its lease says.
    """
    row = locked(connection, order.id)
    same = (row.state, row.attempt, row.run_id) == (order.state, order.attempt, order.run_id)
    return row if same and (gone or not _held(row, now)) else None


def grant_start(connection: Connection, row: Row[Any], now: Moment) -> None:
    """Give the order's run some time to begin it, unless it was given already."""
    if not row.lease_clock:
        lease = _lease(now, START_SECONDS)
        connection.execute(update(orders).where(orders.c.id == row.id).values(**lease))


def retry(connection: Connection, row: Row[Any], reason: str, **values: Any) -> None:
    """Claim the order's next attempt."""
    following = {"attempt": row.attempt + 1, "run_id": "", "lease_clock": "", "due": None}
    move(connection, row, "claimed", reason=reason, **following, **values)


def cancel(connection: Connection, row: Row[Any], reason: str) -> None:
    """The order's run was cancelled, and so is the order."""
    move(connection, row, "cancelled", reason=reason, due=None)


def send(connection: Connection, order_id: int, states: tuple[State, ...], waived: bool) -> None:
    """An operator sends an order on its way again. ``OrderError`` where it is in no such state."""
    row = locked(connection, order_id)
    if row.state not in states:
        raise OrderError(
            f"order {order_id} is {row.state}; this is for one that is {' or '.join(states)}"
        )
    what = "an operator released it" if waived else "an operator sent it on its way again"
    now = utc_now()
    values = {"tries": 0, "faults": 0, "due": now, "waived": waived or row.waived}
    values |= {"released": now} if waived else {}
    move(connection, row, "waiting", reason=what, **values)


def published_again(connection: Connection, order_id: int, destination: str) -> None:
    """The lost version of an order was published once more, as it was."""
    row = locked(connection, order_id)
    values = {"destination": destination}
    connection.execute(update(orders).where(orders.c.id == order_id).values(values))
    tell(connection, row._asdict(), order_id, f"published again: {row.version}")


def locked(connection: Connection, order_id: int) -> Row[Any]:
    """The order's row, nobody else's to change until the transaction ends."""
    query = select(orders).where(orders.c.id == order_id).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise OrderError(f"there is no order {order_id}; 'geoseg ledger SERVICE' lists them")
    return row


def _held(row: Row[Any], now: Moment) -> bool:
    """Whether a run is at work on the order."""
    return bool(row.state == "running" and lease_of(row, now) == "good")


def _own(order_id: int, run_id: str) -> tuple[Any, ...]:
    return (orders.c.id == order_id, orders.c.state == "running", orders.c.run_id == run_id)


def _require_own(connection: Connection, order_id: int, run_id: str) -> Row[Any]:
    row = locked(connection, order_id)
    if row.state != "running" or row.run_id != run_id:
        raise OrderError(
            f"order {order_id} is no longer run {run_id or '(none)'}'s: it is {row.state}"
            f"{_because(row)}"
        )
    return row


def _because(row: Row[Any]) -> str:
    return f" ({row.reason})" if row.reason else ""


def _lease(now: Moment, seconds: float) -> dict[str, Any]:
    return {"lease_clock": now.clock, "lease_until": now.seconds + seconds}


def supersede(connection: Connection, new: dict[str, Any], made: int) -> None:
    """By a new order: what is not publishing yet, and what has failed. Nobody mends that any more."""
    going = orders.c.state.in_(ACTIVE) & orders.c.publishing.is_(False)
    older = others(new, made).where(or_(going, orders.c.state == "failed"))
    for row in connection.execute(older.with_for_update()).all():
        move(connection, row, "superseded", reason=f"order {made} has newer imagery", due=None)


def outdate(connection: Connection, row: Row[Any]) -> None:
    """By a map that is published: the older ones that wait, or that somebody was to look at."""
    older = others(row._asdict(), row.id).where(
        orders.c.id < row.id, orders.c.state.in_(("waiting", "failed", "quarantined"))
    )
    for other in connection.execute(older.with_for_update()).all():
        move(connection, other, "superseded", reason=f"order {row.id} is published", due=None)


def others(of: dict[str, Any], order_id: int) -> Select[Any]:
    """The other orders of an area and season."""
    return select(orders).where(
        orders.c.area == of["area"], orders.c.season == of["season"], orders.c.id != order_id
    )


def overtaking(connection: Connection, row: Row[Any], states: tuple[str, ...]) -> int | None:
    """The order that has come after this one, in one of the states. Only one that is publishing is
    not superseded at once by those that come."""
    if not row.publishing:
        return None
    later = or_(orders.c.sequence.is_(None), orders.c.sequence > row.sequence)
    newer = others(row._asdict(), row.id).where(later, orders.c.state.in_(states))
    found = connection.execute(newer.order_by(orders.c.id.desc()).limit(1)).one_or_none()
    return int(found.id) if found else None


def move(connection: Connection, row: Row[Any], state: State, **values: Any) -> None:
    """Change the order's state and write down that it did."""
    changed = {"state": state, "changed": utc_now(), **values}
    if state in ("waiting", "started"):
        changed["lease_clock"] = ""
    connection.execute(update(orders).where(orders.c.id == row.id).values(changed))
    reason = changed.get("reason", "")
    tell(connection, row._asdict(), row.id, f"{state}: {reason}" if reason else state)


def tell(connection: Connection, of: dict[str, Any], order_id: int | None, what: str) -> None:
    """Write down what has happened."""
    values = {"at": utc_now(), "area": of["area"], "season": of["season"], "what": what}
    connection.execute(insert(events).values({**values, "order_id": order_id}))
