"""Which class became which: the pairs of two legends, and their numbers in a change raster.

Classes are matched by name; codes and order of the two maps may differ. The value of a pair depends
on the two legends alone, never on what is found, so that change rasters can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import NODATA, Legend

UNCHANGED = 0
"""Value of pixels whose class is the same in both maps."""

_SAME, _DOUBT = "#e4e2dc", "#a9a4a0"


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a change raster."""

    value: int
    name: str
    color: str
    """``#rrggbb``."""


@dataclass(frozen=True)
class Transitions:
    """All pairs of a class before (row ``i`` of ``n``) and a class after (column ``j`` of ``m``).

    Value ``1 + i * m + j`` is a change from ``i`` to ``j``, 0 no change, ``1 + n * m`` a change that
    one of the maps is not sure of. uint8 with nodata 255 where that fits, else uint16 with 65535.
    """

    before: Legend
    after: Legend

    @property
    def uncertain(self) -> int:
        """Value of changes that one of the maps is not sure of."""
        return 1 + len(self.before) * len(self.after)

    @property
    def dtype(self) -> str:
        """Type of the change raster."""
        return "uint8" if self.uncertain < NODATA else "uint16"

    @property
    def nodata(self) -> int:
        """Value of pixels that one of the maps has no class for."""
        return int(np.iinfo(self.dtype).max)

    @cached_property
    def same(self) -> NDArray[np.bool_]:
        """``bool[n + 1, m + 1]``: the two names are one. The last row and column are nodata."""
        names = np.array([*self.after.names, ""], dtype=object)
        rows = [names == name for name in self.before.names]
        return np.array([*rows, np.zeros(len(names), dtype=bool)])

    @cached_property
    def values(self) -> NDArray[np.int64]:
        """``int64[n + 1, m + 1]``: value of each pair in the raster."""
        n, m = len(self.before), len(self.after)
        found = np.full((n + 1, m + 1), self.nodata, dtype=np.int64)
        found[:n, :m] = 1 + np.arange(n * m).reshape(n, m)
        found[self.same] = UNCHANGED
        return found

    def name(self, i: int, j: int) -> str:
        """``maize -> wheat``."""
        return f"{self.before.names[i]} -> {self.after.names[j]}"

    def entries(self) -> Iterator[Entry]:
        """Every value with its name and colour, in the order of values. A change has the colour of
        what it led to."""
        yield Entry(UNCHANGED, "unchanged", _SAME)
        for i in range(len(self.before)):
            for j, entry in enumerate(self.after):
                if not self.same[i, j]:
                    yield Entry(int(self.values[i, j]), self.name(i, j), entry.color)
        yield Entry(self.uncertain, "change not certain", _DOUBT)

    @property
    def colormap(self) -> dict[int, tuple[int, int, int, int]]:
        """Value to RGBA; nodata is transparent."""
        table = {
            e.value: (int(e.color[1:3], 16), int(e.color[3:5], 16), int(e.color[5:], 16), 255)
            for e in self.entries()
        }
        return {**table, self.nodata: (0, 0, 0, 0)}
