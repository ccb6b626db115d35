"""Which failures use up an order's tries, how long it waits, and what an older ledger becomes."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from geoseg import errors
from geoseg.config.service import RetryConfig, ServiceConfig
from geoseg.service import orders as nouns
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import Order
from tests.support.ledgers import claimed, empty, later, make_service

PLACE, WORK = "the disk is full", "a block failed"


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> ServiceConfig:
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("server").url
        empty(url)
    return make_service(tmp_path, url, tries=2, first_minutes=1, longest_minutes=5)


def minutes(order: Order) -> float:
    """From the last change to the next try."""
    assert order.due is not None
    return round((order.due - order.changed).total_seconds() / 60, 1)


def attempt(ledger: Ledger, order: Order, place: bool) -> Order:
    """One more try, which fails for its place or for its work."""
    if order.state == "waiting":
        claimed_again = ledger.retry(order)
        assert claimed_again is not None
    ledger.begin(order.id, f"run-{ledger.order(order.id).attempt}")
    return ledger.hold(order.id, PLACE) if place else ledger.reschedule(order.id, WORK)


def test_a_fault_of_the_place_uses_up_no_try(service: ServiceConfig) -> None:
    with Ledger.open(service) as ledger:
        order = claimed(ledger)
        waits = []
        for _ in range(6):
            order = attempt(ledger, order, place=True)
            assert (order.state, order.tries, order.reason) == ("waiting", 0, PLACE)
            waits.append(minutes(order))
        assert waits == [1, 2, 4, 5, 5, 5]
        order = attempt(ledger, order, place=False)
        assert (order.state, order.tries, order.faults, minutes(order)) == ("waiting", 1, 0, 1)
        order = attempt(ledger, order, place=True)
        assert (order.state, order.tries, minutes(order)) == ("waiting", 1, 1)
        order = attempt(ledger, order, place=False)
        assert (order.state, order.reason) == ("failed", f"{WORK} (tried 2 times)")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), max_size=12), st.integers(1, 4))
def test_only_the_work_counts(
    tmp_path_factory: pytest.TempPathFactory, places: list[bool], tries: int
) -> None:
    """Whatever comes in whatever order: failed at the last try of the work, waiting till then."""
    with Ledger.open(make_service(tmp_path_factory.mktemp("l"), tries=tries)) as ledger:
        order, of_work = claimed(ledger), 0
        for place in places:
            order = attempt(ledger, order, place)
            of_work += not place
            assert order.state == ("failed" if of_work == tries else "waiting")
            assert order.tries == of_work
            if order.state == "failed":
                return
            assert order.due is not None
            assert minutes(order) <= RetryConfig().longest_minutes


def test_a_run_that_could_not_tell_is_held_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger was away when the run ended: the watcher has it from the run's state."""
    with Ledger.open(make_service(tmp_path, tries=1)) as ledger:
        order = claimed(ledger)
        ledger.begin(order.id, "run-1")
        later(monkeypatch, nouns.LEASE_SECONDS + 1)
        held = ledger.lost(ledger.order(order.id), PLACE, held=True)
        assert held is not None
        assert (held.state, held.tries, held.faults) == ("waiting", 0, 1)
        ledger.retry(held)
        ledger.begin(order.id, "run-2")
        later(monkeypatch, nouns.LEASE_SECONDS + 1)
        died = ledger.lost(ledger.order(order.id), "its run crashed")
        assert died is not None
        assert died.state == "failed"


def test_told_twice_is_told_once(tmp_path: Path) -> None:
    with Ledger.open(make_service(tmp_path)) as ledger:
        order = attempt(ledger, claimed(ledger), place=True)
        assert ledger.hold(order.id, PLACE) == order


def test_a_ledger_of_layout_1_is_brought_up(service: ServiceConfig) -> None:
    with Ledger.open(service) as ledger:
        before = attempt(ledger, claimed(ledger), place=False)
    engine = create_engine(service.ledger or f"sqlite:///{service.work}/ledger.sqlite")
    with engine.begin() as connection:
        for column in ("faults", "destination", "released"):
            connection.execute(text(f"ALTER TABLE geoseg_orders DROP COLUMN {column}"))
        connection.execute(text("UPDATE geoseg_ledger SET schema = 1"))
    for _ in range(2):
        with Ledger.open(service) as ledger:
            assert ledger.order(before.id) == before
    with engine.begin() as connection:
        assert connection.execute(text("SELECT schema FROM geoseg_ledger")).scalar_one() == 2
        # As a process of layout 1 writes that is still at work.
        connection.execute(
            text(
                "INSERT INTO geoseg_orders (area, season, fingerprint, template, selection, config, "
                "output, state, attempt, tries, run_id, reason, publishing, waived, lease_clock, "
                "lease_until, created, changed) SELECT 'south', season, fingerprint, template, "
                "selection, config, output, state, attempt, tries, run_id, reason, publishing, waived, "
                "lease_clock, lease_until, created, changed FROM geoseg_orders"
            )
        )
    engine.dispose()
    with Ledger.open(service) as ledger:
        (old,) = ledger.orders("south")
        assert (old.faults, old.destination, old.released) == (0, "", None)


OF_PLACE = {
    "ChangedInputError", "OutputError", "ClosedError", "BusyError", "NoClusterError", "RemoteError",
    "LedgerError",
}  # fmt: skip


def test_what_is_the_places() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = [kind for kind in kinds if issubclass(kind, errors.GeosegError)]
    assert {kind.__name__ for kind in ours if kind.of_place} == OF_PLACE
    assert all(errors.of_place(kind("x")) == kind.of_place for kind in ours)
    assert errors.of_place(OSError(errno.ENOSPC, "No space left on device"))
    assert errors.of_place(OSError(errno.EROFS, "Read-only file system"))
    for other in (FileNotFoundError(errno.ENOENT, "x"), ValueError("x"), {"exit_code": 1}, None):
        assert not errors.of_place(other)
