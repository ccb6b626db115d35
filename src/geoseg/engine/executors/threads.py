"""Blocks on threads of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from geoseg.engine import worker_context
from geoseg.engine.accelerator import memory_limit
from geoseg.engine.executors import local_cluster
from geoseg.model.memory import keep_memory


@dataclass(frozen=True, eq=False)
class ThreadExecutor:
    """Threads of this process: an ``Executor`` with one process."""

    pool: ThreadPoolExecutor
    threads: int
    memory: int | None
    processes: int = 1
    dashboard: str = ""

    @classmethod
    @contextmanager
    def open(cls, concurrency: int | None = None) -> Iterator[Self]:
        """``concurrency`` networks at once (one per core), and one thread that reads ahead."""
        keep_memory()
        threads = (concurrency or local_cluster.cores()) + 1
        with ThreadPoolExecutor(threads, thread_name_prefix="block") as pool:
            try:
                yield cls(pool, threads, memory_limit())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                worker_context.stop()
                raise

    @property
    def per_process(self) -> int:
        """All of them."""
        return self.threads

    def submit[**P, T](
        self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs
    ) -> Future[T]:
        """Call ``function`` on a thread."""
        return self.pool.submit(function, *arguments, **named)

    def submit_to[T](self, process: int, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Call ``function`` on a thread: there is one process."""
        return self.pool.submit(function, *arguments)

    def disconnected(self) -> str:
        """Never: threads end with the process."""
        return ""

    def unschedulable(self) -> bool:
        """Never."""
        return False
