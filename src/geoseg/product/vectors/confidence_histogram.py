"""How often each confidence occurs in each region: exact means and percentiles, without a table of
regions x values. Only pairs that occur are kept, and those of open regions only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Whole = NDArray[np.int32]

_VALUES = 256


@dataclass(frozen=True)
class ConfidenceHistogram:
    """Counts of pairs of a region and a value, sorted by both."""

    key: Ints
    """Region x 256 + value, each once."""
    count: Ints

    @classmethod
    def none(cls) -> Self:
        """Nothing was counted."""
        empty = np.array([], np.int64)
        return cls(empty, empty)

    @classmethod
    def of(cls, places: Whole, values: NDArray[np.uint8]) -> Self:
        """Count the pixels of a strip; ``places`` is the region of each, -1 for none."""
        wide = np.int64 if int(places.max(initial=0)) >= 2**22 else np.int32
        key: NDArray[np.signedinteger[Any]] = places.ravel().astype(wide)
        key *= _VALUES
        key += values.ravel()
        key.sort()
        key = key[np.searchsorted(key, 0) :]
        starts = _starts(key)
        return cls(key[starts].astype(np.int64), np.diff(starts, append=len(key)))

    def slice(self, start: int, stop: int) -> Self:
        """The regions ``start`` to ``stop - 1``, numbered from 0."""
        low, high = np.searchsorted(self.key, [start * _VALUES, stop * _VALUES])
        return type(self)(self.key[low:high] - start * _VALUES, self.count[low:high])

    def concat(self, other: Self, before: int) -> Self:
        """Both, the other's regions numbered from ``before`` on."""
        return type(self)(
            np.concatenate([self.key, other.key + before * _VALUES]),
            np.concatenate([self.count, other.count]),
        )

    def joined(self, group: Whole) -> Self:
        """The counts of groups of regions."""
        key = group[self.key // _VALUES] * np.int64(_VALUES) + self.key % _VALUES
        order = np.argsort(key, kind="stable")
        starts = _starts(key[order])
        if not len(starts):
            return self
        return type(self)(key[order[starts]], np.add.reduceat(self.count[order], starts))

    def parted(self, mask: NDArray[np.bool_], place: Whole) -> tuple[Self, Self]:
        """The regions where ``mask`` is True and the others, each under their new places."""
        region, there = self.key // _VALUES, mask[self.key // _VALUES]
        key = place[region] * np.int64(_VALUES) + self.key % _VALUES
        return self._sorted(key, there), self._sorted(key, ~there)

    def _sorted(self, key: Ints, chosen: NDArray[np.bool_]) -> Self:
        order = np.flatnonzero(chosen)
        order = order[np.argsort(key[order])]
        return type(self)(key[order], self.count[order])

    def means(self, regions: int) -> NDArray[np.float64]:
        """Mean value of each region; every region has pixels."""
        region, value = self.key // _VALUES, self.key % _VALUES
        total = np.bincount(region, self.count, regions)
        return np.asarray(np.bincount(region, self.count * value, regions) / total)

    def percentiles(self, regions: int, percent: int) -> NDArray[np.uint8]:
        """The least value that at least ``percent`` % of a region's pixels do not exceed.

        Definition 1 of Hyndman and Fan, Sample Quantiles in Statistical Packages (1996).
        """
        region = self.key // _VALUES
        up_to = np.cumsum(self.count)
        total = np.bincount(region, self.count, regions).astype(np.int64)
        needed = (np.cumsum(total) - total) + -(-total * percent // 100)
        at = np.searchsorted(up_to, needed)
        return (self.key[at] % _VALUES).astype(np.uint8)


def _starts(key: NDArray[np.integer]) -> Ints:
    """Where a sorted array's values change, from 0 on."""
    return np.flatnonzero(np.diff(key, prepend=key[:1] - 1)) if len(key) else np.array([], np.int64)
