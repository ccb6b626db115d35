"""Shared borders simplified and smoothed: fewer corners, rounded off, none made to cross another.

**Simplified**: no border is moved by more than a tolerance.

Corners are taken out in rounds: in each, all those whose loss would move the border least among their
neighbours; first those that turn to one side, drawn for each arc, for the steps of a slope are one line
on either side and a zigzag in between. A corner may go if no point of the raster's border between its
neighbours is farther from the new edge than the tolerance, and if the triangle it leaves is free
(``vertex_index``). Two triangles that are free cannot overlap unless they share an edge, so all corners
of a round can go at once; and edges stay disjoint from round to round. This is the idea of Visvalingam
and Whyatt, Line generalisation by repeated elimination of points (1993), with the tolerance of Douglas
and Peucker (1973).

Two arcs may have the same ends: were both straight, the field between would be gone. An arc whose ends
see the same third class therefore keeps one corner. So the result is one valid coverage of the same
polygons, neighbours unchanged.

**Smoothed**: each corner becomes a quadratic curve from the middle of the edge before it to the middle
of the edge after it, to which corner cutting tends (Chaikin, An algorithm for high-speed curve
generation, 1974; Riesenfeld 1975 for the curve). The curve stays in the triangle of the corner and the
two middles; where that triangle holds a vertex of another border (``vertex_index``) the corner is left.
So curves cannot cross. Points where borders meet stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.product.vectors.arcs import Arcs, place_of, scattered, spread
from geoseg.product.vectors.half_edges import Ints
from geoseg.product.vectors.rings import Rings
from geoseg.product.vectors.vertex_index import Floats, Triangles, VertexIndex


def simplify(arcs: Arcs, tolerance: float, vertex_index: VertexIndex) -> NDArray[np.bool_]:
    """Which points of the arcs stay when borders may move by ``tolerance`` pixels."""
    state = _Chain.of(arcs)
    state.measure(np.flatnonzero(~arcs.node), tolerance)
    while len(movable := np.flatnonzero(np.isfinite(state.cost))):
        least = movable[state.is_least(movable)]
        before, after = state.before[least], state.after[least]
        free = arcs.free(arcs.triangles(before, least, after), before, after, vertex_index)
        # Those that are not free stay until a neighbour goes and they are measured again.
        state.cost[least] = np.inf
        state.measure(state.take_out(least[free]), tolerance)
    return state.stays


_LATER = 2.0**20
"""More than any cost."""


@dataclass
class _Chain:
    """Points that are left, and what it would cost to lose each."""

    arcs: Arcs
    stays: NDArray[np.bool_]
    before: Ints
    after: Ints
    cost: Floats
    """Square of how far the border would move; infinite where it may not, and more than any other for
    corners to lose later."""
    rank: NDArray[np.uint64]
    """Order of points of equal cost, without a preference for any direction."""

    @classmethod
    def of(cls, arcs: Arcs) -> _Chain:
        """All points are there."""
        count = len(arcs.x)
        rank = scattered(place_of(arcs.x, arcs.y))
        index = np.arange(count)
        cost = np.full(count, np.inf)
        return cls(arcs, np.ones(count, bool), index - 1, index + 1, cost, rank)

    def is_least(self, point: Ints) -> NDArray[np.bool_]:
        """Whether each point costs less than its neighbours."""
        least = np.ones(len(point), bool)
        cost, rank = self.cost[point], self.rank[point]
        for beside in (self.before[point], self.after[point]):
            other = self.cost[beside]
            least &= (cost < other) | ((cost == other) & (rank < self.rank[beside]))
        return least

    def take_out(self, point: Ints) -> Ints:
        """Remove points of which no two are neighbours; returns the corners beside them."""
        self.stays[point] = False
        before, after = self.before[point], self.after[point]
        self.after[before], self.before[after] = after, before
        beside = np.zeros(len(self.stays), bool)
        beside[before] = beside[after] = True
        return np.flatnonzero(beside & ~self.arcs.node)

    def measure(self, point: Ints, tolerance: float) -> None:
        """Set the cost of points from all that lies between their neighbours."""
        arcs, before, after = self.arcs, self.before[point], self.after[point]
        straight = arcs.node[before] & arcs.node[after]
        lost = straight & ~arcs.erasable[arcs.arc[point]]
        self.cost[point[lost]] = np.inf
        point, before, after = point[~lost], before[~lost], after[~lost]
        if len(point):
            owner, between = spread(before + 1, after)
            away = _squares(arcs, between, before[owner], after[owner])
            sizes = after - before - 1
            cost = np.maximum.reduceat(away, np.cumsum(sizes) - sizes)
            later = _LATER * (self._turn(before, point, after) < 0)
            self.cost[point] = np.where(cost <= tolerance**2, cost + later, np.inf)

    def _turn(self, before: Ints, point: Ints, after: Ints) -> Floats:
        """Which way the border turns at points; positive for the arc's preferred side."""
        x, y = self.arcs.x, self.arcs.y
        turn = (x[point] - x[before]) * (y[after] - y[point])
        turn -= (y[point] - y[before]) * (x[after] - x[point])
        return np.asarray(turn * self.arcs.side[self.arcs.arc[point]])


def _squares(arcs: Arcs, point: Ints, start: Ints, stop: Ints) -> Floats:
    """Squares of the points' distances from the edges; the same from both sides of a border."""
    dx, dy = arcs.x[stop] - arcs.x[start], arcs.y[stop] - arcs.y[start]
    px, py = arcs.x[point] - arcs.x[start], arcs.y[point] - arcs.y[start]
    length = dx * dx + dy * dy
    along = px * dx + py * dy
    away = (px * dy - py * dx) ** 2 / length
    behind, beyond = along < 0, along > length
    away[behind] = (px * px + py * py)[behind]
    away[beyond] = ((px - dx) ** 2 + (py - dy) ** 2)[beyond]
    return np.asarray(away)


def smooth(arcs: Arcs, stays: NDArray[np.bool_], power: int, vertex_index: VertexIndex) -> Rings:
    """The rings of the points that stay, each corner a curve of ``2**power`` edges.

    With a power of 0 corners stay as they are. Coordinates are whole multiples of a power of two, so
    that they come out the same from both sides of a border.
    """
    closing = np.zeros(len(arcs.x), bool)
    closing[arcs.stops] = True
    kept = np.flatnonzero(stays & ~closing)
    starts = np.append(0, np.cumsum(stays & ~closing)[arcs.stops])
    before, after = _around_rings(starts)
    if not power:
        return _rings(arcs.x[kept], arcs.y[kept], starts, arcs.first)
    x, y = arcs.x[kept], arcs.y[kept]
    triangles = _middles(x, before, after), _middles(y, before, after)
    cut = ~arcs.meeting[kept]
    cut[cut] = _free(arcs, kept, before, after, triangles, cut, vertex_index)

    curved = cut.astype(np.int64) * (2**power - 2) + 1
    middle = cut | cut[after]
    owner, number = spread(np.zeros_like(curved), curved + middle)
    bent = [_curve(side, cut, power, owner, number) for side in triangles]
    count = np.cumsum(np.append(0, curved + middle))
    return _rings(bent[0], bent[1], count[starts], arcs.first)


def _rings(x: Floats, y: Floats, starts: Ints, first: Ints) -> Rings:
    """Rings whose arcs are no longer of interest."""
    none = np.zeros(len(x), np.uint8)
    return Rings(x, y, none, none.astype(np.uint32), starts, first)


def _around_rings(starts: Ints) -> tuple[Ints, Ints]:
    """The point before and the point after each, along its ring."""
    after = np.arange(1, starts[-1] + 1)
    after[starts[1:] - 1] = starts[:-1]
    before = np.empty_like(after)
    before[after] = np.arange(len(after))
    return before, after


def _middles(value: Floats, before: Ints, after: Ints) -> Floats:
    """Middle of the edge before each point, the point, middle of the edge after it; ``[n, 3]``."""
    return np.stack([(value[before] + value) / 2, value, (value + value[after]) / 2], axis=1)


def _free(
    arcs: Arcs,
    kept: Ints,
    before: Ints,
    after: Ints,
    triangles: Triangles,
    cut: NDArray[np.bool_],
    vertex_index: VertexIndex,
) -> NDArray[np.bool_]:
    """Whether the triangle of each corner to ``cut`` holds no vertex but its own arc's."""
    corners = triangles[0][cut], triangles[1][cut]
    inside = vertex_index.inside(corners)
    # Nearly all hold nothing but the corner itself.
    full = np.flatnonzero(inside > 1)
    corners = corners[0][full], corners[1][full]
    point = np.flatnonzero(cut)[full]
    start, stop = kept[before[point]], kept[after[point]]
    here = kept[point]
    ring = np.searchsorted(arcs.stops, here)
    begin = np.append(0, arcs.stops[:-1] + 1)[ring]
    # Around the ring's start an arc is in two parts.
    own = arcs.own_inside(corners, np.where(start > here, begin, start), here)
    own += arcs.own_inside(corners, here, np.where(stop < here, arcs.stops[ring], stop + 1))
    own += arcs.own_inside(corners, start, np.where(start > here, arcs.stops[ring], start))
    own += arcs.own_inside(corners, np.where(stop < here, begin, stop), stop)
    free = np.ones(len(inside), bool)
    free[full] = inside[full] == own
    return free


def _curve(corner: Floats, cut: NDArray[np.bool_], power: int, owner: Ints, number: Ints) -> Floats:
    """One coordinate of the new points: those of the curve between its ends, then the middle."""
    along = np.where(cut[owner], (number + 1) / 2.0**power, 0.5)
    first, point, last = corner[owner].T
    # Sums of whole multiples of powers of two are exact: the same in either direction.
    bent = first * (1 - along) ** 2 + point * (2 * along * (1 - along)) + last * along**2
    inner = number < np.where(cut, 2**power - 1, 1)[owner]
    return np.asarray(np.where(inner, np.where(cut[owner], bent, point), last))
