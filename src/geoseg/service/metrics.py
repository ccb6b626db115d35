"""Prometheus metrics of a service, read from its ledger at each scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from geoseg.config.service import ServiceConfig
from geoseg.diagnose.metrics import RunCollector
from geoseg.errors import LedgerError
from geoseg.io import configs
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import STATES, Order


def collectors(folders: tuple[Path, ...], services: tuple[Path, ...]) -> list[Collector]:
    """All that one page shows: the runs below some folders, and the orders of services.

    Raises ``ConfigError`` for a service file that is wrong, ``OutputError`` for a folder that is not
    there.
    """
    known = [configs.load_service(path) for path in services]
    runs = (
        [RunCollector(folders, lambda: {path for one in known for path in overtaken(one)})]
        if folders
        else []
    )
    return [*runs, *map(LedgerCollector, known)]


class LedgerCollector(Collector):
    """The orders of a service, as they are when asked."""

    def __init__(self, service: ServiceConfig) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        """See ``prometheus_client``: called at each scrape."""
        try:
            with Ledger.open(self._service) as ledger:
                orders = ledger.orders()
        except LedgerError:
            yield _up(0)
            return
        yield _up(1)
        yield from _orders(orders, sorted(self._service.areas))


def overtaken(service: ServiceConfig) -> frozenset[Path]:
    """Folders of the runs of superseded orders: how they ended is nobody's worry any more."""
    try:
        with Ledger.open(service) as ledger:
            return frozenset(order.output for order in ledger.orders(states=["superseded"]))
    except LedgerError:
        return frozenset()


def _up(value: int) -> Metric:
    return GaugeMetricFamily("geoseg_ledger_up", "1 where the ledger answers.", value=value)


def _orders(orders: Sequence[Order], areas: Sequence[str]) -> Iterator[Metric]:
    counts = Counter((order.area, order.state) for order in orders)
    family = GaugeMetricFamily(
        "geoseg_orders", "Orders of an area in each state.", labels=("area", "state")
    )
    for area in areas:
        for state in STATES:
            family.add_metric([area, state], counts[area, state])
    yield family
    held = Counter(order.area for order in orders if order.state == "waiting" and order.faults)
    waiting = GaugeMetricFamily(
        "geoseg_orders_held",
        "Waiting orders that met a fault of their place: a disk, a server, an image that is away.",
        labels=("area",),
    )
    for area in areas:
        waiting.add_metric([area], held[area])
    yield waiting
    latest = GaugeMetricFamily(
        "geoseg_last_published_timestamp_seconds",
        "When the area's newest map was published.",
        labels=("area",),
    )
    for area in areas:
        moments = [o.changed for o in orders if o.area == area and o.state == "published"]
        if moments:
            latest.add_metric([area], max(moments).timestamp())
    yield latest
