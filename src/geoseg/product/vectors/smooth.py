"""Corners of shared borders rounded off: the curve that Chaikin's corner cutting tends to.

Each corner becomes a quadratic curve from the middle of the edge before it to the middle of the edge
after it (Chaikin, An algorithm for high-speed curve generation, 1974; Riesenfeld 1975 for the curve).
The curve stays in the triangle of the corner and the two middles; where that triangle holds a vertex of
another border (``guard``) the corner is left. So curves cannot cross. Points where borders meet stay.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.product.vectors.arcs import Arcs, spread
from geoseg.product.vectors.half_edges import Ints
from geoseg.product.vectors.rings import Rings
from geoseg.product.vectors.vertex_index import Floats, Triangles, Vertices


def smooth(arcs: Arcs, stays: NDArray[np.bool_], power: int, vertices: Vertices) -> Rings:
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
    cut[cut] = _free(arcs, kept, before, after, triangles, cut, vertices)

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
    vertices: Vertices,
) -> NDArray[np.bool_]:
    """Whether the triangle of each corner to ``cut`` holds no vertex but its own arc's."""
    corners = triangles[0][cut], triangles[1][cut]
    found = vertices.inside(corners)
    # Nearly all hold nothing but the corner itself.
    full = np.flatnonzero(found > 1)
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
    free = np.ones(len(found), bool)
    free[full] = found[full] == own
    return free


def _curve(corner: Floats, cut: NDArray[np.bool_], power: int, owner: Ints, number: Ints) -> Floats:
    """One coordinate of the new points: those of the curve between its ends, then the middle."""
    along = np.where(cut[owner], (number + 1) / 2.0**power, 0.5)
    first, point, last = corner[owner].T
    # Sums of whole multiples of powers of two are exact: the same in either direction.
    bent = first * (1 - along) ** 2 + point * (2 * along * (1 - along)) + last * along**2
    inner = number < np.where(cut, 2**power - 1, 1)[owner]
    return np.asarray(np.where(inner, np.where(cut[owner], bent, point), last))
