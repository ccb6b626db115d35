"""Who predicts the blocks: threads of this process, or the workers of a Dask cluster, behind one face."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from geoseg.engine import worker_context
from geoseg.engine.accelerator import memory_limit
from geoseg.engine.executors import local_cluster
from geoseg.engine.executors.capacity import ABSENT_SECONDS, addresses, capacity
from geoseg.engine.executors.dashboard import dashboard
from geoseg.model.memory import keep_memory

if TYPE_CHECKING:
    from distributed import Client

LOOK_SECONDS = 2
"""How often a cluster is asked whether other workers came."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Executor:
    """Something that calls functions elsewhere."""

    executors: Sequence[Pool]
    """One for each process. What a process of a cluster is given may end up in another, where that
    one has nothing to do or this one died."""
    anyone: Pool
    """Any process: for a single question, which nobody would ask again."""
    threads: int
    """Blocks that can be under way at once, over all processes."""
    per_process: int
    """Blocks that can be under way at once in one process."""
    memory: int | None
    """Bytes a process may use; None where nobody says."""
    lost: Callable[[], str] = lambda: ""
    """Why no answer can come any more; empty while one can."""
    stranded: Callable[[], bool] = lambda: False
    """Whether all that was sent waits for processes that are gone, though others are there by now."""
    dashboard: str = ""
    """Link to the page of a Dask cluster that shows its workers; empty where it has none."""

    def submit(self, function: Callable[..., T], *arguments: Any, route: int = 0) -> Future[T]:
        """Call ``function`` in a process, in that of ``route`` if it can be had."""
        return self.executors[route].submit(function, *arguments)

    @property
    def processes(self) -> int:
        """Processes that share the work."""
        return len(self.executors)

    @property
    def lanes(self) -> int:
        """Networks that compute at once in one process."""
        return lanes_of(self.per_process)


def lanes_of(threads: int) -> int:
    """Networks at once in a process with so many threads: one thread is left to read ahead."""
    return max(1, threads - 1)


@contextmanager
def here(lanes: int | None = None) -> Iterator[Executor]:
    """Threads of this process: ``lanes`` networks (one per core), and one thread that reads ahead."""
    keep_memory()
    threads = (lanes or local_cluster.cores()) + 1
    with ThreadPoolExecutor(threads, thread_name_prefix="block") as executor:
        try:
            yield Executor([executor], executor, threads, threads, memory_limit())
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            worker_context.stop()
            raise


@contextmanager
def on(
    client: Client,
    resources: Mapping[str, float],
    memory: int | None = None,
    absent: float = ABSENT_SECONDS,
) -> Iterator[Executor]:
    """The workers of a Dask cluster; ``resources`` are what a block needs of a worker's, and
    ``absent`` the seconds that the cluster may be without any."""
    found = capacity(client, resources)
    limits = [size for size in (memory, found.memory_limit) if size]
    needs: dict[str, Any] = {"pure": False, **({"resources": resources} if resources else {})}
    anyone = client.get_executor(**needs)
    yield Executor(
        executors=_executors(client, resources, anyone, needs),
        anyone=anyone,
        threads=found.workers * found.threads_per_worker,
        per_process=found.threads_per_worker,
        memory=min(limits) if limits else None,
        lost=_Watch(client, resources, absent),
        stranded=lambda: _stranded(client, resources),
        dashboard=dashboard(client),
    )


def _executors(
    client: Client, resources: Mapping[str, float], anyone: Pool, needs: Mapping[str, Any]
) -> list[Pool]:
    """One for each worker there is, which prefers it."""
    found = addresses(client, resources)
    crowd = _Crowd(client, resources, frozenset(found))
    near = (client.get_executor(workers=[at], allow_other_workers=True, **needs) for at in found)
    return [_Preferring(each, anyone, crowd) for each in near]


@dataclass(eq=False)
class _Preferring(Pool):
    """Gives work to one worker, while the workers are those it was laid out for; then to any: one
    that comes later would else go idle, since Dask seldom moves what prefers another."""

    near: Pool
    free: Pool
    unchanged: Callable[[], bool]

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return (self.near if self.unchanged() else self.free).submit(fn, *args, **kwargs)


@dataclass(eq=False)
class _Crowd:
    """Tells, from a look every few seconds, whether a cluster's workers are those of the beginning."""

    client: Client
    resources: Mapping[str, float]
    first: frozenset[str]
    _looked: float = field(default_factory=time.monotonic)
    _same: bool = True

    def __call__(self) -> bool:
        if self._same and time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            with suppress(OSError):  # no scheduler: the wait for blocks will tell
                self._same = self.first == frozenset(addresses(self.client, self.resources))
        return self._same


def _stranded(client: Client, resources: Mapping[str, float]) -> bool:
    """Whether all of the client's work waits for workers that are gone, while others are there.

    Work that prefers a worker and is waiting when the last worker goes is given to none that comes
    later, ``allow_other_workers`` or not: Scheduler.bulk_schedule_unrunnable_after_adding_worker of
    distributed 2026.8 looks at the preference alone (a cousin of dask/distributed#7346). So a
    cluster of one worker that is started again would stand still for good.
    """

    # A function within a function is sent as it is: the scheduler need not import this module.
    def without_worker(keys: list[Any], dask_scheduler: Any) -> bool:
        states = {dask_scheduler.tasks[key].state for key in keys if key in dask_scheduler.tasks}
        return states == {"no-worker"}

    futures = client.futures.items()
    wanted = [key for key, future in futures if future.status in ("pending", "lost")]
    try:
        if not wanted or not addresses(client, resources):
            return False
        return bool(client.run_on_scheduler(without_worker, keys=wanted))
    except OSError:  # no scheduler: ``lost`` tells
        return False


class _Watch:
    """Looks, each time it is asked, whether a cluster can still predict a block."""

    def __init__(self, client: Client, resources: Mapping[str, float], absent: float) -> None:
        self._client, self._resources, self._absent = client, resources, absent
        self._asked = self._manned = -math.inf

    def __call__(self) -> str:
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
