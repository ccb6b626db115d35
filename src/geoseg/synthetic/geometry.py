"""Convex polygons in pixel coordinates: cut, measure, distance to the rim. Plain floats.

Fields are cut out of farms by a handful of half-planes each. With six corners or so, Python floats
are faster than arrays, and the same numbers draw the raster and become the label polygons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Point = tuple[float, float]
"""``(x, y)``: x along columns, y along rows, in pixels; pixel (row, col) spans col..col + 1."""

Polygon = tuple[Point, ...]
"""Corners of a convex polygon in order, not closed; fewer than three means empty."""


@dataclass(frozen=True, slots=True)
class HalfPlane:
    """The points where ``nx * x + ny * y + c >= 0``; (nx, ny) is a unit vector pointing inwards."""

    nx: float
    ny: float
    c: float

    def depth(self, point: Point) -> float:
        """Distance from the line in pixels, positive inside."""
        return self.nx * point[0] + self.ny * point[1] + self.c

    def shrunk(self, by: float) -> HalfPlane:
        """The same half-plane with its line moved inwards by ``by`` pixels."""
        return HalfPlane(self.nx, self.ny, self.c - by)


def nearer(a: Point, b: Point) -> HalfPlane:
    """The points that are nearer to ``a`` than to ``b``."""
    dx, dy = a[0] - b[0], a[1] - b[1]
    length = math.sqrt(dx * dx + dy * dy)
    nx, ny = dx / length, dy / length
    return HalfPlane(nx, ny, -(nx * (a[0] + b[0]) + ny * (a[1] + b[1])) / 2)


def rectangle(left: float, top: float, right: float, bottom: float) -> Polygon:
    """An upright rectangle."""
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def clip(polygon: Polygon, keep: HalfPlane) -> Polygon:
    """The part of a convex polygon inside a half-plane (Sutherland and Hodgman, CACM 1974)."""
    depths = [keep.depth(point) for point in polygon]
    if all(depth >= 0 for depth in depths):
        return polygon
    out: list[Point] = []
    for here, d_here, there, d_there in zip(
        polygon, depths, polygon[1:] + polygon[:1], depths[1:] + depths[:1], strict=True
    ):
        if d_here >= 0:
            out.append(here)
        if (d_here >= 0) != (d_there >= 0):
            part = d_here / (d_here - d_there)
            out.append(
                (here[0] + part * (there[0] - here[0]), here[1] + part * (there[1] - here[1]))
            )
    return tuple(out) if len(out) >= 3 else ()


def area(polygon: Polygon) -> float:
    """Area in square pixels."""
    pairs = zip(polygon, polygon[1:] + polygon[:1], strict=True)
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in pairs)) / 2


def bounds(polygon: Polygon) -> tuple[float, float, float, float]:
    """Left, top, right, bottom."""
    xs, ys = [p[0] for p in polygon], [p[1] for p in polygon]
    return min(xs), min(ys), max(xs), max(ys)


def sides(polygon: Polygon) -> tuple[HalfPlane, ...]:
    """The half-planes whose common part is the polygon; sides too short to matter are left out."""
    centre = (
        sum(p[0] for p in polygon) / len(polygon),
        sum(p[1] for p in polygon) / len(polygon),
    )
    out = []
    for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        length = math.dist(a, b)
        if length < 1e-6:
            continue
        nx, ny = (a[1] - b[1]) / length, (b[0] - a[0]) / length
        side = HalfPlane(nx, ny, -(nx * a[0] + ny * a[1]))
        inwards = side.depth(centre) >= 0
        out.append(side if inwards else HalfPlane(-nx, -ny, -side.c))
    return tuple(out)


def longest_side_angle(polygon: Polygon) -> float:
    """Direction of the longest side in radians."""
    pairs = list(zip(polygon, polygon[1:] + polygon[:1], strict=True))
    a, b = max(pairs, key=lambda pair: math.dist(*pair))
    return math.atan2(b[1] - a[1], b[0] - a[0])
