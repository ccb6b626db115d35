"""Blocks on the workers of a Dask cluster."""

from __future__ import annotations

import math
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from geoseg.engine.executors.capacity import ABSENT_SECONDS, addresses, capacity

if TYPE_CHECKING:
    from distributed import Client

WORKERS_SECONDS = 2
"""How often a cluster is asked whether other workers came."""

PAGE_SECONDS = 3
"""How long the page may take to answer."""

_MISSING = b"needs bokeh"
"""What a scheduler without the library for it serves in place of the page."""


@dataclass(frozen=True, eq=False)
class DaskExecutor:
    """The workers of a cluster that offer what a block needs: an ``Executor``."""

    client: Client
    resources: Mapping[str, float]
    """What a block needs of a worker's."""
    pools: Sequence[Pool]
    """One for each worker, which prefers it. What it is given may end up with another, where that
    one has nothing to do or this one died."""
    anyone: Pool
    per_process: int
    memory: int | None
    watch: _Watch
    dashboard: str = ""

    @classmethod
    def on(
        cls,
        client: Client,
        resources: Mapping[str, float],
        memory: int | None = None,
        absent: float = ABSENT_SECONDS,
    ) -> Self:
        """The workers that are there; ``memory`` is what a process may use by the config, and
        ``absent`` the seconds that the cluster may be without any worker."""
        at_first = capacity(client, resources)
        limits = [size for size in (memory, at_first.memory_limit) if size]
        needs: dict[str, Any] = {"pure": False, **({"resources": resources} if resources else {})}
        anyone = client.get_executor(**needs)
        return cls(
            client=client,
            resources=resources,
            pools=_pools(client, resources, anyone, needs),
            anyone=anyone,
            per_process=at_first.threads_per_worker,
            memory=min(limits) if limits else None,
            watch=_Watch(client, resources, absent),
            dashboard=_dashboard(client),
        )

    @property
    def processes(self) -> int:
        """The workers there were at first."""
        return len(self.pools)

    @property
    def threads(self) -> int:
        """Of all workers."""
        return self.processes * self.per_process

    def submit[**P, T](
        self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs
    ) -> Future[T]:
        """Call ``function`` on any worker."""
        return self.anyone.submit(function, *arguments, **named)

    def submit_to[T](self, process: int, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Call ``function`` on a worker, if it can be had."""
        return self.pools[process].submit(function, *arguments)

    def disconnected(self) -> str:
        """Whether the scheduler went away, or all workers for long."""
        return self.watch.missing()

    def unschedulable(self) -> bool:
        """Whether all of the client's work waits for workers that are gone, while others are there.

        Work that prefers a worker and is waiting when the last worker goes is given to none that comes
        later, ``allow_other_workers`` or not: Scheduler.bulk_schedule_unrunnable_after_adding_worker of
        distributed 2026.8 looks at the preference alone (a cousin of dask/distributed#7346). So a
        cluster of one worker that is started again would stand still for good.
        """

        # A function within a function is sent as it is: the scheduler need not import this module.
        def without_worker(keys: list[Any], dask_scheduler: Any) -> bool:
            states = {
                dask_scheduler.tasks[key].state for key in keys if key in dask_scheduler.tasks
            }
            return states == {"no-worker"}

        futures = self.client.futures.items()
        wanted = [key for key, future in futures if future.status in ("pending", "lost")]
        try:
            if not wanted or not addresses(self.client, self.resources):
                return False
            return bool(self.client.run_on_scheduler(without_worker, keys=wanted))
        except OSError:  # no scheduler: ``disconnected`` tells
            return False


def _pools(
    client: Client, resources: Mapping[str, float], anyone: Pool, needs: Mapping[str, Any]
) -> list[Pool]:
    """One for each worker there is, which prefers it."""
    at_first = addresses(client, resources)
    workers = _WorkerSet(client, resources, frozenset(at_first))
    near = (client.get_executor(workers=[at], allow_other_workers=True, **needs) for at in at_first)
    return [_Preferring(each, anyone, workers) for each in near]


@dataclass(eq=False)
class _Preferring(Pool):
    """Gives work to one worker, while the workers are those it was laid out for; then to any: one
    that comes later would else go idle, since Dask seldom moves what prefers another."""

    near: Pool
    free: Pool
    workers: _WorkerSet

    def submit[T](self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return (self.near if self.workers.unchanged() else self.free).submit(fn, *args, **kwargs)


@dataclass(eq=False)
class _WorkerSet:
    """Tells, from a look every few seconds, whether a cluster's workers are those of the beginning."""

    client: Client
    resources: Mapping[str, float]
    first: frozenset[str]
    _looked: float = field(default_factory=time.monotonic)
    _same: bool = True

    def unchanged(self) -> bool:
        """As far as is known."""
        if self._same and time.monotonic() - self._looked > WORKERS_SECONDS:
            self._looked = time.monotonic()
            with suppress(OSError):  # no scheduler: the wait for blocks will tell
                self._same = self.first == frozenset(addresses(self.client, self.resources))
        return self._same


class _Watch:
    """Looks, each time it is asked, whether a cluster can still predict a block."""

    def __init__(self, client: Client, resources: Mapping[str, float], absent: float) -> None:
        self._client, self._resources, self._absent = client, resources, absent
        self._asked = self._manned = -math.inf

    def missing(self) -> str:
        """What is gone; empty where nothing is, or not for long."""
        workers, now = self._workers(), time.monotonic()
        if workers is None:
            return "the Dask scheduler went away"
        # Not asked for a while, since blocks came back: there were workers then.
        if workers or now - self._asked > ABSENT_SECONDS / 2:
            self._manned = now
        self._asked = now
        if now - self._manned > self._absent:
            return f"there was no worker for {self._absent} s, and none came back"
        return ""

    def _workers(self) -> int | None:
        """How many workers could take a block; None where no scheduler tells."""
        try:
            running = self._client.status == "running"
            return capacity(self._client, self._resources).workers if running else None
        except OSError:  # it went away while it was asked
            return None


def _dashboard(client: Client) -> str:
    """Link to the dashboard; empty where no page answers there.

    Every scheduler names one, also one that was started without it: there is a web server in any
    case, if only to say that the scheduler is healthy.
    """
    try:
        link = client.dashboard_link
    except (KeyError, ValueError, OSError):  # a template of the user's with a name nobody knows
        return ""
    return link if link and _serves(link) else ""


def _serves(link: str) -> bool:
    """Whether a dashboard answers at a link."""
    # Asked directly: what is beyond a proxy is no scheduler of this network.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(link, timeout=PAGE_SECONDS) as answer:
            return _MISSING not in answer.read(4096)
    except (OSError, ValueError):
        return False
