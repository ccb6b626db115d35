"""A change of an order's state, written down; and which orders give way to which."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, insert, or_, select, update

from geoseg.service.ledger.tables import events, orders
from geoseg.service.orders import ACTIVE, State, utc_now


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
