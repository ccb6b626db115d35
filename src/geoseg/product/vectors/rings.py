"""Polygons as rings of points, ``n`` of them in a few arrays: traced from half edges, in a canonical
order; shapely objects only at the end.

Points where borders meet are points of all polygons there, also of those whose border goes straight on:
only then have neighbours the same edges, and all polygons are one coverage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from geoseg.grid import Grid
from geoseg.product.vectors.half_edges import HalfEdges, Whole

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Rings:
    """Rings of polygons, in lattice coordinates: column and row of pixels' upper left corners.

    Each polygon's first ring is its exterior. The last point of a ring is not the first again.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    degree: NDArray[np.uint8]
    """Borders that meet at the point: more than 2 where arcs begin and end."""
    apart: NDArray[np.uint32]
    """See ``HalfEdges.apart``."""
    starts: Ints
    """``[rings + 1]``: first point of each ring, and the number of points."""
    first: Ints
    """``[polygons + 1]``: first ring of each polygon, and the number of rings."""

    def __len__(self) -> int:
        return len(self.first) - 1

    @classmethod
    def none(cls) -> Self:
        """No polygons."""
        empty, zero = np.array([]), np.zeros(1, np.int64)
        return cls(empty, empty, empty.astype(np.uint8), empty.astype(np.uint32), zero, zero)

    def points(self) -> Ints:
        """Number of points of each polygon."""
        return np.diff(self.starts[self.first])

    def slice(self, start: int, stop: int) -> Self:
        """The polygons ``start`` to ``stop - 1``."""
        first = self.first[start : stop + 1]
        starts = self.starts[first[0] : first[-1] + 1]
        some = slice(starts[0], starts[-1])
        return type(self)(
            self.x[some],
            self.y[some],
            self.degree[some],
            self.apart[some],
            starts - starts[0],
            first - first[0],
        )

    def concat(self, other: Self) -> Self:
        """All polygons, the other's behind these."""
        return type(self)(
            np.concatenate([self.x, other.x]),
            np.concatenate([self.y, other.y]),
            np.concatenate([self.degree, other.degree]),
            np.concatenate([self.apart, other.apart]),
            np.concatenate([self.starts[:-1], other.starts + self.starts[-1]]),
            np.concatenate([self.first[:-1], other.first + self.first[-1]]),
        )

    def framed(self, grid: Grid) -> Self:
        """The same with the map's own corners among the points where borders meet."""
        corner = np.isin(self.x, [0, grid.width]) & np.isin(self.y, [0, grid.height])
        return replace(self, degree=np.where(corner, np.uint8(3), self.degree))

    def following(self) -> Ints:
        """The next point of each point along its ring."""
        following = np.arange(1, len(self.x) + 1)
        following[self.starts[1:] - 1] = self.starts[:-1]
        return following

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over each polygon of one value per point."""
        if not len(self):
            return np.array([])
        # Every ring has points, so that no segment is empty.
        return np.asarray(np.add.reduceat(values, self.starts[self.first[:-1]]))

    def polygons(self, grid: Grid) -> NDArray[np.object_]:
        """Shapely polygons in map coordinates."""
        if not len(self):
            return np.array([], dtype=object)
        a, b, c, d, e, f = tuple(grid.transform)[:6]
        sizes = np.diff(self.starts)
        place = np.arange(len(self.x)) + np.repeat(np.arange(len(sizes)), sizes)
        points = np.empty((len(self.x) + len(sizes), 2))
        points[place, 0] = a * self.x + b * self.y + c
        points[place, 1] = d * self.x + e * self.y + f
        offsets = self.starts + np.arange(len(self.starts))
        points[offsets[1:] - 1] = points[offsets[:-1]]
        kind = shapely.GeometryType.POLYGON
        return np.asarray(shapely.from_ragged_array(kind, points, (offsets, self.first)))


def trace(half_edges: HalfEdges, count: int) -> Rings:
    """Polygons of the complete regions ``0..count-1``.

    The form is canonical: each ring from its least point (by row, then column), holes in the order of
    these; the region lies to the left of the way, so that exteriors are counter-clockwise on a
    north-up map.
    """
    if not count:
        return Rings.none()
    following, apart = _parted(half_edges)
    ring = _cycles(following)
    # The table is in raster order: the first half edge of a ring is its least point.
    start = np.empty(ring.max() + 1, np.int64)
    start[ring[::-1]] = np.arange(len(ring))[::-1]
    sizes = np.bincount(ring)
    # A region's least point is on its exterior: a hole has pixels of the region above it.
    order = np.lexsort((start, half_edges.owner[start]))
    start, sizes = start[order], sizes[order]
    walk = _walk(start, following)
    rings = np.bincount(half_edges.owner[start], minlength=count)
    return Rings(
        half_edges.x[walk].astype(np.float64),
        half_edges.y[walk].astype(np.float64),
        half_edges.degree[walk],
        apart[walk],
        np.cumsum([0, *sizes]),
        np.cumsum([0, *rings]),
    )


def _parted(half_edges: HalfEdges) -> tuple[Whole, np.ndarray[tuple[int], np.dtype[np.uint32]]]:
    """Successors and ``apart`` such that every ring is simple.

    Where two pixels of a region touch at a point only, its half edges go around each of them; a valid
    polygon goes around the two others: one of those lies in a hole, one does not.
    """
    following, apart = half_edges.next.copy(), half_edges.apart.copy()
    crossing = np.flatnonzero(half_edges.degree == 4)
    for step in (1, 2):  # where its opposite is, of at most four half edges
        here = crossing[: np.searchsorted(crossing, len(half_edges) - step)]
        there = here + step
        same = half_edges.owner[here] == half_edges.owner[there]
        same &= (half_edges.x[here] == half_edges.x[there]) & (
            half_edges.y[here] == half_edges.y[there]
        )
        here, there = here[same], there[same]
        following[here], following[there] = half_edges.next[there], half_edges.next[here]
        came, leaves = np.uint32(0xFFFF), np.uint32(0xFFFF0000)
        apart[here] = half_edges.apart[here] & came | half_edges.apart[there] & leaves
        apart[there] = half_edges.apart[there] & came | half_edges.apart[here] & leaves
    return following, apart


def _graph(following: Whole) -> csr_array:
    """The graph in which each node has one edge, to its successor."""
    count = len(following)
    ones = np.ones(count, np.uint8)
    return csr_array((ones, following, np.arange(count + 1, dtype=np.int32)), shape=(count, count))


def _cycles(following: Whole) -> Whole:
    """Number of the cycle each node is in, from 0."""
    cycle: Whole = connected_components(_graph(following), connection="strong")[1]
    return cycle


def _walk(start: Ints, following: Whole) -> Ints:
    """All nodes in the order of travel, cycle after cycle, each from its ``start``.

    Each cycle's last step is led to the start of the next one, so that one breadth-first search, in
    compiled code, walks them all.
    """
    step = following.copy()
    last = np.empty(len(following), np.int32)
    last[following] = np.arange(len(following), dtype=np.int32)
    step[last[start]] = np.roll(start, -1)
    order: Ints = breadth_first_order(_graph(step), start[0], return_predecessors=False)
    return order
