"""Something done beside what the caller does: slow to begin, and wanted later."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


def run_in_thread[**P, T](function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Call ``function`` on a thread of its own; what it raises is raised by ``result``."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="run_in_thread")
    future = executor.submit(function, *args, **kwargs)
    executor.shutdown(wait=False)  # the thread ends with the call
    return future
