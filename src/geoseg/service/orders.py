"""The nouns of the ledger: item_records, choices and orders; and when a failed order is tried again."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from geoseg.config.service import RetryConfig
from geoseg.imagery.catalogs.found import CatalogItem

LEASE_SECONDS = 90
"""How long an order stays a run's after it last said so."""

START_SECONDS = 600
"""How long a run that Prefect calls running may take to begin its order."""

State = Literal[
    "claimed",  # recorded, its run is not known yet
    "started",  # a run was asked for
    "running",  # the run has begun and renews its lease
    "waiting",  # will be tried again when it is due
    "published",
    "quarantined",  # a gate failed
    "failed",  # no repeat can help, or the tries are used up
    "cancelled",
    "superseded",  # newer imagery has made another order, whatever became of this one
]

Lease = Literal["none", "good", "over"]

STATES: tuple[State, ...] = get_args(State)

ACTIVE: tuple[State, ...] = ("claimed", "started", "running", "waiting")
"""Of orders that will go on by themselves."""

SENDABLE: tuple[State, ...] = ("failed", "cancelled", "quarantined", "waiting")
"""Of orders that an operator may send on their way."""


def utc_now() -> dt.datetime:
    """The wall clock, in UTC."""
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """One version of one item, as the ledger has it."""

    area: str
    season: str
    found: CatalogItem
    seen: dt.datetime
    """When it was seen first."""
    changed: dt.datetime
    """When its verdict was last another."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The item that fills a slot; one for each slot is a selection."""

    slot: str
    item: str
    version: str
    date: str
    acquisition: str = ""
    clear: float | None = None

    def as_json(self) -> dict[str, Any]:
        """For the ledger."""
        return {name: getattr(self, name) for name in self.__slots__}


Selection = tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """Map this area from exactly these."""

    id: int
    area: str
    season: str
    fingerprint: str
    """Hash of area, season, template, model and selection."""
    template: str
    """Hash of the area's run config and model alone."""
    selection: Selection
    config: Path
    """Run config of this order."""
    output: Path
    """Folder of its results until they are published."""
    state: State
    attempt: int
    """Counts the runs asked for; with ``id`` it tells them apart."""
    tries: int
    """Tries that have ended since the order was made, or an operator last sent it on its way."""
    run_id: str
    """Of the Prefect run; empty where none is known."""
    reason: str
    due: dt.datetime | None
    """When a waiting order is tried again."""
    version: str
    """Name of the published version; given when publishing begins, and the same ever after."""
    sequence: int
    """Place of the version among those of its area and season, from 1; 0 before it has one."""
    publishing: bool
    """Publishing has begun: it will be ended, whatever newer imagery comes."""
    waived: bool
    """An operator said to publish though a gate fails."""
    created: dt.datetime
    changed: dt.datetime
    lease: Lease
    """Of its run on it, when the ledger was asked."""
    faults: int = 0
    """Faults of the place that it has met one after the other; above 0 a waiting order waits for
    what its reason names, and uses up no tries."""
    destination: str = ""
    """Where its version is published; empty before publishing began."""
    released: dt.datetime | None = None
    """When an operator last released it."""

    @property
    def key(self) -> str:
        """Names this try at the order: asked for twice under it, a run is started once."""
        return f"{self.id}:{self.attempt}"


def next_try(retry: RetryConfig, tries: int, now: dt.datetime) -> dt.datetime | None:
    """When to try again after so many tries have ended; None where they are used up."""
    return None if tries >= retry.tries else now + wait(retry, tries)


def wait(retry: RetryConfig, times: int) -> dt.timedelta:
    """How long to wait after that many failures: twice as long each time, to the longest."""
    minutes = min(retry.longest_minutes, retry.first_minutes * 2.0 ** min(times - 1, 60))
    return dt.timedelta(minutes=minutes)


def is_due(order: Order, retry: RetryConfig, now: dt.datetime) -> bool:
    """Whether a waiting order's time has come.

    No wait is longer than the longest: a later time was set by a clock that was wrong.
    """
    longest = dt.timedelta(minutes=retry.longest_minutes)
    return order.due is None or order.due <= now or order.due > now + longest
