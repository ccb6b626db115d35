"""Fewer corners on shared borders, none moved by more than a tolerance, none made to cross another.

Corners are taken out in rounds: in each, all those whose loss would move the border least among their
neighbours; first those that turn to one side, drawn for each arc, for the steps of a slope are one line
on either side and a zigzag in between. A corner may go if no point of the raster's border between its
neighbours is farther from the new edge than the tolerance, and if the triangle it leaves is free
(``guard``). Two triangles that are free cannot overlap unless they share an edge, so all corners of a
round can go at once; and edges stay disjoint from round to round. This is the idea of Visvalingam and
Whyatt, Line generalisation by repeated elimination of points (1993), with the tolerance of Douglas and
Peucker (1973).

Two arcs may have the same ends: were both straight, the field between would be gone. An arc whose ends
see the same third class therefore keeps one corner. So the result is one valid coverage of the same
polygons, neighbours unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.product.vectors.arcs import Arcs, place_of, scattered, spread
from geoseg.product.vectors.half_edges import Ints
from geoseg.product.vectors.vertex_index import Floats, Vertices


def simplify(arcs: Arcs, tolerance: float, vertices: Vertices) -> NDArray[np.bool_]:
    """Which points of the arcs stay when borders may move by ``tolerance`` pixels."""
    state = _Chain.of(arcs)
    state.measure(np.flatnonzero(~arcs.node), tolerance)
    while len(found := np.flatnonzero(np.isfinite(state.cost))):
        least = found[state.is_least(found)]
        before, after = state.before[least], state.after[least]
        free = arcs.free(arcs.triangles(before, least, after), before, after, vertices)
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
