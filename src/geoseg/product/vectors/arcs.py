"""Borders between two regions: rings parted into arcs at the points where borders meet.

An arc is seen twice, from either side and in either direction. Whatever is done to it depends on its
points and on the raster around it alone, in exact or symmetric arithmetic: so both sides come to the
same result, and the polygons stay one coverage, without ever being in memory together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geoseg.product.vectors.half_edges import Ints
from geoseg.product.vectors.rings import Rings
from geoseg.product.vectors.vertex_index import Floats, Triangles, VertexIndex, holds


@dataclass(frozen=True)
class Arcs:
    """The points of rings, each ring from a node to the same node again."""

    x: Floats
    y: Floats
    node: NDArray[np.bool_]
    """Ends of arcs. Where an island has none, its least point is one, and the one farthest away."""
    meeting: NDArray[np.bool_]
    """Nodes where borders meet: these never move."""
    arc: Ints
    """Number of the arc that the point is in, or begins."""
    erasable: NDArray[np.bool_]
    """For each arc: it may become a straight line. Else it could coincide with another one."""
    side: Floats
    """For each arc 1 or -1: the turn, seen in the direction of the ring, that corners to lose first have.
    It is the same corners from either side, and either side for half of the arcs."""
    stops: Ints
    """Last point of each ring: the first again."""
    first: Ints
    """As in ``Rings``."""

    @classmethod
    def of(cls, rings: Rings) -> Self:
        """The arcs of some polygons."""
        order, node, single = _from_nodes(rings)
        sizes = np.diff(rings.starts)
        place = np.arange(len(order)) + np.repeat(np.arange(len(sizes)), sizes)
        stops = rings.starts[1:] + np.arange(len(sizes))
        index = np.empty(len(order) + len(sizes), np.int64)
        index[place] = order
        index[stops] = order[rings.starts[:-1]]
        x, y, node = rings.x[index], rings.y[index], node[index]
        _anchor(x, y, node, stops - sizes, stops, single)
        ring = np.repeat(np.arange(len(sizes)), sizes + 1)
        arc = np.cumsum(node) - 1
        begins = np.flatnonzero(node)
        apart = rings.apart[index[begins]]
        ends = np.append(apart[1:], np.uint32(0))
        alone = _share(apart >> np.uint32(16), ends & np.uint32(0xFFFF)) | single[ring[begins]]
        # The map's corners do not know what is around them.
        alone |= (apart == 0) | (ends == 0)
        meeting, side = rings.degree[index] > 2, _sides(x[begins], y[begins])
        return cls(x, y, node, meeting, arc, ~alone, side, stops, rings.first)

    def own_inside(self, triangles: Triangles, start: Ints, stop: Ints) -> Ints:
        """How many of the points ``start`` to ``stop - 1`` each closed triangle holds."""
        owner, point = spread(start, stop)
        chosen = triangles[0][owner], triangles[1][owner]
        inside = holds(chosen, self.x[point], self.y[point])
        return np.bincount(owner, inside, len(start)).astype(np.int64)

    def triangles(self, before: Ints, point: Ints, after: Ints) -> Triangles:
        """The triangles of three points each."""
        corners = np.stack([before, point, after], axis=1)
        return self.x[corners], self.y[corners]

    def free(
        self, triangles: Triangles, before: Ints, after: Ints, vertex_index: VertexIndex
    ) -> NDArray[np.bool_]:
        """Whether each triangle holds no vertex but those of its own arc from ``before`` to ``after``."""
        x, y = triangles
        # A triangle of one pixel's corners has no room for another lattice point.
        large = np.flatnonzero((np.ptp(x, axis=1) > 1) | (np.ptp(y, axis=1) > 1))
        free = np.ones(len(x), bool)
        some = x[large], y[large]
        inside = vertex_index.inside(some)
        full = inside > 3
        large, some, inside = large[full], (some[0][full], some[1][full]), inside[full]
        free[large] = inside == self.own_inside(some, before[large], after[large] + 1)
        return free


def spread(start: Ints, stop: Ints) -> tuple[Ints, Ints]:
    """All numbers of the ranges ``start`` to ``stop - 1``: the range of each, and the number."""
    sizes = stop - start
    owner = np.repeat(np.arange(len(start)), sizes)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes - start, sizes)


def _from_nodes(rings: Rings) -> tuple[Ints, NDArray[np.bool_], NDArray[np.bool_]]:
    """Points of each ring from its first node on; which points (of the rings) are nodes; which
    rings have only one."""
    node = rings.degree > 2
    sizes = np.diff(rings.starts)
    ring = np.repeat(np.arange(len(sizes)), sizes)
    single = np.bincount(ring[node], minlength=len(sizes)) <= 1
    first = rings.starts[:-1].copy()
    nodes = np.flatnonzero(node)[::-1]
    first[ring[nodes]] = nodes
    node[first] = True
    start = rings.starts[ring]
    order = start + (np.arange(len(ring)) + first[ring] - 2 * start) % sizes[ring]
    return order, node, single


def _anchor(
    x: Floats,
    y: Floats,
    node: NDArray[np.bool_],
    starts: Ints,
    stops: Ints,
    single: NDArray[np.bool_],
) -> None:
    """Give rings with a single node another one: the point farthest from it, the least of equals."""
    starts, stops = starts[single], stops[single]
    if not len(starts):
        return
    owner, point = spread(starts, stops)
    away = (x[point] - x[starts][owner]) ** 2 + (y[point] - y[starts][owner]) ** 2
    # By distance, then backwards by row and column; the last of each ring is the one.
    order = np.lexsort((-x[point], -y[point], away, owner))
    node[point[order[np.cumsum(stops - starts) - 1]]] = True


def place_of(x: Floats, y: Floats) -> NDArray[np.uint64]:
    """One number for each lattice point, in raster order."""
    return y.astype(np.uint64) << np.uint64(32) | x.astype(np.uint64)


def scattered(place: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """As good as random, and different for different places: Knuth's multiplicative hash."""
    return place * np.uint64(0x9E3779B97F4A7C15)


def _sides(x: Floats, y: Floats) -> Floats:
    """``Arcs.side`` by the points where arcs begin; each arc ends where the next one begins."""
    start = place_of(x, y)
    stop = np.roll(start, -1)
    either = (scattered(start) ^ scattered(stop)) >> np.uint64(45) & np.uint64(1)
    return np.where((start < stop) == (either == 1), 1.0, -1.0)


def _share(leaving: NDArray[np.uint32], coming: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Whether two pairs of bytes have a byte in common: the same third region may be at both ends."""
    one, other, low = leaving ^ coming, leaving ^ (coming >> 8 | coming << 8), np.uint32(0xFF)
    different = [(pair & low != 0) & (pair >> 8 & low != 0) for pair in (one, other)]
    return np.asarray(~(different[0] & different[1]))
