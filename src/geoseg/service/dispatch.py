"""How runs are started and asked after, whatever runs them; those that vanished are tried again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from geoseg.config.service import ServiceConfig
from geoseg.io import locks
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import ACTIVE, Order, is_due, utc_now

Kind = Literal["pending", "running", "completed", "failed", "crashed", "cancelled", "unknown"]
"""``pending``: asked for, waits its turn; ``unknown``: nobody knows of such a run."""


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run stands."""

    kind: Kind
    message: str = ""
    held: bool = False
    """Whether it ended for a fault of its place."""


class Dispatcher(Protocol):
    """What starts runs. Each method raises ``RemoteError`` where it does not answer."""

    def start(self, order: Order, parameters: Mapping[str, str | int], key: str) -> str:
        """Ask for a run and return its id; with the same ``key`` again, it is the same run."""

    def state(self, run_id: str) -> RunState:
        """Where the run stands."""

    def crash(self, run_id: str, reason: str) -> None:
        """Say that a run is dead that is thought to be running."""


def dispatch(ledger: Ledger, dispatcher: Dispatcher, order: Order) -> str:
    """Ask for the run of a claimed order, and record it; returns the run's id.

    A crash in between does no harm: asked for again, it is the same run.
    """
    parameters: dict[str, str | int] = {
        "config": str(order.config),
        "output": str(order.output),
        "order": order.id,
    }
    run_id = dispatcher.start(order, parameters, order.key)
    ledger.started(order, run_id)
    return run_id


ALIVE = ("pending", "running")
OVER = ("completed", "failed", "crashed", "cancelled")


def reconcile(
    service: ServiceConfig, ledger: Ledger, dispatcher: Dispatcher, asked: Container[int] = ()
) -> Counter[str]:
    """Look after every order that has not ended; returns how many of each kind of thing were done.

    The runs of the orders in ``asked`` were asked for a moment ago.
    Raises ``RemoteError`` where the dispatcher does not answer; the next time goes on from there.
    """
    done: Counter[str] = Counter()
    for order in ledger.orders(states=ACTIVE):
        if order.area in service.areas and order.id not in asked:
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
    state = dispatcher.state(order.run_id)
    gone = _is_gone(order, state)
    if order.state == "running" and order.lease == "good" and not gone:
        return ""
    if order.state == "started" and state.kind in ALIVE:
        if state.kind == "pending" or order.lease == "good":
            return ""
        if order.lease == "none":
            ledger.grant_start(order)
            return ""
    if state.kind in ALIVE:
        state = RunState("crashed", "no sign of life any more")
        dispatcher.crash(order.run_id, state.message)
    return _end(ledger, order, state, gone)


def _is_gone(order: Order, state: RunState) -> bool:
    """Whether a run that renewed its lease a moment ago has died since.

    That its run is over is not enough: a run whose server was away for long is called crashed while
    it goes on, and then holds its folder.
    """
    return state.kind in OVER and not locks.is_held(order.output)


def _try_again(service: ServiceConfig, ledger: Ledger, dispatcher: Dispatcher, order: Order) -> str:
    if not is_due(order, service.retry, utc_now()):
        return ""
    claimed = ledger.retry(order)
    if claimed is None:
        return ""
    dispatch(ledger, dispatcher, claimed)
    return "retried"


def _end(ledger: Ledger, order: Order, state: RunState, gone: bool) -> str:
    """The order's run is over, and has not said how it ended the order."""
    if state.kind == "cancelled":
        ended = ledger.cancelled(order, state.message or "its run was cancelled", gone)
        return "cancelled" if ended else ""
    reason = f"its run {_ended(state)}"
    return "lost" if ledger.lost(order, reason, gone, state.held) else ""


def _ended(state: RunState) -> str:
    how = {
        "completed": "ended without a word of its result",
        "failed": "failed",
        "crashed": "crashed",
    }.get(state.kind, "is not known any more")
    return f"{how}: {state.message}" if state.message else how
