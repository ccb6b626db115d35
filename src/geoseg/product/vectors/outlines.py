"""Outlines of complete regions: the rings that their wedges form, in a canonical order.

Points where borders meet are points of all polygons there, also of those whose border goes straight on:
only then have neighbours the same edges, and all polygons are one coverage.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from geoseg.product.vectors.half_edges import HalfEdges, Whole
from geoseg.product.vectors.rings import Ints, Rings


def trace(wedges: HalfEdges, count: int) -> Rings:
    """Polygons of the complete regions ``0..count-1``.

    The form is canonical: each ring from its least point (by row, then column), holes in the order of
    these; the region lies to the left of the way, so that exteriors are counter-clockwise on a
    north-up map.
    """
    if not count:
        return Rings.none()
    following, apart = _parted(wedges)
    ring = _cycles(following)
    # The table is in raster order: the first wedge of a ring is its least point.
    start = np.empty(ring.max() + 1, np.int64)
    start[ring[::-1]] = np.arange(len(ring))[::-1]
    sizes = np.bincount(ring)
    # A region's least point is on its exterior: a hole has pixels of the region above it.
    order = np.lexsort((start, wedges.owner[start]))
    start, sizes = start[order], sizes[order]
    walk = _walk(start, following)
    rings = np.bincount(wedges.owner[start], minlength=count)
    return Rings(
        wedges.x[walk].astype(np.float64),
        wedges.y[walk].astype(np.float64),
        wedges.degree[walk],
        apart[walk],
        np.cumsum([0, *sizes]),
        np.cumsum([0, *rings]),
    )


def _parted(wedges: HalfEdges) -> tuple[Whole, np.ndarray[tuple[int], np.dtype[np.uint32]]]:
    """Successors and ``apart`` such that every ring is simple.

    Where two pixels of a region touch at a point only, its wedges go around each of them; a valid
    polygon goes around the two others: one of those lies in a hole, one does not.
    """
    following, apart = wedges.next.copy(), wedges.apart.copy()
    crossing = np.flatnonzero(wedges.degree == 4)
    for step in (1, 2):  # where its opposite is, of at most four wedges
        here = crossing[: np.searchsorted(crossing, len(wedges) - step)]
        there = here + step
        same = wedges.owner[here] == wedges.owner[there]
        same &= (wedges.x[here] == wedges.x[there]) & (wedges.y[here] == wedges.y[there])
        here, there = here[same], there[same]
        following[here], following[there] = wedges.next[there], wedges.next[here]
        came, leaves = np.uint32(0xFFFF), np.uint32(0xFFFF0000)
        apart[here] = wedges.apart[here] & came | wedges.apart[there] & leaves
        apart[there] = wedges.apart[there] & came | wedges.apart[here] & leaves
    return following, apart


def _graph(following: Whole) -> csr_array:
    """The graph in which each node has one edge, to its successor."""
    count = len(following)
    ones = np.ones(count, np.uint8)
    return csr_array((ones, following, np.arange(count + 1, dtype=np.int32)), shape=(count, count))


def _cycles(following: Whole) -> Whole:
    """Number of the cycle each node is in, from 0."""
    found: Whole = connected_components(_graph(following), connection="strong")[1]
    return found


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
