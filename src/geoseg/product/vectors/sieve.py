"""Minimum mapping unit: regions too small to be shown join a neighbour.

In a round every small region joins, all at once, the neighbour with which it shares most border (pixel
edges; of equals the one of the smaller code, then the one whose first pixel comes first). Chains are
followed to their end; of two that chose each other the larger keeps its class (of equals the one whose
first pixel comes first). Longer circles cannot be: around one all borders would be equally long, and
each member would rank above the one two before it. What has joined is one region for the next round;
rounds go on until no small region has a neighbour. Nodata is no neighbour and nothing becomes nodata,
so the map has no new holes, and what lies alone in nodata stays.

The class raster is read strip by strip, the result kept in a file without a name. In memory are, besides
a strip, some twenty bytes for each region of the map.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Grid, Window
from geoseg.legend import NODATA
from geoseg.product.vectors.half_edges import Ints, Whole
from geoseg.product.vectors.regions import find_regions, link, numbered

Codes = NDArray[np.uint8]
Read = Callable[[Window], Codes]


class _Map:
    """A class raster kept in a file that goes by itself."""

    def __init__(self, grid: Grid, folder: Path) -> None:
        self._width = grid.width
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it lives as long as the map

    def read(self, window: Window) -> Codes:
        """The codes in a window of whole rows."""
        self._file.seek(window.row * self._width)
        codes = np.fromfile(self._file, np.uint8, window.size)
        return codes.reshape(window.shape)

    def write(self, codes: Codes, window: Window) -> None:
        """Put whole rows into their place."""
        self._file.seek(window.row * self._width)
        codes.tofile(self._file)
        self._file.flush()


@dataclass(frozen=True)
class Merged:
    """A map without small regions."""

    read: Read
    regions: Ints
    """``[256]``: how many regions of each code joined a neighbour, over all rounds."""


def merge_small(
    read: Read, windows: list[Window], grid: Grid, weights: Ints, limit: int, folder: Path
) -> Merged:
    """The map without regions that weigh less than ``limit``.

    ``read`` gives the codes in a window; ``windows`` are strips of whole rows from the first on.
    ``weights[height]`` is what a pixel of each row weighs: whole numbers, so that sums do not depend on
    the strips.
    """
    joined = np.zeros(256, np.int64)
    while True:
        table = _Table.of(read, windows, weights, limit)
        onto = table.chosen(read, windows)
        moves = np.flatnonzero(onto != np.arange(len(onto)))
        if not len(moves):
            return Merged(read, joined)
        joined += np.bincount(table.code[moves], minlength=256)
        read = table.rewritten(read, windows, table.code[onto], _Map(grid, folder))


@dataclass(frozen=True)
class _Table:
    """The regions of a whole map, in the order of their first pixels."""

    code: Codes
    weight: Ints
    small: NDArray[np.bool_]
    number: Whole
    """Region of each part of a region in a strip, strips one after the other."""
    first: Ints
    """``[strips]``: where each strip's parts begin in ``number``."""

    @classmethod
    def of(cls, read: Read, windows: list[Window], weights: Ints, limit: int) -> _Table:
        """Number the regions and weigh them."""
        codes, weighed, pairs, first, count = [], [], [], [], 0
        above: tuple[Codes, Whole] | None = None
        for window in windows:
            strip = read(window)
            regions, places = find_regions(strip, window.row)
            weighed.append(_weigh(places, weights[window.row : window.row_stop], len(regions)))
            codes.append(regions.code)
            first.append(count)
            parts = np.where(places >= 0, places + np.int32(count), np.int32(-1))
            if above is not None:
                meet = (above[0] == strip[0]) & (parts[0] >= 0)
                pairs.append(np.unique(np.stack([above[1][meet], parts[0][meet]]), axis=1))
            above, count = (strip[-1], parts[-1]), count + len(regions)
        nodes = np.concatenate([np.zeros((2, 0), np.int32), *pairs], axis=1)
        number = numbered(link(nodes[0], nodes[1], count))
        total = np.bincount(number, np.concatenate(weighed)).astype(np.int64)
        code = np.zeros(len(total), np.uint8)
        code[number] = np.concatenate(codes)
        return cls(code, total, total < limit, number, np.array(first))

    def places(self, codes: Codes, window: Window, strip: int) -> Whole:
        """Region of each pixel of a strip, -1 for nodata."""
        regions, places = find_regions(codes, window.row)
        here = self.number[self.first[strip] : self.first[strip] + len(regions)]
        return np.append(here, np.int32(-1))[places]

    def chosen(self, read: Read, windows: list[Window]) -> Ints:
        """The region that each region is part of after a round; itself for those that stay."""
        onto = np.arange(len(self.code))
        if self.small.any():
            for region, neighbour in self._choices(read, windows):
                onto[region] = neighbour
        return self._ends(onto)

    def _ends(self, onto: Ints) -> Ints:
        """Chains followed to their ends."""
        mutual = np.flatnonzero(
            (onto[onto] == np.arange(len(onto))) & (onto != np.arange(len(onto)))
        )
        other = onto[mutual]
        keeps = (self.weight[mutual] > self.weight[other]) | (
            (self.weight[mutual] == self.weight[other]) & (mutual < other)
        )
        onto[mutual[keeps]] = mutual[keeps]
        while np.any(onto[onto] != onto):
            onto = onto[onto]
        return onto

    def _choices(self, read: Read, windows: list[Window]) -> Iterator[tuple[Ints, Ints]]:
        """Small regions with the neighbour they share most border with, as they are complete."""
        key, length = np.array([], np.int64), np.array([], np.int64)
        above = np.full((1, windows[0].width), -1, np.int32)
        count = np.int64(len(self.code))
        for strip, window in enumerate(windows):
            places = self.places(read(window), window, strip)
            fresh = self._borders(np.concatenate([above, places]), count)
            key, length = _summed(np.append(key, fresh), np.append(length, np.ones_like(fresh)))
            above = places[-1:]
            open_ = np.zeros(count + 1, bool)
            open_[above] = strip < len(windows) - 1
            waits = open_[key // count]
            yield self._best(key[~waits], length[~waits], count)
            key, length = key[waits], length[waits]

    def _borders(self, places: Whole, count: np.int64) -> Ints:
        """Small region x count + neighbour of each pixel edge below and right of the first row."""
        across = places[1:, :-1], places[1:, 1:]
        down = places[:-1], places[1:]
        small = np.append(self.small, False)  # nodata, -1
        keys = []
        for one, other in (across, down):
            edge = np.flatnonzero((one != other) & (one >= 0) & (other >= 0))
            a, b = one.ravel()[edge].astype(np.int64), other.ravel()[edge].astype(np.int64)
            keys += [(a * count + b)[small[a]], (b * count + a)[small[b]]]
        return np.concatenate(keys)

    def _best(self, key: Ints, length: Ints, count: np.int64) -> tuple[Ints, Ints]:
        """Of each region in ``key`` the neighbour with the longest border."""
        region, neighbour = key // count, key % count
        order = np.lexsort((neighbour, self.code[neighbour], -length, region))
        region, neighbour = region[order], neighbour[order]
        best = np.flatnonzero(np.diff(region, prepend=-1))
        return region[best], neighbour[best]

    def rewritten(self, read: Read, windows: list[Window], codes: Codes, into: _Map) -> Read:
        """Write the map in which each region has its new code."""
        lookup = np.append(codes, np.uint8(NODATA))
        for strip, window in enumerate(windows):
            into.write(lookup[self.places(read(window), window, strip)], window)
        return into.read


def _weigh(places: Whole, weights: Ints, count: int) -> Ints:
    """Weight of each region of a strip; exact up to 2**53."""
    valued = places >= 0
    rows = np.repeat(weights.astype(np.float64), places.shape[1]).reshape(places.shape)
    return np.bincount(places[valued], rows[valued], count).astype(np.int64)


def _summed(key: Ints, value: Ints) -> tuple[Ints, Ints]:
    """Sorted keys, each once, and the sums of their values."""
    order = np.argsort(key, kind="stable")
    key, value = key[order], value[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    return key[starts], np.add.reduceat(value, starts) if len(starts) else value
