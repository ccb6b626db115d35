"""What became of the orders under way: runs that vanished are tried again, if that may help."""

from __future__ import annotations

from collections import Counter

from geoseg.config.service import ServiceConfig
from geoseg.operations.service.dispatch import Dispatcher, RunState, dispatch
from geoseg.operations.service.ledger import Ledger
from geoseg.operations.service.orders import ACTIVE, Order, is_due, utc_now

ALIVE = ("pending", "running")


def reconcile(service: ServiceConfig, ledger: Ledger, dispatcher: Dispatcher) -> Counter[str]:
    """Look after every order that has not ended; returns how many of each kind of thing were done.

    Raises ``RemoteError`` where the dispatcher does not answer; the next time goes on from there.
    """
    done: Counter[str] = Counter()
    for order in ledger.orders(states=ACTIVE):
        if order.area in service.areas:
            done[_attend(service, ledger, dispatcher, order)] += 1
    del done[""]
    return done


def _attend(service: ServiceConfig, ledger: Ledger, dispatcher: Dispatcher, order: Order) -> str:
    """One order; returns what was done, or nothing."""
    if order.state == "claimed":  # a watcher died between claiming it and recording its run
        dispatch(ledger, dispatcher, order)
        return "started"
    if order.state == "waiting":
        return _try_again(service, ledger, dispatcher, order)
    if order.state == "running" and order.lease == "good":
        return ""
    state = dispatcher.state(order.run_id)
    if order.state == "started" and state.kind in ALIVE:
        if state.kind == "pending" or order.lease == "good":
            return ""
        if order.lease == "none":
            ledger.expect(order)
            return ""
    return _end(ledger, dispatcher, order, state)


def _try_again(service: ServiceConfig, ledger: Ledger, dispatcher: Dispatcher, order: Order) -> str:
    if not is_due(order, service.retry, utc_now()):
        return ""
    claimed = ledger.again(order)
    if claimed is None:
        return ""
    dispatch(ledger, dispatcher, claimed)
    return "retried"


def _end(ledger: Ledger, dispatcher: Dispatcher, order: Order, state: RunState) -> str:
    """The order's run is over, or as good as: it has not said so, nor how."""
    if state.kind == "cancelled":
        ended = ledger.cancelled(order, state.message or "its run was cancelled")
        return "cancelled" if ended else ""
    if state.kind in ALIVE:
        reason = "it no longer says that it is alive"
        dispatcher.crash(order.run_id, reason)
    else:
        reason = f"its run {_ended(state)}"
    return "lost" if ledger.lost(order, reason) else ""


def _ended(state: RunState) -> str:
    how = {
        "completed": "ended without a word of its result",
        "failed": "failed",
        "crashed": "crashed",
    }.get(state.kind, "is not known any more")
    return f"{how}: {state.message}" if state.message else how
