"""Threads that compute side by side, each of them with a single thread of torch's.

A network on several of torch's threads has a barrier in every kernel, and OpenMP's threads spin
there: on a machine that does other work all of them wait, at full load, for the one that has no
core. These threads sleep where they wait for one another, and let another compute meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import BrokenBarrierError, Semaphore
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Threads:
    """Threads of which ``concurrency`` compute at once; they end with the object."""

    def __init__(self, concurrency: int, threads: int = 0) -> None:
        """``threads``, where there are more of them than compute at once: they take turns."""
        self.concurrency = concurrency
        self._free = Semaphore(concurrency)
        # The setting holds for the thread that makes it. The caller's own too: what it computes
        # beside them must neither spin nor be summed in another order where cores are more.
        torch.set_num_threads(1)
        self._pool = ThreadPoolExecutor(
            max(concurrency, threads), "train", torch.set_num_threads, (1,)
        )

    def submit[R](self, function: Callable[..., R], *given: Any) -> Future[R]:
        """Begin it as soon as its turn comes."""
        return self._pool.submit(self._in_turn, function, *given)

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
    def waiting(self) -> Iterator[None]:
        """Let another thread compute while this one waits for others."""
        self._free.release()
        try:
            yield
        finally:
            self._free.acquire()

    def _in_turn[R](self, function: Callable[..., R], *given: Any) -> R:
        with self._free:
            return function(*given)


class OwnRandomNumbers(TorchDispatchMode):
    """Random numbers of this thread (dropout, stochastic depth) from a generator of its own.

    torch has one for the whole process: who draws first would depend on the threads.
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
