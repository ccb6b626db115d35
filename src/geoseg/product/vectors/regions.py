"""Regions: the 4-connected areas of one class, found strip by strip and joined where strips meet.

A strip is cut into horizontal runs of one class; runs that touch from row to row are linked, and the
connected components of that graph are its regions. Counting runs instead of pixels keeps all of it
in a few array operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.legend import NODATA
from geoseg.product.vectors.half_edges import (
    HalfEdges,
    Hanging,
    Ints,
    Strip,
    Whole,
    find_half_edges,
)
from geoseg.product.vectors.rings import Rings, trace
from geoseg.product.vectors.vertex_index import VertexIndex


@dataclass(frozen=True)
class Regions:
    """``n`` regions: what is counted of them."""

    code: NDArray[np.uint8]
    pixels: Ints
    last: Ints
    """Index of the last pixel in raster order: regions are complete, and written, in this order."""

    def __len__(self) -> int:
        return len(self.code)

    @classmethod
    def none(cls) -> Self:
        """An empty table."""
        empty = np.array([], np.int64)
        return cls(empty.astype(np.uint8), empty, empty)

    def take(self, chosen: NDArray[np.generic] | slice) -> Self:
        """The regions at ``chosen`` (indices, a mask or a slice)."""
        return type(self)(self.code[chosen], self.pixels[chosen], self.last[chosen])

    def concat(self, other: Self) -> Self:
        """Both tables, one after the other."""
        return type(self)(
            np.concatenate([self.code, other.code]),
            np.concatenate([self.pixels, other.pixels]),
            np.concatenate([self.last, other.last]),
        )

    def joined(self, group: Whole) -> Self:
        """One region per group; ``group[n]`` counts from 0, each group of one class."""
        count = int(group.max(initial=-1)) + 1
        code, last = np.zeros(count, np.uint8), np.zeros(count, np.int64)
        code[group] = self.code
        np.maximum.at(last, group, self.last)
        # Exact up to 2**53.
        return type(self)(code, np.bincount(group, self.pixels, count).astype(np.int64), last)


@dataclass(frozen=True)
class RegionTable:
    """Complete regions with what was counted of them and their outlines, place by place."""

    regions: Regions
    confidence: ConfidenceHistogram
    rings: Rings

    def __len__(self) -> int:
        return len(self.regions)

    @classmethod
    def none(cls) -> Self:
        """No regions."""
        return cls(Regions.none(), ConfidenceHistogram.none(), Rings.none())

    def slice(self, start: int, stop: int) -> Self:
        """The regions ``start`` to ``stop - 1``."""
        return type(self)(
            self.regions.take(slice(start, stop)),
            self.confidence.slice(start, stop),
            self.rings.slice(start, stop),
        )

    def concat(self, other: Self) -> Self:
        """Both tables, the other's regions behind these."""
        return type(self)(
            self.regions.concat(other.regions),
            self.confidence.concat(other.confidence, len(self)),
            self.rings.concat(other.rings),
        )


def find_regions(codes: NDArray[np.uint8], row: int) -> tuple[Regions, Whole]:
    """The regions of a strip ``[height, width]`` that starts at ``row`` of the map.

    Also returns which region each pixel is in, ``int32[height, width]``, -1 for nodata. Regions are
    in the order of their first pixels.
    """
    width = codes.shape[1]
    begins = _run_begins(codes)
    run = np.cumsum(begins, dtype=np.int32).reshape(codes.shape) - 1
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=codes.size)
    runs = Regions(codes.ravel()[starts], lengths, row * width + starts + lengths - 1)
    component = _link_runs(codes, begins, run)
    valued = runs.code != NODATA
    group = np.full(len(runs), -1, np.int32)
    group[valued] = numbered(component[valued])
    return runs.take(valued).joined(group[valued]), group[run]


def _run_begins(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a pixel differs from its left neighbour, ``bool[height, width]``; rows begin anew."""
    begins = np.ones(codes.shape, dtype=bool)
    np.not_equal(codes[:, 1:], codes[:, :-1], out=begins[:, 1:])
    return begins


def _link_runs(codes: NDArray[np.uint8], begins: NDArray[np.bool_], run: Whole) -> Whole:
    """Component of each run, runs of one class that share an edge being joined."""
    touching = codes[1:] == codes[:-1]
    # A pair of runs is seen first where one of the two begins, and once is enough.
    touching &= begins[1:] | begins[:-1]
    pairs = np.flatnonzero(touching)
    flat = run.ravel()
    return link(flat[pairs], flat[pairs + codes.shape[1]], int(flat[-1]) + 1)


def link(first: Whole, second: Whole, count: int) -> Whole:
    """Connected components of ``count`` nodes joined pairwise: the component of each, from 0."""
    graph = coo_array((np.ones(len(first), np.uint8), (first, second)), shape=(count, count))
    component: Whole = connected_components(graph, directed=False)[1]
    return component


def numbered(groups: Whole) -> Whole:
    """The same groups numbered from 0 in the order in which they first appear."""
    count = int(groups.max(initial=-1)) + 1
    first = np.full(count, len(groups))
    first[groups[::-1]] = np.arange(len(groups))[::-1]
    number = np.empty(count, np.int32)
    number[np.argsort(first, kind="stable")] = np.arange(count, dtype=np.int32)
    return number[groups]


class OpenRegions:
    """The lower edge of what has been read: its codes, and the regions that reach it."""

    def __init__(self, width: int, vertex_index: VertexIndex | None = None) -> None:
        """``vertex_index`` is told of the borders' vertices."""
        self._vertex_index = vertex_index
        self._above = np.full(width, NODATA, np.uint8), np.full(width, -1, np.int32)
        self._regions, self._confidence = Regions.none(), ConfidenceHistogram.none()
        self._half_edges, self._hanging = HalfEdges.none(), Hanging.none()

    def add(self, codes: NDArray[np.uint8], confidence: NDArray[np.uint8], row: int) -> RegionTable:
        """Join the next strip, rows from ``row`` of the map, to what is open above it.

        Returns the regions that are complete: those that do not reach the strip's lower edge,
        in the order of their last pixels.
        """
        regions_here, places = find_regions(codes, row)
        histogram = ConfidenceHistogram.of(places, confidence)
        before = len(self._regions)
        above_codes, above = self._above
        meet = (codes[0] == above_codes) & (above >= 0)
        group = link(above[meet], places[0][meet] + before, before + len(regions_here))
        # Appended for nodata, whose place -1 then stays -1.
        old, new = np.append(group[:before], -1), np.append(group[before:], -1)
        above, places = old[above].astype(np.int32), new.astype(np.int32)[places]

        strip = Strip.below((above_codes, above), (codes, places), row)
        kept = self._half_edges.take(
            slice(None), group[self._half_edges.owner], self._half_edges.next
        )
        vertices = strip.vertices()
        if self._vertex_index:
            self._vertex_index.add(*vertices[:2], row, len(codes))
        half_edges, hanging = find_half_edges(strip, vertices, kept, self._hanging)
        regions = self._regions.concat(regions_here).joined(group)
        counted = self._confidence.concat(histogram, before).joined(group)
        self._above = codes[-1], places[-1]
        return self._split(regions, counted, half_edges, hanging)

    def finish(self, row: int) -> RegionTable:
        """What is open at the lower edge of the map, ``row`` being the first one below it."""
        none = np.full((1, len(self._above[0])), NODATA, np.uint8)
        return self.add(none, none, row)

    def _split(
        self,
        regions: Regions,
        confidence: ConfidenceHistogram,
        half_edges: HalfEdges,
        hanging: Hanging,
    ) -> RegionTable:
        """Keep what reaches the lower edge; return the rest in order."""
        codes, places = self._above
        reaches = np.zeros(len(regions), dtype=bool)
        reaches[places[places >= 0]] = True
        going_on, done = np.flatnonzero(reaches), np.flatnonzero(~reaches)
        done = done[np.argsort(regions.last[done])]
        place = np.empty(len(regions), np.int32)
        place[going_on], place[done] = np.arange(len(going_on)), np.arange(len(done))

        self._above = codes, np.append(place, -1).astype(np.int32)[places]
        self._regions = regions.take(going_on)
        stays = reaches[half_edges.owner]
        number = _numbers(stays)
        self._hanging = hanging.renumbered(number)
        self._half_edges = _part(half_edges, stays, place, number)
        self._confidence, counted = confidence.parted(reaches, place)
        closed = _part(half_edges, ~stays, place, _numbers(~stays))
        return RegionTable(regions.take(done), counted, trace(closed, len(done)))


def _numbers(mask: NDArray[np.bool_]) -> Whole:
    """For each place where ``mask`` is True, how many are before it; -1 elsewhere."""
    number = np.cumsum(mask, dtype=np.int32) - 1
    number[~mask] = -1
    return number


def _part(half_edges: HalfEdges, mask: NDArray[np.bool_], place: Whole, number: Whole) -> HalfEdges:
    """The half edges at ``mask`` with new numbers of regions and of half edges."""
    kept = np.flatnonzero(mask)
    following = np.append(number, np.int32(-1))[half_edges.next[kept]]
    return half_edges.take(kept, place[half_edges.owner[kept]], following)


_VALUES = 256


@dataclass(frozen=True)
class ConfidenceHistogram:
    """How often each confidence occurs in each region: counts of pairs of the two, sorted by both.

    Exact means and percentiles without a table of regions x values: only pairs that occur are kept.
    """

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
