"""How runs are started and asked after, whatever runs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import Order

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
