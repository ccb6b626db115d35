"""Regions: the 4-connected areas of one class, found strip by strip and joined where strips meet.

A strip is cut into horizontal runs of one class; runs that touch from row to row are linked, and the
connected components of that graph are its regions. Counting runs instead of pixels keeps all of it
in a few array operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.legend import NODATA
from geoseg.product.vectors.confidence_histogram import ConfidenceHistogram
from geoseg.product.vectors.half_edges import (
    HalfEdges,
    Hanging,
    Ints,
    Strip,
    Whole,
    find_half_edges,
)
from geoseg.product.vectors.outlines import trace
from geoseg.product.vectors.rings import Rings
from geoseg.product.vectors.vertex_index import Vertices


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

    def pick(self, chosen: NDArray[np.generic] | slice) -> Self:
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
            self.regions.pick(slice(start, stop)),
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
    return runs.pick(valued).joined(group[valued]), group[run]


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
    found: Whole = connected_components(graph, directed=False)[1]
    return found


def numbered(groups: Whole) -> Whole:
    """The same groups numbered from 0 in the order in which they first appear."""
    count = int(groups.max(initial=-1)) + 1
    first = np.full(count, len(groups))
    first[groups[::-1]] = np.arange(len(groups))[::-1]
    number = np.empty(count, np.int32)
    number[np.argsort(first, kind="stable")] = np.arange(count, dtype=np.int32)
    return number[groups]


class Seam:
    """The lower edge of what has been read: its codes, and the regions that reach it."""

    def __init__(self, width: int, noted: Vertices | None = None) -> None:
        """``noted`` is told of the borders' vertices."""
        self._noted = noted
        self._above = np.full(width, NODATA, np.uint8), np.full(width, -1, np.int32)
        self._regions, self._confidence = Regions.none(), ConfidenceHistogram.none()
        self._wedges, self._hanging = HalfEdges.none(), Hanging.none()

    def add(self, codes: NDArray[np.uint8], confidence: NDArray[np.uint8], row: int) -> RegionTable:
        """Join the next strip, rows from ``row`` of the map, to what is open above it.

        Returns the regions that are complete: those that do not reach the strip's lower edge,
        in the order of their last pixels.
        """
        found, places = find_regions(codes, row)
        tally = ConfidenceHistogram.of(places, confidence)
        before = len(self._regions)
        above_codes, above = self._above
        meet = (codes[0] == above_codes) & (above >= 0)
        group = link(above[meet], places[0][meet] + before, before + len(found))
        # Appended for nodata, whose place -1 then stays -1.
        old, new = np.append(group[:before], -1), np.append(group[before:], -1)
        above, places = old[above].astype(np.int32), new.astype(np.int32)[places]

        strip = Strip.below((above_codes, above), (codes, places), row)
        kept = self._wedges.pick(slice(None), group[self._wedges.owner], self._wedges.next)
        vertices = strip.vertices()
        if self._noted:
            self._noted.add(*vertices[:2], row, len(codes))
        wedges, hanging = find_half_edges(strip, vertices, kept, self._hanging)
        regions = self._regions.concat(found).joined(group)
        counted = self._confidence.concat(tally, before).joined(group)
        self._above = codes[-1], places[-1]
        return self._split(regions, counted, wedges, hanging)

    def finish(self, row: int) -> RegionTable:
        """What is open at the lower edge of the map, ``row`` being the first one below it."""
        none = np.full((1, len(self._above[0])), NODATA, np.uint8)
        return self.add(none, none, row)

    def _split(
        self, regions: Regions, confidence: ConfidenceHistogram, wedges: HalfEdges, hanging: Hanging
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
        self._regions = regions.pick(going_on)
        stays = reaches[wedges.owner]
        number = _numbers(stays)
        self._hanging = hanging.renumbered(number)
        self._wedges = _part(wedges, stays, place, number)
        self._confidence, counted = confidence.parted(reaches, place)
        closed = _part(wedges, ~stays, place, _numbers(~stays))
        return RegionTable(regions.pick(done), counted, trace(closed, len(done)))


def _numbers(mask: NDArray[np.bool_]) -> Whole:
    """For each place where ``mask`` is True, how many are before it; -1 elsewhere."""
    number = np.cumsum(mask, dtype=np.int32) - 1
    number[~mask] = -1
    return number


def _part(wedges: HalfEdges, mask: NDArray[np.bool_], place: Whole, number: Whole) -> HalfEdges:
    """The wedges at ``mask`` with new numbers of regions and of wedges."""
    kept = np.flatnonzero(mask)
    following = np.append(number, np.int32(-1))[wedges.next[kept]]
    return wedges.pick(kept, place[wedges.owner[kept]], following)
