"""Lanes: threads that compute side by side, each with a single thread of torch's.

A network on several of torch's threads has a barrier in every kernel, and OpenMP's threads spin
there: on a machine that does other work all of them wait, at full load, for the one that has no
core. Lanes meet once or twice a step, and whoever waits there sleeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode

T = TypeVar("T")
R = TypeVar("R")


class Lanes:
    """So many threads; they end with the object."""

    def __init__(self, count: int) -> None:
        self.count = count
        # The setting holds for the thread that makes it. The caller's own too: what it computes
        # beside the lanes must neither spin nor be summed in another order where cores are more.
        torch.set_num_threads(1)
        self.pool = ThreadPoolExecutor(count, "lane", torch.set_num_threads, (1,))

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """The results in the items' order, whoever is done first."""
        return self.pool.map(function, items)


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
