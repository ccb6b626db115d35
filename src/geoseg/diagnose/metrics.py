"""Prometheus metrics of all runs below some folders, read from their progress files at each scrape."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from geoseg.diagnose.status import Status, find
from geoseg.errors import ConfigError, OutputError

STATES = ("running", "finished", "failed", "dead")
LABELS = ("run", "folder")

BLOCKS = {
    "total": "Blocks of the run.",
    "done": "Blocks finished, those of an earlier try among them.",
    "resumed": "Blocks that were finished before this try.",
    "in_flight": "Blocks that are with a worker.",
    "queued": "Blocks that wait for a worker.",
    "given_up": "Blocks given up.",
}
"""Gauges ``geoseg_blocks_<name>``, by the names that a progress file has for them."""


class RunCollector(Collector):
    """The runs below some folders, as they are when asked, but those of superseded orders.

    Raises ``OutputError`` for a folder that is not there.
    """

    def __init__(
        self, folders: tuple[Path, ...], overtaken: Callable[[], Collection[Path]] = tuple
    ) -> None:
        for folder in folders:
            if not folder.is_dir():
                raise OutputError(f"{folder} is not a folder; name the one that runs write into")
        self._folders, self._overtaken = folders, overtaken

    def collect(self) -> Iterable[Metric]:
        """See ``prometheus_client``: called at each scrape."""
        left_out = {folder.resolve() for folder in self._overtaken()}
        runs = [run for run in find(self._folders) if run.folder.resolve() not in left_out]
        yield GaugeMetricFamily("geoseg_runs", "Runs found.", value=len(runs))
        yield _states(runs)
        yield from _blocks(runs)
        yield from _costs(runs)
        yield from _times(runs)


@contextmanager
def serve(collectors: Sequence[Collector], listen: str) -> Iterator[str]:
    """Serve a page of metrics over HTTP while the body runs; gives the address, ``host:port``.

    Raises ``ConfigError`` for an address that is none, ``OutputError`` for one that cannot be had.
    """
    host, port = parse_address(listen)
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise OutputError(
            f"--listen {listen}: cannot be listened at: {error.strerror or error}; choose another "
            "port, or 0 for any that is free"
        ) from None
    try:
        yield f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def parse_address(listen: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``; ``ConfigError`` where it is something else."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"--listen: {listen!r} is not HOST:PORT, such as 127.0.0.1:9108")
    return host.strip("[]"), int(port)


def _labels(run: Status) -> list[str]:
    return [str(run.content.get("run", "")), str(run.folder)]


def _states(runs: list[Status]) -> Metric:
    family = GaugeMetricFamily(
        "geoseg_run_state", "1 for the state that the run is in, else 0.", labels=(*LABELS, "state")
    )
    for run in runs:
        for state in STATES:
            family.add_metric([*_labels(run), state], float(run.state == state))
    return family


def _blocks(runs: list[Status]) -> Iterator[Metric]:
    """The blocks of each run that has come to the predict stage."""
    for name, text in BLOCKS.items():
        family = GaugeMetricFamily(f"geoseg_blocks_{name}", text, labels=LABELS)
        for run, blocks in _with_blocks(runs):
            family.add_metric(_labels(run), blocks[name])
        yield family


def _costs(runs: list[Status]) -> Iterator[Metric]:
    """What the blocks of this try have cost; a run that is tried again counts from 0."""
    tries = CounterMetricFamily("geoseg_block_failed_tries", "Tries that failed.", labels=LABELS)
    read = CounterMetricFamily(
        "geoseg_read_bytes", "Bytes of decoded pixels read, margins included.", labels=LABELS
    )
    spent = CounterMetricFamily(
        "geoseg_block_seconds",
        "Seconds that blocks took, of all workers together: read, wait (for a network), predict, "
        "write.",
        labels=(*LABELS, "stage"),
    )
    for run, blocks in _with_blocks(runs):
        tries.add_metric(_labels(run), blocks["failed_tries"])
        read.add_metric(_labels(run), blocks["bytes_read"])
        for stage, seconds in blocks["seconds"].items():
            spent.add_metric([*_labels(run), stage], seconds)
    yield from (tries, read, spent)


def _times(runs: list[Status]) -> Iterator[Metric]:
    stages = GaugeMetricFamily(
        "geoseg_stage_seconds", "Seconds of each finished stage.", labels=(*LABELS, "stage")
    )
    started = GaugeMetricFamily(
        "geoseg_run_started_timestamp_seconds", "When the run was started.", labels=LABELS
    )
    updated = GaugeMetricFamily(
        "geoseg_run_updated_timestamp_seconds", "When the run was last heard of.", labels=LABELS
    )
    for run in runs:
        for stage, seconds in run.content.get("seconds", {}).items():
            stages.add_metric([*_labels(run), stage], seconds)
        started.add_metric(_labels(run), _timestamp(run.content["started"]))
        updated.add_metric(_labels(run), _timestamp(run.content["updated"]))
    yield from (stages, started, updated)


def _with_blocks(runs: list[Status]) -> Iterator[tuple[Status, dict[str, Any]]]:
    return ((run, run.content["blocks"]) for run in runs if run.content.get("blocks"))


def _timestamp(moment: str) -> float:
    return dt.datetime.fromisoformat(moment).timestamp()
