"""Orders that another has replaced are superseded, however they ended: no alert waits for anybody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from geoseg.config.service import ServiceConfig
from geoseg.diagnose.metrics import RunCollector
from geoseg.errors import OrderError
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.metrics import LedgerCollector, overtaken
from geoseg.service.orders import State
from tests.support.ledgers import claimed, make_service


@pytest.fixture
def service(tmp_path: Path) -> ServiceConfig:
    return make_service(tmp_path, tries=1)


def ended(ledger: Ledger, letter: str, state: State) -> int:
    """An order that a run has ended."""
    order = claimed(ledger, letter * 64)
    ledger.begin(order.id, letter)
    if state == "published":
        ledger.begin_publishing(order.id)
    ledger.finish(order.id, state, "why")
    return order.id


def states(ledger: Ledger) -> list[State]:
    return [order.state for order in ledger.orders("north")]


def alerts(service: ServiceConfig) -> float:
    """What ``geoseg_orders{state=~"failed|quarantined"} > 0`` looks at."""
    registry = CollectorRegistry()
    registry.register(LedgerCollector(service))
    return sum(
        sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "geoseg_orders" and sample.labels["state"] in ("failed", "quarantined")
    )


def test_newer_imagery_replaces_what_has_failed(ledger: Ledger, service: ServiceConfig) -> None:
    failed = ended(ledger, "1", "failed")
    assert alerts(service) == 1
    newer = claimed(ledger, "2" * 64)
    assert states(ledger) == ["superseded", "claimed"]
    assert ledger.order(failed).reason == f"order {newer.id} has newer imagery"
    assert alerts(service) == 0
    with pytest.raises(OrderError, match="is superseded") as told:
        ledger.begin(failed, "late")
    assert "--retry" not in str(told.value), "which would be refused"


def test_a_quarantined_map_is_somebodys_until_a_newer_one_is_published(
    ledger: Ledger, service: ServiceConfig
) -> None:
    older = ended(ledger, "1", "quarantined")
    claimed(ledger, "2" * 64)
    assert ledger.order(older).state == "quarantined"
    ended(ledger, "3", "published")
    newest = ended(ledger, "4", "quarantined")
    assert states(ledger) == ["superseded", "superseded", "published", "quarantined"]
    assert ledger.order(newest).reason == "why"
    assert alerts(service) == 1


def test_what_failed_while_it_was_published_is_replaced_too(ledger: Ledger) -> None:
    """An order that publishes is not superseded by newer imagery at once; but once it has failed."""
    first = claimed(ledger, "1" * 64)
    ledger.begin(first.id, "run-1")
    ledger.begin_publishing(first.id)
    second = claimed(ledger, "2" * 64)
    assert states(ledger) == ["running", "claimed"]
    given_up = ledger.reschedule(first.id, "the run died")
    assert given_up.state == "superseded"
    assert (
        given_up.reason
        == f"order {second.id} is newer; this one failed: the run died (tried 1 time)"
    )


def test_the_newest_fails_though_an_older_one_is_being_published(ledger: Ledger) -> None:
    first = claimed(ledger, "1" * 64)
    ledger.begin(first.id, "run-1")
    ledger.begin_publishing(first.id)
    ended(ledger, "2", "failed")
    assert states(ledger) == ["running", "failed"]
    ledger.finish(first.id, "published")
    assert states(ledger) == ["published", "failed"], "the newest is still somebody's to mend"


@pytest.mark.parametrize("held_before", [True, False])
def test_what_waits_to_be_published_ends_where_a_newer_map_is(
    ledger: Ledger, held_before: bool
) -> None:
    first = claimed(ledger, "1" * 64)
    ledger.begin(first.id, "run-1")
    ledger.begin_publishing(first.id)
    if held_before:
        ledger.hold(first.id, "the destination is away")
    ended(ledger, "2", "published")
    if not held_before:
        ledger.hold(first.id, "the destination is away")
    assert states(ledger) == ["superseded", "published"]


def test_what_is_revived_begins_anew(ledger: Ledger) -> None:
    """Its imagery is the newest again: all tries, and a version above those of the meantime."""
    first = claimed(ledger, "1" * 64)
    ledger.begin(first.id, "run-1")
    assert ledger.begin_publishing(first.id).sequence == 1
    ledger.reschedule(first.id, "died")
    ended(ledger, "2", "published")
    assert ledger.order(first.id).state == "superseded"
    revived = claimed(ledger, "1" * 64)
    assert (revived.id, revived.tries, revived.publishing) == (first.id, 0, False)
    ledger.begin(first.id, "run-2")
    assert ledger.begin_publishing(first.id).sequence == 3


def test_the_run_of_a_superseded_order_is_no_failed_run(
    ledger: Ledger, service: ServiceConfig, tmp_path: Path
) -> None:
    folders = {letter: tmp_path / letter for letter in "12"}
    for letter, output in folders.items():
        (output / "work").mkdir(parents=True)
        told = {
            "schema": "geoseg-progress-1", "run": letter, "state": "failed", "message": "x",
            "started": "2026-01-01T00:00:00+00:00", "updated": "2026-01-01T00:00:00+00:00",
        }  # fmt: skip
        (output / "work" / "progress.json").write_text(json.dumps(told))
        made = ledger.claim("north", "2025", letter * 64, (), output / "c.yaml", output)
        assert made is not None
    collector = RunCollector((tmp_path,), lambda: overtaken(service))
    shown = {
        sample.labels["run"]
        for family in collector.collect()
        for sample in family.samples
        if sample.name == "geoseg_run_state" and sample.value and sample.labels["state"] == "failed"
    }
    assert shown == {"2"}
