"""Where the fields are: farms between roads, cut into irregular fields, each known by hashes alone.

Two levels of Voronoi cells around jittered lattice points (Worley, A cellular texture basis function,
SIGGRAPH 1996): farms, and within a farm long narrow fields along its longest side. A farm follows from
the seed and its lattice place, so any window finds its fields without looking at the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from geoseg.grid import Window
from geoseg.synthetic import noise
from geoseg.synthetic.geometry import (
    HalfPlane,
    Point,
    Polygon,
    area,
    bounds,
    clip,
    longest_side_angle,
    nearer,
    rectangle,
    sides,
)
from geoseg.synthetic.phenology import CROPS
from geoseg.synthetic.spec import SceneSpec

_FARM, _ROAD, _SHAPE, _PLOT, _FIELD, _CROP, _LABEL = range(7)
"""Separate streams of random numbers."""

_JITTER = 0.6
"""Play of a farm's centre as a part of the lattice cell. Up to 0.6, the neighbours that can cut a
farm's outline are all among the 24 nearest lattice places: a cell reaches at most 1.13 cells from its
centre, and a centre three places away is at least 2.4 cells off."""

_MARGIN = 0.3
"""Uncropped strip on each side of the line between two fields, in pixels."""

_SMALLEST = 80.0
"""Fields below this area (square pixels) are left fallow: slivers that nobody sows."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its place and how its crop stands."""

    field_id: int
    outline: Polygon
    """Convex, in pixel coordinates, without the strips and roads around it."""
    crop: int
    """Class code, 1 to 8."""
    labelled: bool
    delay: float
    """Development behind the crop's mean, in days."""
    vigour: float
    """Green cover relative to the crop's mean."""
    soil: float
    """Brightness of the soil relative to the mean."""
    headland: float
    """Width of the sparser rim where machines turn, in pixels."""


def fields(spec: SceneSpec, window: Window) -> Iterator[Field]:
    """Every field whose bounding box meets the window, in the order of farms, then of fields."""
    for farm in farms(spec, window):
        for plot in farm_fields(spec, *farm):
            left, top, right, bottom = bounds(plot.outline)
            # One pixel more: the strip beyond the rim mixes into pixels outside the outline.
            across = left - 1 < window.col_stop and right + 1 > window.col
            if across and top - 1 < window.row_stop and bottom + 1 > window.row:
                yield plot


def farms(spec: SceneSpec, window: Window) -> Iterator[tuple[int, int]]:
    """Lattice row and column of every farm that may reach into the window, row by row."""
    top, bottom, left, right = (
        math.floor(pixel / spec.farm)
        for pixel in (window.row, window.row_stop, window.col, window.col_stop)
    )
    # A farm keeps within 0.93 lattice cells of its own (see _JITTER).
    for i in range(top - 1, bottom + 2):
        for j in range(left - 1, right + 2):
            yield i, j


# Neighbouring blocks share farms; more places would hold a scene's worth of polygons in memory.
@lru_cache(maxsize=512)
def farm_fields(spec: SceneSpec, i: int, j: int) -> tuple[Field, ...]:
    """The fields of the farm at lattice row ``i`` and column ``j``."""
    outline = _farm_outline(spec, i, j)
    along, across = _field_size(spec, i, j)
    angle = longest_side_angle(outline)
    seeds = _plot_seeds(spec, (i, j), outline, (along, across, angle))
    out = []
    for k, seed in enumerate(seeds):
        polygon = _plot_outline(outline, seed, seeds, (along, across, angle))
        if polygon and area(polygon) >= _SMALLEST:
            out.append(_field(spec, (i, j, k), polygon))
    return tuple(out)


def _farm_centre(spec: SceneSpec, i: int, j: int) -> Point:
    x, y = (noise.uniform(spec.seed, _FARM, i, j, axis) - 0.5 for axis in (0, 1))
    return (j + 0.5 + _JITTER * x) * spec.farm, (i + 0.5 + _JITTER * y) * spec.farm


def _farm_outline(spec: SceneSpec, i: int, j: int) -> Polygon:
    """The farm's Voronoi cell less half the width of each road around it."""
    x, y = centre = _farm_centre(spec, i, j)
    reach = 1.3 * spec.farm
    polygon = rectangle(x - reach, y - reach, x + reach, y + reach)
    for di in range(-2, 3):
        for dj in range(-2, 3):
            if di or dj:
                other = _farm_centre(spec, i + di, j + dj)
                road = _half_road(spec, (i, j), (i + di, j + dj))
                polygon = clip(polygon, nearer(centre, other).shrunk(road))
    return polygon


def _half_road(spec: SceneSpec, a: tuple[int, int], b: tuple[int, int]) -> float:
    """Half the width of the road between two farms in pixels: a track, a lane or a road."""
    chance = noise.uniform(spec.seed, _ROAD, *min(a, b), *max(a, b))
    return 0.5 if chance < 0.4 else 0.9 if chance < 0.85 else 1.5


def _field_size(spec: SceneSpec, i: int, j: int) -> tuple[float, float]:
    ranges = (spec.field_length, spec.field_width)
    u = [noise.uniform(spec.seed, _SHAPE, i, j, axis) for axis in (0, 1)]
    along, across = (low + (high - low) * v for (low, high), v in zip(ranges, u, strict=True))
    return along, across


Shape = tuple[float, float, float]
"""Length along, width across, and direction (radians) of a farm's fields."""


def _plot_seeds(
    spec: SceneSpec, farm: tuple[int, int], outline: Polygon, shape: Shape
) -> list[Point]:
    """Jittered lattice points, turned along the farm's longest side, that lie well inside it."""
    along, across, angle = shape
    cos, sin = math.cos(angle), math.sin(angle)
    x0, y0 = _farm_centre(spec, *farm)
    edges, reach = sides(outline), 1.3 * spec.farm
    stream, seeds = noise.key(spec.seed, _PLOT, *farm), []
    for m in range(-math.ceil(reach / across), math.ceil(reach / across) + 1):
        row = noise.key(stream, m)
        for n in range(-math.ceil(reach / along), math.ceil(reach / along) + 1):
            draw = noise.key(row, n)
            u, v = (draw >> 32) * 2.0**-32 - 0.5, (draw & 0xFFFFFFFF) * 2.0**-32 - 0.5
            a, b = (n + row * 2.0**-64 + 0.5 * u) * along, (m + 0.4 * v) * across
            point = (x0 + a * cos - b * sin, y0 + a * sin + b * cos)
            if all(edge.depth(point) > 0.3 * across for edge in edges):
                seeds.append(point)
    return seeds or [(x0, y0)]


def _plot_outline(outline: Polygon, seed: Point, seeds: list[Point], shape: Shape) -> Polygon:
    """The part of a farm nearest to ``seed``, measured in field lengths and widths."""
    along, across, angle = shape
    cos, sin = math.cos(angle), math.sin(angle)

    def scaled(point: Point) -> Point:
        dx, dy = point[0] - seed[0], point[1] - seed[1]
        return (dx * cos + dy * sin) / along, (dy * cos - dx * sin) / across

    # Cut in the scaled plane, where cells are ordinary Voronoi cells around the origin; the margin
    # is a distance in pixels, so each line is moved after it is turned back.
    polygon = outline
    for place in sorted((scaled(s) for s in seeds if s != seed), key=lambda p: math.hypot(*p)):
        if math.hypot(*place) > 2 * max(math.hypot(*scaled(p)) for p in polygon):
            break
        polygon = clip(polygon, _turned_back(place, seed, shape).shrunk(_MARGIN))
        if not polygon:
            break
    return polygon


def _turned_back(place: Point, seed: Point, shape: Shape) -> HalfPlane:
    """The bisector between the origin and ``place`` of the scaled plane, in pixel coordinates."""
    along, across, angle = shape
    cos, sin = math.cos(angle), math.sin(angle)
    line = nearer((0.0, 0.0), place)
    nx = line.nx / along * cos - line.ny / across * sin
    ny = line.nx / along * sin + line.ny / across * cos
    length = math.hypot(nx, ny)
    return HalfPlane(nx / length, ny / length, (line.c - nx * seed[0] - ny * seed[1]) / length)


def _field(spec: SceneSpec, place: tuple[int, int, int], outline: Polygon) -> Field:
    i, j, k = place
    draw = [noise.normal(spec.seed, _FIELD, *place, n) for n in range(3)]
    return Field(
        # Farm row, farm column (five digits), number in the farm (three); farms start at -1.
        field_id=((i + 10) * 100_000 + j + 10) * 1000 + k,
        outline=outline,
        crop=_crop(noise.uniform(spec.seed, _CROP, *place)),
        labelled=noise.uniform(spec.seed, _LABEL, *place) < spec.labelled,
        delay=4.0 * draw[0],
        vigour=max(0.6, 1 + 0.06 * draw[1]),
        soil=max(0.6, 1 + 0.12 * draw[2]),
        headland=1.0 + 1.6 * noise.uniform(spec.seed, _FIELD, *place, 3),
    )


def _crop(chance: float) -> int:
    for code, crop in enumerate(CROPS, start=1):
        chance -= crop.weight
        if chance < 0:
            return code
    return len(CROPS)
