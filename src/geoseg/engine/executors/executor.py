"""What predicts the blocks: the one face of threads here and of the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol


class Executor(Protocol):
    """Something that calls functions elsewhere."""

    @property
    def processes(self) -> int:
        """Processes that share the work."""

    @property
    def per_process(self) -> int:
        """Blocks that can be under way at once in one process."""

    @property
    def threads(self) -> int:
        """Blocks that can be under way at once, over all processes."""

    @property
    def memory(self) -> int | None:
        """Bytes a process may use; None where nobody says."""

    @property
    def dashboard(self) -> str:
        """Link to the page of a Dask cluster that shows its workers; empty where it has none."""

    def submit[**P, T](
        self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs
    ) -> Future[T]:
        """Call ``function`` in any process: for a single question, which nobody would ask again."""

    def submit_to[T](self, process: int, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Call ``function`` in a process, by number, if it can be had: it may have died, or another
        one may have nothing to do."""

    def disconnected(self) -> str:
        """Why no answer can come any more; empty while one can."""

    def unschedulable(self) -> bool:
        """Whether all that was sent waits for processes that are gone, though others are there."""


def concurrency_of(threads: int) -> int:
    """Networks at once in a process with so many threads: one thread is left to read ahead."""
    return max(1, threads - 1)
