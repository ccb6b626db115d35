"""Which block comes next: a stretch of the plan's order for each process.

Neighbouring blocks read the same tiles, and a process keeps what it decoded. Dealt out one by one,
neighbours would land in different processes and each would decode all tiles.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from geoseg.tiling import Block, Plan


class BlockQueues:
    """The unfinished blocks of a plan, a few bytes each, on ``count`` routes of the same length."""

    def __init__(self, plan: Plan, done: Iterable[str], count: int) -> None:
        finished = frozenset(done)
        places = [(block.row, block.col) for block in plan if block.id not in finished]
        self._plan = plan
        self._places = np.array(places, dtype=np.int32).reshape(-1, 2)
        bounds: list[int] = np.linspace(0, len(places), count + 1).astype(int).tolist()
        self._stretches = list(pairwise(bounds))

    def take(self, route: int) -> Block | None:
        """The next block of a route; None where no route has any left.

        A route at its end goes on with the second half of what is left of the longest.
        """
        if self._left(route) == 0:
            self._relieve(route)
        start, stop = self._stretches[route]
        if start == stop:
            return None
        self._stretches[route] = (start + 1, stop)
        row, col = self._places[start].tolist()
        return self._plan.block_at(row, col)

    def _left(self, route: int) -> int:
        start, stop = self._stretches[route]
        return stop - start

    def _relieve(self, route: int) -> None:
        longest = max(range(len(self._stretches)), key=self._left)
        start, stop = self._stretches[longest]
        middle = (start + stop) // 2
        self._stretches[longest] = (start, middle)
        self._stretches[route] = (middle, stop)
