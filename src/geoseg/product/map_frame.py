"""Where a grid lies on Earth: shape and lengths on the ground, north, corners; and its outline as GeoJSON
wants it, in WGS 84, cut at the 180th meridian."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import CRSError, ProjError

from geoseg.grid import Grid


@dataclass(frozen=True, slots=True)
class Spot:
    """A point of a grid."""

    x: float
    """Map coordinates."""
    y: float
    lon: float | None
    """Degrees on WGS 84; None where the grid lies nowhere on Earth."""
    lat: float | None


class MapFrame:
    """A grid with what its CRS says of it. Every answer is None where there is no such CRS."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self._crs = pyproj.CRS.from_user_input(grid.crs) if grid.crs else None
        self._to_degrees = _to_degrees(self._crs)

    def spot(self, col: float, row: float) -> Spot:
        """Where a point of the grid is; ``col`` and ``row`` count from its first corner."""
        x, y = (float(n) for n in self.grid.transform @ (col, row))
        if self._to_degrees is None:
            return Spot(x, y, None, None)
        lon, lat = self._to_degrees.transform(x, y)
        known = math.isfinite(lon) and math.isfinite(lat)
        return Spot(x, y, lon if known else None, lat if known else None)

    @property
    def corners(self) -> tuple[Spot, Spot, Spot, Spot]:
        """Upper left, upper right, lower left, lower right, as the raster is drawn."""
        wide, high = self.grid.width, self.grid.height
        return self.spot(0, 0), self.spot(wide, 0), self.spot(0, high), self.spot(wide, high)

    @property
    def aspect(self) -> float:
        """Height of the grid over its width, as on the ground."""
        high = self.grid.height * self.side(down=True)
        return high / (self.grid.width * self.side(down=False))

    def side(self, down: bool) -> float:
        """Length of a pixel's side in map units, along a column (``down``) or a row.

        Degrees of longitude are shortened to those of latitude at the middle of the grid.
        """
        a, b, _, d, e, _ = tuple(self.grid.transform)[:6]
        x, y = (b, e) if down else (a, d)
        if self._crs is not None and self._crs.is_geographic:
            middle = self.grid.transform @ (self.grid.width / 2, self.grid.height / 2)
            x *= max(0.05, math.cos(math.radians(middle[1])))
        return math.hypot(x, y)

    @property
    def pixel_metres(self) -> float | None:
        """Length of a pixel along a row; None for a CRS that is not projected."""
        if self._crs is None or not self._crs.is_projected:
            return None
        return self.side(down=False) * float(self._crs.axis_info[0].unit_conversion_factor)

    @property
    def width_metres(self) -> float | None:
        """Length of the grid's middle row, in degrees too."""
        metres = self.pixel_metres
        if metres is not None:
            return metres * self.grid.width
        if self._crs is None or not self._crs.is_geographic or self._crs.ellipsoid is None:
            return None
        degree = math.radians(1) * self._crs.ellipsoid.semi_major_metre
        return self.side(down=False) * self.grid.width * degree

    @property
    def north(self) -> float | None:
        """Degrees clockwise from the picture's top to where the y axis of the CRS grows."""
        if self._crs is None:
            return None
        col, row = (~self.grid.transform @ (0, 1)), (~self.grid.transform @ (0, 0))
        right, down = col[0] - row[0], col[1] - row[1]
        across, along = right * self.side(down=False), down * self.side(down=True)
        return round(math.degrees(math.atan2(across, -along)), 1) + 0.0


def _to_degrees(crs: pyproj.CRS | None) -> pyproj.Transformer | None:
    """Map coordinates to longitude and latitude; None for a drawing's own coordinates."""
    if crs is None:
        return None
    try:
        return pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    except (ProjError, CRSError):
        return None


def round_length(most: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is at most ``most``."""
    power = 10.0 ** math.floor(math.log10(most))
    return max(step * power for step in (1, 2, 5) if step * power <= most * (1 + 1e-9))


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
    geometry: dict[str, Any] = shapely.geometry.mapping(whole)
    return geometry


def _wrapped(lon: float) -> float:
    """A longitude from -180 to 180."""
    return lon if -180 <= lon <= 180 else round((lon + 180) % 360 - 180, DIGITS)


def _cap(lat: NDArray[np.float64]) -> Extent:
    """Everything from the outline's latitude nearest the equator to the pole it goes around."""
    north = lat.mean() > 0
    south, top = (float(lat.min()), 90.0) if north else (-90.0, float(lat.max()))
    box = [-180.0, round(south, DIGITS), 180.0, round(top, DIGITS)]
    return _geojson(shapely.box(*box)), box
