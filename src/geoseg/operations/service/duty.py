"""A run at work on an order: it holds the order's lease, and the ledger is told how it ends.

What dies without a word is found by its lease, which ends ``LEASE_SECONDS`` after the last renewal.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from geoseg.config.service import ServiceConfig
from geoseg.errors import GateError, LedgerError, OrderError
from geoseg.io import configs
from geoseg.operations.service.ledger import Ledger
from geoseg.operations.service.orders import LEASE_SECONDS, Order, State

BEAT_SECONDS = LEASE_SECONDS / 6
"""Between two renewals of a lease: several may fail before it ends."""

log = logging.getLogger("geoseg")


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which run is to do which order."""

    service: Path
    """The service file."""
    order: int
    run: str
    """The run's id, which tells it from all others that ever tried the order."""


@dataclass(frozen=True, slots=True)
class Duty:
    """An assignment taken on."""

    service: ServiceConfig
    ledger: Ledger
    order: Order


@contextmanager
def taken_on(assignment: Assignment) -> Iterator[Duty]:
    """The order, for the run alone. May be done again by the same run.

    Raises ``OrderError`` where the order has ended or is another run's, ``LedgerError``.
    """
    service = configs.load_service(assignment.service)
    with Ledger.open(service) as ledger:
        yield Duty(service, ledger, ledger.begin(assignment.order, assignment.run))


@contextmanager
def on_duty(assignment: Assignment) -> Iterator[Order]:
    """The order, and its lease renewed while the body works; see ``taken_on``."""
    with taken_on(assignment) as duty:
        over = Event()
        beats = Thread(target=_beat, args=(duty, over), name="lease", daemon=True)
        beats.start()
        try:
            yield duty.order
        finally:
            over.set()
            beats.join()


def _beat(duty: Duty, over: Event) -> None:
    """Renew the lease until the work is over, or the order is another's."""
    while not over.wait(BEAT_SECONDS):
        try:
            if not duty.ledger.beat(duty.order.id):
                # The work goes on, for what it finishes is kept; but it will not be published.
                log.warning("order %s is no longer this run's", duty.order.id)
                return
        except LedgerError as error:
            log.warning("order %s: the lease is not renewed: %s", duty.order.id, error)


@dataclass(frozen=True, slots=True)
class Failure:
    """How a run failed, as its flow knows it."""

    message: str
    passing: bool = True
    """Whether a repeat can help; a bug, or what nobody knows, may be tried again too."""
    exit_code: int = 1


def tell(assignment: Assignment, failure: Failure) -> State | None:
    """Tell the ledger that the run has failed; returns what became of the order.

    None where the ledger does not answer or the order is no longer the run's: then the lease ends by
    itself and the watcher finds out.
    """
    try:
        with taken_on(assignment) as duty:
            return _tell(duty, failure).state
    except LedgerError as error:
        log.warning("order %s: the ledger was not told of the failure: %s", assignment.order, error)
    except OrderError as error:
        log.warning("%s", error)
    return None


def _tell(duty: Duty, failure: Failure) -> Order:
    if failure.exit_code == GateError.exit_code:
        return duty.ledger.finish(duty.order.id, "quarantined", failure.message)
    if failure.passing:
        return duty.ledger.put_off(duty.order.id, failure.message)
    return duty.ledger.finish(duty.order.id, "failed", failure.message)
