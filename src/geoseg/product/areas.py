"""How much of each class there is: ground area of a pixel, counts of pixels, the table of areas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyproj
from numpy.typing import NDArray

from geoseg.grid import Grid
from geoseg.io.raster import geotiffs, rasters
from geoseg.legend import NODATA, Legend
from geoseg.product.crop_map import check_codes, map_grid, read_strip

SQUARE_METRES = 10_000.0
"""In a hectare."""

_TOLERANCE = 0.02
"""Distortion of area that planar figures may have: UTM stays below 0.2 %, Web Mercator does not."""


@dataclass(frozen=True, slots=True)
class ClassArea:
    """One class in the table of areas."""

    code: int
    name: str
    color: str
    pixels: int
    hectares: float | None
    """None where the raster has no CRS."""
    share: float
    """Of the pixels that have a class, 0 to 1."""
    mean_confidence: float | None
    """In percent; None for a class without pixels."""


def pixel_area(grid: Grid) -> NDArray[np.float64] | None:
    """Hectares of one pixel of each row, ``float64[height]``; None where the grid has no CRS.

    Projected CRS: the pixel's area in the plane, unless the projection distorts areas by more than
    2 % (Web Mercator); then, and for a geographic CRS, the ground area of the pixel in the middle
    of the row, on the ellipsoid.
    """
    if grid.crs is None:
        return None
    crs = pyproj.CRS.from_wkt(grid.crs)
    unit = crs.axis_info[0].unit_conversion_factor
    plane = np.full(grid.height, abs(grid.transform.determinant) * unit**2)
    if crs.geodetic_crs is None:
        return plane / SQUARE_METRES
    ground = _ground_area(crs, crs.geodetic_crs, grid)
    distorted = crs.is_geographic or np.abs(plane / ground - 1).max() > _TOLERANCE
    return (ground if distorted else plane) / SQUARE_METRES


def _ground_area(crs: pyproj.CRS, geodetic: pyproj.CRS, grid: Grid) -> NDArray[np.float64]:
    """m² of the middle pixel of each row, in the cylindrical equal-area projection of the ellipsoid."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    col = np.array([[grid.width // 2], [grid.width // 2 + 1]])
    row = np.arange(grid.height + 1)
    to_ground = pyproj.Transformer.from_crs(crs, geodetic, always_xy=True)
    lon, lat = to_ground.transform(a * col + b * row + c, d * col + e * row + f)
    radians = geodetic.axis_info[0].unit_conversion_factor
    geod = crs.get_geod() or pyproj.Geod(ellps="WGS84")
    # "over": a pixel on the 180th meridian is not cut in two.
    equal_area = pyproj.Proj(proj="cea", a=geod.a, b=geod.b, over=True)
    x, y = equal_area(lon * radians, lat * radians, radians=True)
    # Half the cross product of a quadrilateral's diagonals is its area.
    right = (x[1, 1:] - x[0, :-1]) * (y[0, 1:] - y[1, :-1])
    left = (x[0, 1:] - x[1, :-1]) * (y[1, 1:] - y[0, :-1])
    return np.asarray(np.abs(right - left) / 2)


class PixelCounts:
    """Pixels by their value, and the area of these: every count of a map's classes is one of these."""

    def __init__(self, row_area: NDArray[np.float64] | None, size: int = 256) -> None:
        """``row_area``: area of a pixel of each row of the map; ``size``: values are 0 to size - 1."""
        self._row_area = row_area
        self.pixels = np.zeros(size, np.int64)
        self.area = None if row_area is None else np.zeros(size)

    def add(
        self, values: NDArray[np.integer], row: int, chosen: NDArray[np.bool_] | None = None
    ) -> None:
        """Count a window ``[height, width]`` from ``row`` of the map on, or its ``chosen`` pixels."""
        size = len(self.pixels)
        some = values.ravel() if chosen is None else values[chosen]
        pixels = np.bincount(some, minlength=size)
        self.pixels += pixels
        if self._row_area is None or self.area is None:
            return
        rows = self._row_area[row : row + len(values), np.newaxis]
        if np.all(rows == rows[:1]):
            self.area += pixels * rows[0]
            return
        each = np.broadcast_to(rows, values.shape)
        self.area += np.bincount(some, each.ravel() if chosen is None else each[chosen], size)


def count_classes(class_path: Path) -> NDArray[np.int64]:
    """Pixels of each code in a class raster, ``int64[256]``; read strip by strip."""
    counts = PixelCounts(None)
    for window in rasters.describe(class_path).grid.windows(geotiffs.TILE):
        counts.add(rasters.read(class_path, [1], window)[0][0], window.row)
    return counts.pixels


def area_table(class_path: Path, confidence_path: Path, legend: Legend) -> tuple[ClassArea, ...]:
    """Area and mean confidence of each class of the legend, in its order.

    Reads strip by strip. Raises ``RasterError`` for a code that the legend does not have.
    """
    grid = map_grid(class_path, confidence_path)
    counts = PixelCounts(pixel_area(grid), 256 * 256)
    for window in grid.windows(geotiffs.TILE):
        codes, confidence = read_strip(class_path, confidence_path, window)
        counts.add(codes.astype(np.int32) * 256 + confidence, window.row)
    by_confidence = counts.pixels.reshape(256, 256)
    pixels, percents = by_confidence.sum(axis=1), by_confidence @ np.arange(256)
    area = None if counts.area is None else counts.area.reshape(256, 256).sum(axis=1)
    check_codes(np.flatnonzero(pixels), legend, class_path)
    total = int(pixels.sum() - pixels[NODATA])
    return tuple(
        ClassArea(
            entry.code,
            entry.name,
            entry.color,
            count := int(pixels[entry.code]),
            None if area is None else float(area[entry.code]),
            count / total if total else 0.0,
            float(percents[entry.code] / count) if count else None,
        )
        for entry in legend
    )
