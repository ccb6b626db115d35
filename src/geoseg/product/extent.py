"""Where a grid lies on Earth, as GeoJSON wants it: WGS 84, cut at the 180th meridian."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from geoseg.grid import Grid

SIDE = 32
"""Pieces of each side of the grid: straight lines of one CRS are curves in another."""

DIGITS = 7
"""Decimals of a degree: a centimetre."""

STRAIGHT = 1e-6
"""Degrees that a corner may be off the line between its neighbours to be left out: a decimetre."""

Extent = tuple[dict[str, Any], list[float]]
"""GeoJSON geometry, and its box: west, south, east, north."""


def extent(grid: Grid) -> Extent | None:
    """The grid's outline in WGS 84; None where it has no CRS, or none that reaches Earth.

    Across the 180th meridian the geometry has two parts and the box's west is larger than its east
    (RFC 7946, 3.1.9 and 5.2). An outline around a pole becomes the cap inside it.
    """
    lines = _outline(grid)
    if lines is None:
        return None
    lon, lat = lines
    lon = np.unwrap(lon, period=360)
    if abs(lon[-1] - lon[0]) > 180:
        return _cap(lat)
    ring = shapely.Polygon(np.column_stack([lon, lat]))
    west, south, east, north = (round(float(value), DIGITS) for value in ring.bounds)
    whole = shapely.set_precision(_cut(shapely.simplify(ring, STRAIGHT)), 10.0**-DIGITS)
    return _geojson(whole), [_wrapped(west), south, _wrapped(east), north]


def _outline(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Longitudes and latitudes around the grid, closed."""
    if grid.crs is None:
        return None
    steps = np.linspace(0, 1, SIDE, endpoint=False)
    still = np.zeros(SIDE)
    col = np.concatenate([steps, still + 1, 1 - steps, still, [0]]) * grid.width
    row = np.concatenate([still, steps, still + 1, 1 - steps, [0]]) * grid.height
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    try:
        to_wgs84 = pyproj.Transformer.from_crs(grid.crs, "OGC:CRS84", always_xy=True)
        lon, lat = to_wgs84.transform(a * col + b * row + c, d * col + e * row + f, errcheck=True)
    except pyproj.exceptions.ProjError:  # a local or an engineering CRS
        return None
    return lon, lat


def _cut(ring: shapely.Polygon) -> shapely.Geometry:
    """The parts west, between and east of the 180th meridian, each moved to -180 to 180."""
    parts = []
    for turn in (-360, 0, 360):
        inside = shapely.intersection(ring, shapely.box(turn - 180, -90, turn + 180, 90))
        if inside.area:
            parts.append(shapely.transform(inside, lambda xy, by=turn: xy - [by, 0]))
    return shapely.MultiPolygon(parts)


def _geojson(shape: shapely.Geometry) -> dict[str, Any]:
    """Outer rings go around counterclockwise (RFC 7946, 3.1.6)."""
    parts = [shapely.geometry.polygon.orient(part) for part in shapely.get_parts(shape)]
    whole = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    found: dict[str, Any] = shapely.geometry.mapping(whole)
    return found


def _wrapped(lon: float) -> float:
    """A longitude from -180 to 180."""
    return lon if -180 <= lon <= 180 else round((lon + 180) % 360 - 180, DIGITS)


def _cap(lat: NDArray[np.float64]) -> Extent:
    """Everything from the outline's latitude nearest the equator to the pole it goes around."""
    north = lat.mean() > 0
    south, top = (float(lat.min()), 90.0) if north else (-90.0, float(lat.max()))
    box = [-180.0, round(south, DIGITS), 180.0, round(top, DIGITS)]
    return _geojson(shapely.box(*box)), box
