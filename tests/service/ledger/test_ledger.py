"""The ledger: an order is claimed once, worked on by one run, published once; on both databases."""

from __future__ import annotations

import datetime as dt
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from geoseg.config.service import RetryConfig, ServiceConfig
from geoseg.errors import ConfigError, LedgerError, OrderError
from geoseg.imagery.catalogs.found import CatalogFile, CatalogItem
from geoseg.io import database
from geoseg.service import orders as nouns
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.metrics import LedgerCollector
from geoseg.service.orders import next_try
from tests.support.common import ROOT
from tests.support.ledgers import PICK, claim, claimed, empty, later, make_service
from tests.support.postgres import Postgres


def test_an_order_is_claimed_once(ledger: Ledger) -> None:
    order = claimed(ledger)
    assert order.state == "claimed"
    assert order.selection == PICK
    assert (order.config, order.output) == (Path("/w/config.yaml"), Path("/w/out"))
    assert claim(ledger) is None
    assert claim(ledger, area="south") is not None
    assert ledger.order(order.id) == order
    assert [o.area for o in ledger.orders()] == ["north", "south"]
    assert ledger.orders("south", ["published"]) == ()


def test_the_life_of_an_order(ledger: Ledger) -> None:
    order = claimed(ledger)
    ledger.started(order, "run-1")
    assert ledger.order(order.id).state == "started"
    assert ledger.begin(order.id, "run-1").lease == "good"
    assert ledger.renew_lease(order.id)
    version = ledger.begin_publishing(order.id).version
    assert version == f"2025-0001-{'f' * 8}"
    done = ledger.finish(order.id, "published", version=version)
    assert (done.state, done.version) == ("published", version)
    assert ledger.finish(order.id, "published", version=version) == done, "told twice, as once"
    assert ledger.published("north", "2025") == (done,)
    assert claim(ledger) is None
    assert [what.split(":")[0] for _, what in ledger.history(order.id)] == [
        "claimed", "started", "running", f"publishing {version}", "published",
    ]  # fmt: skip
    with pytest.raises(OrderError, match="is published"):
        ledger.begin(order.id, "run-2")


def test_a_run_that_begins_before_it_is_recorded(ledger: Ledger) -> None:
    """The watcher died, or was slow, between asking for the run and writing its id down."""
    order = claimed(ledger)
    ledger.begin(order.id, "run-1")
    ledger.started(order, "run-1")
    assert ledger.order(order.id).state == "running"


def test_one_run_at_a_time(ledger: Ledger, service: ServiceConfig) -> None:
    order = claimed(ledger)
    ledger.started(order, "run-1")
    with Ledger.open(service) as other:
        with pytest.raises(OrderError, match="is run run-1's"):
            other.begin(order.id, "run-2")
        ledger.begin(order.id, "run-1")
        with pytest.raises(OrderError, match="only one may work on it"):
            other.begin(order.id, "run-2")
        assert ledger.begin(order.id, "run-1").state == "running", "the same run, started anew"


def test_a_run_that_lost_its_order_cannot_end_it(
    ledger: Ledger, service: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run sleeps through its lease (a paused machine), another takes over, the first wakes up."""
    order = claimed(ledger)
    ledger.begin(order.id, "run-1")
    with Ledger.open(service) as other:
        assert other.lost(ledger.order(order.id), "gone") is None, "its lease is good"
        later(monkeypatch, nouns.LEASE_SECONDS + 1)
        waiting = other.lost(ledger.order(order.id), "gone")
        assert waiting is not None
        assert (waiting.state, waiting.tries, waiting.reason) == ("waiting", 1, "gone")
        again = other.retry(waiting)
        assert again is not None
        assert again.key == f"{order.id}:2" != order.key
        assert other.retry(waiting) is None, "another watcher was as quick"
        other.begin(order.id, "run-2")
        assert not ledger.renew_lease(order.id)
        for act in (
            lambda: ledger.begin_publishing(order.id),
            lambda: ledger.finish(order.id, "published", version="mine"),
            lambda: ledger.reschedule(order.id, "mine"),
        ):
            with pytest.raises(OrderError, match="no longer run run-1's"):
                act()
        other.begin_publishing(order.id)
        assert other.finish(order.id, "published").version.startswith("2025-0001-")


def test_the_wall_clock_does_not_move_leases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ledger.open(make_service(tmp_path)) as ledger:
        order = claimed(ledger)
        ledger.begin(order.id, "run-1")
        wall = time.time
        monkeypatch.setattr(time, "time", lambda: wall() + 1e6)
        assert ledger.order(order.id).lease == "good"
        monkeypatch.setattr(database, "_boot", lambda: "another start of the machine")
        assert ledger.order(order.id).lease == "over"


def test_a_wait_set_by_a_wrong_clock_is_no_longer_than_the_longest(ledger: Ledger) -> None:
    order = claimed(ledger)
    ledger.begin(order.id, "run-1")
    far = nouns.utc_now() + dt.timedelta(days=400)
    waiting = ledger.reschedule(order.id, "disk full", far)
    assert waiting.due is not None
    assert abs(waiting.due - far) < dt.timedelta(seconds=1)
    assert nouns.is_due(waiting, RetryConfig(), nouns.utc_now())


def test_tries_are_used_up(tmp_path: Path) -> None:
    with Ledger.open(make_service(tmp_path, tries=2)) as ledger:
        order = claimed(ledger)
        ledger.begin(order.id, "run-1")
        waiting = ledger.reschedule(order.id, "disk full")
        assert waiting.state == "waiting"
        assert waiting.due
        assert 50 < (waiting.due - nouns.utc_now()).total_seconds() <= 60
        again = ledger.retry(waiting)
        assert again
        ledger.begin(order.id, "run-2")
        failed = ledger.reschedule(order.id, "disk full")
        assert (failed.state, failed.reason) == ("failed", "disk full (tried 2 times)")
        assert claim(ledger) is None, "what failed for good is not made again by itself"
        assert ledger.send(order.id).state == "waiting"
        assert ledger.order(order.id).tries == 0


def test_waits_double_up_to_the_longest() -> None:
    retry = RetryConfig(tries=9, first_minutes=1, longest_minutes=5)
    now = nouns.utc_now()
    waits = [next_try(retry, tries, now) for tries in range(1, 10)]
    minutes = [(due - now).total_seconds() / 60 for due in waits if due]
    assert minutes == [1, 2, 4, 5, 5, 5, 5, 5]
    assert waits[-1] is None


def test_newer_imagery_supersedes_until_publishing_begins(ledger: Ledger) -> None:
    first = claimed(ledger, "1" * 64)
    ledger.begin(first.id, "run-1")
    second = claimed(ledger, "2" * 64)
    assert ledger.order(first.id).state == "superseded"
    assert f"order {second.id}" in ledger.order(first.id).reason
    assert not ledger.renew_lease(first.id)
    ledger.begin(second.id, "run-2")
    ledger.begin_publishing(second.id)
    third = claimed(ledger, "3" * 64)
    assert ledger.order(second.id).state == "running"
    ledger.begin(third.id, "run-3")
    assert ledger.begin_publishing(third.id, after=7).version.startswith("2025-0008-")
    assert ledger.begin_publishing(third.id, after=9).version.startswith("2025-0008-")


def test_imagery_that_comes_back_revives_its_order(ledger: Ledger) -> None:
    first, second = claimed(ledger, "1" * 64), claimed(ledger, "2" * 64)
    revived = claimed(ledger, "1" * 64)
    assert (revived.id, revived.state, revived.attempt) == (first.id, "claimed", 2)
    assert ledger.order(second.id).state == "superseded"


def test_an_operator_releases_what_is_quarantined(ledger: Ledger) -> None:
    order = claimed(ledger)
    with pytest.raises(OrderError, match="is claimed; this is for one that is quarantined"):
        ledger.release(order.id)
    ledger.begin(order.id, "run-1")
    ledger.finish(order.id, "quarantined", "completeness 0.4, 1 wanted")
    released = ledger.release(order.id)
    assert (released.state, released.waived) == ("waiting", True)
    assert nouns.is_due(released, RetryConfig(), nouns.utc_now())
    with pytest.raises(OrderError, match="there is no order 99"):
        ledger.send(99)


def found(item: str = "2025-01-15", **fields: Any) -> CatalogItem:
    content = {"version": "v1", "stamp": "s1", "clear": 0.8, **fields}
    files = (CatalogFile("", f"/drop/{item}.tif", 7, "1220ab", 5),)
    return CatalogItem(item, dt.date.fromisoformat(item), files=files, **content)


def test_what_was_seen_is_kept_once(ledger: Ledger) -> None:
    assert ledger.see("north", "2025", [found(), found("2025-02-15")]) == 2
    known = ledger.item_records("north", "2025")
    assert [s.found for s in known] == [found(), found("2025-02-15")]
    assert ledger.see("north", "2025", [found(), found("2025-02-15")], known) == 0
    assert ledger.item_records("north", "2025") == known
    cloudy = found(verdict="cloudy", reason="10 % clear")
    assert ledger.see("north", "2025", [cloudy, found(version="v2", stamp="s2")]) == 2
    versions = [(s.found.version, s.found.verdict) for s in ledger.item_records("north", "2025")]
    assert versions == [("v1", "cloudy"), ("v2", "usable"), ("v1", "usable")]


def test_unfinished_gives_way_to_what_it_becomes(ledger: Ledger) -> None:
    half = found(version="", verdict="unfinished", reason="too young", clear=None)
    ledger.see("north", "2025", [half])
    ledger.see("north", "2025", [found()])
    assert [s.found for s in ledger.item_records("north", "2025")] == [found()]


def test_a_reason_is_noted_once(ledger: Ledger) -> None:
    assert ledger.noted("north", "2025") == ""
    assert ledger.note("north", "2025", "waits for clouds to go")
    assert not ledger.note("north", "2025", "waits for clouds to go")
    assert ledger.note("north", "2025", "waits for March")
    assert ledger.note("south", "2025", "waits for March")
    assert ledger.noted("north", "2025") == "waits for March"


def test_a_newer_ledger_is_refused(service: ServiceConfig) -> None:
    with Ledger.open(service):
        pass
    engine = create_engine(service.ledger or f"sqlite:///{service.work}/ledger.sqlite")
    with engine.begin() as connection:
        connection.execute(text("UPDATE geoseg_ledger SET schema = 7"))
    engine.dispose()
    with (
        pytest.raises(ConfigError, match=r"made by a newer geoseg \(layout 7"),
        Ledger.open(service),
    ):
        pass


def test_ledgers_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAITS", (0.01,))
    no_database = tmp_path / "notes.txt"
    no_database.write_text("not a database, but long enough to be read as one" * 40)
    for url, error, words in (
        ("mysql://u:pa55word@host/x", ConfigError, "'mysql' is not supported"),
        ("nonsense", ConfigError, "no database URL"),
        (f"sqlite:///{no_database}", ConfigError, "is damaged or no SQLite database"),
        ("postgresql://u:pa55word@127.0.0.1:1/x", LedgerError, "does not answer"),
    ):
        with pytest.raises(error, match=words) as told, Ledger.open(make_service(tmp_path, url)):
            pass
        assert "pa55word" not in str(told.value)


CLAIMER = """
import random, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from tests.support.ledgers import claim, make_service
from geoseg.service.ledger.ledger import Ledger
url = {url!r}
with Ledger.open(make_service(Path({folder!r}), url)) as ledger:
    print("ready", flush=True)
    begin, mine, half = float(sys.stdin.readline()), [], {rounds} // 2
    # Half of them each at one moment; then in an order of its own, so that whoever is late gets some.
    for n in [*range(half), *random.sample(range(half, {rounds}), half)]:
        if n < half:
            time.sleep(max(0, begin + n * 0.02 - time.time()))
        if claim(ledger, area=f"area-{{n}}"):
            mine.append(n)
    print(*mine)
"""


@contextmanager
def claimers(service: ServiceConfig, rounds: int, count: int) -> Iterator[list[Any]]:
    code = CLAIMER.format(
        tests=str(ROOT),
        url=service.ledger,
        folder=str(service.work.parent),
        rounds=rounds,
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def test_watchers_at_once_claim_each_order_once(service: ServiceConfig) -> None:
    """Three processes open a new ledger together, then all ask for the same 60 orders."""
    rounds = 60
    with claimers(service, rounds, 3) as running:
        for process in running:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
        for process in running:
            process.stdin.write(f"{time.time() + 1.5}\n")
            process.stdin.flush()
        ends = [process.communicate(timeout=120) for process in running]
    assert not any(err for _, err in ends), ends
    mine = [[int(n) for n in out.split()] for out, _ in ends]
    assert sorted(n for of_one in mine for n in of_one) == list(range(rounds))
    assert sum(map(bool, mine)) > 1, "they did race"
    with Ledger.open(service) as ledger:
        made = ledger.orders()
        assert len(made) == rounds
        assert all(len(ledger.history(order.id)) == 1 for order in made)


def test_a_database_that_restarts_is_waited_for(server: Postgres, tmp_path: Path) -> None:
    empty(server.url)
    with Ledger.open(make_service(tmp_path, server.url)) as ledger:
        order = claimed(ledger)
        server.stop("immediate")
        server.start()
        assert ledger.order(order.id).state == "claimed"
        assert claim(ledger) is None


def test_a_database_that_is_gone_says_so(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty(server.url)
    with Ledger.open(make_service(tmp_path, server.url)) as ledger:
        server.stop("immediate")
        monkeypatch.setattr(database, "WAITS", (0.05, 0.05))
        try:
            with pytest.raises(LedgerError, match="does not answer"):
                ledger.orders()
        finally:
            server.start()
        assert ledger.orders() == ()


def test_a_sqlite_writer_waits_for_another(tmp_path: Path) -> None:
    service = make_service(tmp_path)
    with Ledger.open(service) as ledger:
        other = sqlite3.connect(service.work / "ledger.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=claim, args=(ledger,))
        thread.start()
        time.sleep(0.5)
        assert thread.is_alive()
        assert ledger.orders() == (), "readers do not wait"
        other.execute("COMMIT")
        thread.join(10)
        assert len(ledger.orders()) == 1
        other.close()


def test_metrics_tell_of_orders(ledger: Ledger, service: ServiceConfig) -> None:
    order = claimed(ledger)
    claim(ledger, "a" * 64, "south")
    ledger.begin(order.id, "run")
    version = ledger.begin_publishing(order.id).version
    ledger.finish(order.id, "published", version=version)
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for family in LedgerCollector(service).collect()
        for sample in family.samples
    }
    assert told["geoseg_ledger_up",] == 1
    assert told["geoseg_orders", "north", "published"] == 1
    assert told["geoseg_orders", "south", "claimed"] == 1
    assert told["geoseg_orders", "south", "published"] == 0
    since = time.time() - told["geoseg_last_published_timestamp_seconds", "north"]
    assert 0 <= since < 60
    assert ("geoseg_last_published_timestamp_seconds", "south") not in told
