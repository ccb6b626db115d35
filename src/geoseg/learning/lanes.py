"""Lanes: threads that compute side by side, each with a single thread of torch's.

A network on several of torch's threads has a barrier in every kernel, and OpenMP's threads spin
there: on a machine that does other work all of them wait, at full load, for the one that has no
core. Threads of lanes sleep where they wait for one another, and leave their lane to another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import BrokenBarrierError, Semaphore
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Lanes:
    """So many cores' worth of threads; they end with the object."""

    def __init__(self, count: int, threads: int = 0) -> None:
        """``threads``, where there may be more of them than lanes: they take turns."""
        self.count = count
        self._free = Semaphore(count)
        # The setting holds for the thread that makes it. The caller's own too: what it computes
        # beside the lanes must neither spin nor be summed in another order where cores are more.
        torch.set_num_threads(1)
        self._pool = ThreadPoolExecutor(max(count, threads), "lane", torch.set_num_threads, (1,))

    def submit[R](self, function: Callable[..., R], *given: Any) -> Future[R]:
        """Begin it as soon as a lane is free."""
        return self._pool.submit(self._on_lane, function, *given)

    def map[T, R](self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """The results in the items' order, whoever is done first.

        Raises what one of them raises; where others fail since they waited for it, its own error.
        """
        futures = [self.submit(function, item) for item in items]
        wait(futures)
        errors = [error for future in futures if (error := future.exception())]
        for error in sorted(errors, key=lambda error: isinstance(error, BrokenBarrierError)):
            raise error
        return [future.result() for future in futures]

    @contextmanager
    def left(self) -> Iterator[None]:
        """Leave the lane to another thread while this one waits for others."""
        self._free.release()
        try:
            yield
        finally:
            self._free.acquire()

    def _on_lane[R](self, function: Callable[..., R], *given: Any) -> R:
        with self._free:
            return function(*given)


class OwnDice(TorchDispatchMode):
    """Random numbers of this thread (dropout, stochastic depth) from a generator of its own.

    torch has one for the whole process: who draws first would depend on the lanes.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags:
            # Most random operations take a generator; of the others there is a form that does.
            if all(argument.name != "generator" for argument in func._schema.arguments):
                func = func.overloadpacket.generator
            kwargs = {**kwargs, "generator": self._generator}
        return func(*args, **kwargs)
