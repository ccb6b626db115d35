"""Outlines of regions from their corners: whole numbers, array operations, no geometry library.

A region's outline turns at its corners, and each corner is seen in the four pixels around one lattice
point. Along every line of the lattice a region's corners pair up into edges; following the edges gives
the rings. Since a corner belongs to the map and not to the strip it was read in, outlines grow from
strip to strip and nothing has to be merged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from geoseg.grid import Grid

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Corners:
    """``n`` corners of regions, in any order."""

    owner: Ints
    """Number of the region."""
    x: NDArray[np.int32]
    """Column of the lattice point: left edge of the pixel of that column."""
    y: NDArray[np.int32]
    right: NDArray[np.bool_]
    """The horizontal edge that ends here lies to the right of the corner (else to its left)."""
    down: NDArray[np.bool_]
    """The vertical edge that ends here lies below the corner (else above)."""

    def __len__(self) -> int:
        return len(self.owner)

    def pick(self, chosen: NDArray[np.generic], owner: Ints) -> Self:
        """The corners at ``chosen`` (indices or a mask) with new owners."""
        return type(self)(
            owner, self.x[chosen], self.y[chosen], self.right[chosen], self.down[chosen]
        )

    def owned_by(self, owner: Ints) -> Self:
        """The same corners under other numbers of their regions."""
        return replace(self, owner=owner)

    @classmethod
    def concatenate(cls, tables: list[Self]) -> Self:
        """All corners of several tables."""
        return cls(
            np.concatenate([t.owner for t in tables]),
            np.concatenate([t.x for t in tables]),
            np.concatenate([t.y for t in tables]),
            np.concatenate([t.right for t in tables]),
            np.concatenate([t.down for t in tables]),
        )


def find_corners(places: NDArray[np.integer], row: int) -> Corners:
    """Corners at the upper edges of the rows ``row`` and below.

    ``places`` ``[1 + rows, width]`` is the region each pixel is in, -1 for none; its first row is
    the one above ``row``. Of each region the corners are seen one by one: where two of its pixels
    touch at a point only, there are two.
    """
    padded = np.pad(places, ((0, 0), (1, 1)), constant_values=-1)
    beside, above = padded[:, 1:] != padded[:, :-1], padded[1:] != padded[:-1]
    # Elsewhere a lattice point lies inside a region or on a straight edge.
    y, x = np.nonzero((beside[1:] | beside[:-1]) & (above[:, 1:] | above[:, :-1]))
    around = [[padded[y, x], padded[y, x + 1]], [padded[y + 1, x], padded[y + 1, x + 1]]]
    column, line = x.astype(np.int32), (y + row).astype(np.int32)
    found = []
    for down in (0, 1):
        for right in (0, 1):
            pixel, opposite = around[down][right], around[1 - down][1 - right]
            aside, across = around[down][1 - right], around[1 - down][right]
            convex = (pixel >= 0) & (pixel != aside) & (pixel != across)
            concave = (aside >= 0) & (pixel != aside) & (aside == across) & (aside == opposite)
            for chosen, owner in ((convex, pixel), (concave, aside)):
                kept = np.flatnonzero(chosen)
                flags = np.full((2, len(kept)), [[right], [down]], dtype=bool)
                found.append(
                    Corners(owner[kept].astype(np.int64), column[kept], line[kept], *flags)
                )
    return Corners.concatenate(found)


def trace(corners: Corners, grid: Grid) -> NDArray[np.object_]:
    """Polygons of the complete regions ``0..n-1`` in map coordinates, ``[n]`` shapely objects.

    The form is canonical: only corners, each ring from its least one (by column, then row), holes
    in the order of these. Exteriors go down first, counter-clockwise on a north-up map; holes
    go to the right first.
    """
    if not len(corners):
        return np.array([], dtype=object)
    base = _by_columns(_parted(corners, grid), grid)
    across = _partners(base, grid)
    # Corners 2k and 2k + 1 are the ends of vertical edge k, the upper one first.
    edge = np.arange(len(base)) // 2
    ring = link(edge, across // 2, len(base) // 2)
    _, first, count = np.unique(ring, return_index=True, return_counts=True)
    place = np.argsort(first)
    start, size = first[place] * 2, count[place] * 2
    # A region's least corner is on its exterior: a hole has pixels of the region to its left.
    outer = np.diff(base.owner[start], prepend=-1) > 0
    is_outer = np.empty(len(place), dtype=bool)
    is_outer[place] = outer
    walk = _walk(start, is_outer[ring[edge]], across)

    ends = np.cumsum([0, *size])
    closed = np.insert(walk, ends[1:], walk[ends[:-1]])
    offsets = (ends + np.arange(len(ends)), np.append(np.flatnonzero(outer), len(size)))
    points = _on_map(base.x[closed].astype(np.float64), base.y[closed].astype(np.float64), grid)
    return np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, points, offsets))


def _key(
    owner: Ints,
    major: NDArray[np.int32],
    minor: NDArray[np.int32],
    last: NDArray[np.bool_],
    grid: Grid,
) -> Ints:
    """One number that sorts by owner, major, minor, last."""
    side = max(grid.height, grid.width) + 1
    return ((owner * side + major) * side + minor) * 2 + last


def _parted(corners: Corners, grid: Grid) -> Corners:
    """Rings that touch a point twice parted there, so that every ring is simple.

    Where two pixels of a region touch at a point only, ``find_corners`` goes around each of them;
    a valid polygon goes around the two others: one of those lies in a hole, one does not.
    """
    key = _key(corners.owner, corners.y, corners.x, np.zeros(len(corners), bool), grid)
    order = np.argsort(key)
    twice = np.flatnonzero(np.diff(key[order]) == 0)
    down = corners.down.copy()
    both = order[np.concatenate([twice, twice + 1])]
    down[both] = ~down[both]
    return replace(corners, down=down)


def _by_columns(corners: Corners, grid: Grid) -> Corners:
    """Sorted by owner, column, row: then neighbours 2k and 2k + 1 share a vertical edge."""
    # At a point of two corners the one whose edge comes from above ends that edge first.
    order = np.argsort(_key(corners.owner, corners.x, corners.y, corners.down, grid))
    return corners.pick(order, corners.owner[order])


def _partners(base: Corners, grid: Grid) -> Ints:
    """The corner at the other end of each corner's horizontal edge."""
    order = np.argsort(_key(base.owner, base.y, base.x, base.right, grid))
    partners = np.empty(len(base), dtype=np.int64)
    partners[order[0::2]] = order[1::2]
    partners[order[1::2]] = order[0::2]
    return partners


def _walk(start: Ints, outer: NDArray[np.bool_], across: Ints) -> Ints:
    """All corners in the order of travel, ring after ring, each from its ``start``.

    ``outer[n]`` tells the corners of exteriors from those of holes. Each ring's last step is led to
    the start of the next ring, so that one breadth-first search, in compiled code, walks them all;
    it visits every second corner, the others being at the ends of the edges between.
    """
    corner = np.arange(len(across))
    below = corner ^ 1
    step = np.where(outer, across[below], across ^ 1)
    last = np.where(outer[start], across[start] ^ 1, across[below[start]])
    step[last] = np.roll(start, -1)
    graph = csr_array(
        (np.ones(len(step)), step, np.arange(len(step) + 1)), shape=(len(step), len(step))
    )
    order = breadth_first_order(graph, start[0], return_predecessors=False)
    between = np.where(outer[order], below[order], across[order])
    return np.stack([order, between], axis=1).ravel().astype(np.int64)


def _on_map(x: NDArray[np.float64], y: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """Map coordinates ``[n, 2]`` of lattice points."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    return np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)


def link(first: NDArray[np.integer], second: NDArray[np.integer], count: int) -> Ints:
    """Connected components of ``count`` nodes joined pairwise: the component of each, from 0."""
    graph = coo_array((np.ones(len(first), np.uint8), (first, second)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
