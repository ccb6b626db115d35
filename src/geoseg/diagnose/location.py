"""From what a person can name, a longitude and a latitude, to a pixel of the grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pyproj
from pyproj.exceptions import CRSError, ProjError

from geoseg.errors import ConfigError
from geoseg.grid import Grid

DEGREES = "EPSG:4326"
"""Longitude and latitude as maps and phones give them."""


@dataclass(frozen=True, slots=True)
class PixelLocation:
    """A pixel of a grid, and a point in it."""

    row: int
    col: int
    x: float
    """Map coordinates of the point."""
    y: float
    lon: float | None
    """Degrees; None where the grid has no CRS."""
    lat: float | None


def pixel_at(grid: Grid, lon: float, lat: float) -> PixelLocation:
    """The pixel at a longitude and a latitude in degrees; ``ConfigError`` where there is none."""
    if not (math.isfinite(lon) and math.isfinite(lat)):
        raise ConfigError(f"LON LAT: {lon:g} {lat:g} is no place; give two numbers in degrees")
    transformer = _transformer(grid)
    if transformer is None:
        raise ConfigError(
            f"LON LAT: the imagery has no CRS that longitudes could be found in (it has "
            f"{grid.crs_name}); name the pixel: geoseg trace CONFIG --pixel COL ROW"
        )
    found = _inside(grid, transformer, lon, lat)
    if found is None:
        raise ConfigError(_elsewhere(grid, transformer, lon, lat))
    return found


def pixel_named(grid: Grid, col: float, row: float) -> PixelLocation:
    """The pixel in a column and a row, from 0, and its centre; ``ConfigError`` where there is none."""
    inside = 0 <= col < grid.width and 0 <= row < grid.height
    if not (inside and col == int(col) and row == int(row)):
        raise ConfigError(
            f"--pixel: column {col:g}, row {row:g} is no pixel of the imagery; give whole numbers, "
            f"COL from 0 to {grid.width - 1} and ROW from 0 to {grid.height - 1}"
        )
    x, y = centre(grid, int(row), int(col))
    transformer = _transformer(grid)
    lon, lat = transformer.transform(x, y, direction="INVERSE") if transformer else (None, None)
    return PixelLocation(int(row), int(col), x, y, lon, lat)


def centre(grid: Grid, row: int, col: int) -> tuple[float, float]:
    """Map coordinates of a pixel's centre."""
    x, y = grid.transform @ (col + 0.5, row + 0.5)
    return float(x), float(y)


def _transformer(grid: Grid) -> pyproj.Transformer | None:
    """Degrees to map coordinates; None where the grid lies nowhere on Earth."""
    if grid.crs is None:
        return None
    try:
        return pyproj.Transformer.from_crs(DEGREES, grid.crs, always_xy=True)
    except (ProjError, CRSError):  # a drawing's own coordinates
        return None


def _inside(grid: Grid, to_map: pyproj.Transformer, lon: float, lat: float) -> PixelLocation | None:
    """The pixel, None outside the grid."""
    x, y = to_map.transform(lon, lat)
    if not (math.isfinite(x) and math.isfinite(y)):
        return None
    col, row = (math.floor(n) for n in ~grid.transform @ (x, y))
    inside = 0 <= col < grid.width and 0 <= row < grid.height
    return PixelLocation(row, col, float(x), float(y), lon, lat) if inside else None


def _elsewhere(grid: Grid, to_map: pyproj.Transformer, lon: float, lat: float) -> str:
    west, south, east, north = to_map.transform_bounds(*grid.bounds, direction="INVERSE")
    swapped = _inside(grid, to_map, lat, lon) is not None
    return (
        f"LON LAT: {lon:g} {lat:g} is outside the imagery, which spans longitudes {west:.6f} to "
        f"{east:.6f} and latitudes {south:.6f} to {north:.6f}"
        + ("; the longitude comes first" if swapped else "; give a place within")
    )
