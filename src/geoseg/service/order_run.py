"""A run at work on an order: it holds the order's lease, and the ledger is told how it ends.

What dies without a word is found by its lease, which ends ``LEASE_SECONDS`` after the last renewal.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread

from geoseg.config.service import ServiceConfig
from geoseg.errors import ChangedInputError, GateError, LedgerError, OrderError, OutputError
from geoseg.feedback import Progress
from geoseg.io import configs
from geoseg.io.store.objects import Store
from geoseg.io.store.opening import open_store
from geoseg.pipeline.run import Record, Run
from geoseg.service.fetch import fetch_order, require_given
from geoseg.service.gates import Release, check_gates
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import LEASE_SECONDS, Order, State
from geoseg.service.publish import publish_map
from geoseg.service.published_collection import VersionId
from geoseg.service.retention import clean_up
from geoseg.service.versions import highest_sequence, last_published, require_known

RENEWAL_SECONDS = LEASE_SECONDS / 6
"""Between two renewals of a lease: several may fail before it ends."""

log = logging.getLogger("geoseg")


@dataclass(frozen=True, slots=True)
class OrderRun:
    """Which run is to do which order."""

    service: Path
    """The service file."""
    order: int
    run: str
    """The run's id, which tells it from all others that ever tried the order."""


@dataclass(frozen=True, slots=True)
class HeldOrder:
    """An assignment taken on."""

    service: ServiceConfig
    ledger: Ledger
    order: Order


@contextmanager
def taken_on(assignment: OrderRun) -> Iterator[HeldOrder]:
    """The order, for the run alone. May be done again by the same run.

    Raises ``OrderError`` where the order has ended or is another run's, ``LedgerError``.
    """
    service = configs.load_service(assignment.service)
    with Ledger.open(service) as ledger:
        yield HeldOrder(service, ledger, ledger.begin(assignment.order, assignment.run))


@contextmanager
def lease_held(assignment: OrderRun) -> Iterator[Order]:
    """The order, and its lease renewed while the body works; see ``taken_on``."""
    with taken_on(assignment) as held:
        over = Event()
        renewals = Thread(target=_renew, args=(held, over), name="lease", daemon=True)
        renewals.start()
        try:
            yield held.order
        finally:
            over.set()
            renewals.join()


def _renew(held: HeldOrder, over: Event) -> None:
    """Renew the lease until the work is over, or the order is another's."""
    while not over.wait(RENEWAL_SECONDS):
        try:
            if not held.ledger.renew_lease(held.order.id):
                # The work goes on, for what it finishes is kept; but it will not be published.
                log.warning("order %s is no longer this run's", held.order.id)
                return
        except LedgerError as error:
            log.warning("order %s: the lease is not renewed: %s", held.order.id, error)


@dataclass(frozen=True, slots=True)
class Failure:
    """How a run failed, as its flow knows it."""

    message: str
    retryable: bool = True
    """Whether a repeat can help; a bug, or what nobody knows, may be tried again too."""
    exit_code: int = 1
    of_place: bool = False
    """Whether the place failed, and not the work."""


def tell(assignment: OrderRun, failure: Failure) -> State | None:
    """Tell the ledger that the run has failed; returns what became of the order.

    None where the ledger does not answer or the order is no longer the run's: then the lease ends by
    itself and the watcher finds out.
    """
    try:
        with taken_on(assignment) as held:
            return _tell(held, failure).state
    except LedgerError as error:
        log.warning("order %s: the ledger was not told of the failure: %s", assignment.order, error)
    except OrderError as error:
        log.warning("%s", error)
    return None


def _tell(held: HeldOrder, failure: Failure) -> Order:
    if failure.exit_code == GateError.exit_code:
        return held.ledger.finish(held.order.id, "quarantined", failure.message)
    away = "" if failure.of_place else _away(held.order)
    if failure.of_place or away:
        return held.ledger.hold(held.order.id, away or failure.message)
    if failure.retryable:
        return held.ledger.reschedule(held.order.id, failure.message)
    return held.ledger.finish(held.order.id, "failed", failure.message)


def _away(order: Order) -> str:
    """What of the order's input is not as it was: whatever a run says then is no word on the work."""
    try:
        require_given(order)
    except (ChangedInputError, OutputError) as error:
        return str(error)
    return ""


def fetch(assignment: OrderRun, progress: Progress) -> Record:
    """Download what of the order's imagery is elsewhere; see ``fetch_order``."""
    with taken_on(assignment) as held:
        return fetch_order(held.service, held.order, progress)


def judge(run: Run, assignment: OrderRun) -> Record:
    """Measure and judge the run's map; the record's ``gates`` are tables for people."""
    with taken_on(assignment) as held:
        order, service = held.order, held.service
        _destination(held)
        previous = last_published(service.publish, order.area, order.season, run.folder.work)
        verdicts = check_gates(run, service.gates_of(order.area), previous, _release(order))
    return {"gates": [asdict(verdict) for verdict in verdicts]}


def _release(order: Order) -> Release | None:
    if not order.waived:
        return None
    when = order.released or order.changed  # a ledger of layout 1 did not keep it
    return Release(
        when.isoformat(timespec="seconds"), f"geoseg ledger SERVICE --release {order.id}"
    )


def publish(run: Run, assignment: OrderRun) -> Record:
    """Publish the run's map as the order's version, and end the order.

    Raises ``GateError`` where it has not passed its gates, unless an operator released it.
    """
    with taken_on(assignment) as held:
        order, config = held.order, held.service.publish
        if not order.waived:
            _require_gates(run, order)
        store = _destination(held)
        highest = highest_sequence(store, order.area, order.season)
        order = held.ledger.begin_publishing(order.id, highest, store.address)
        place = VersionId(order.area, order.season, order.sequence, order.fingerprint)
        record = publish_map(run, place, config, run.progress)
        if record["published"]:
            held.ledger.finish(order.id, "published", version=place.version)
            clean_up(held.service, held.ledger, order)
        else:
            held.ledger.finish(order.id, "superseded", "newer versions are published by now")
        return record


def _destination(held: HeldOrder) -> Store:
    """Where the map goes. Raises ``OutputError`` where that is away."""
    config = held.service.publish
    store = open_store(config.destination, config.endpoint)
    require_known(store, held.order.area, held.ledger.orders(states=["published"]))
    return store


def _require_gates(run: Run, order: Order) -> None:
    failed = [gate for gate in run.recorded("gates")["gates"] if not gate["passed"]]
    if failed:
        told = "; ".join(f"{gate['name']}: {gate['why']}" for gate in failed)
        raise GateError(
            f"the map of {order.area} is not published: {told}. It stays in {order.output}; "
            f"'geoseg ledger SERVICE --release {order.id}' publishes it all the same"
        )
