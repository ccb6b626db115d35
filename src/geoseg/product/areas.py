"""How much of each class there is: ground area of a pixel, and the table of areas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyproj
from numpy.typing import NDArray

from geoseg.errors import RasterError
from geoseg.grid import Grid, Window
from geoseg.io.raster import geotiffs, rasters
from geoseg.legend import NODATA, Legend

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
    """m² of the middle pixel of each row, measured in an equal-area projection of the ellipsoid."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    col = np.array([[grid.width // 2], [grid.width // 2 + 1]])
    row = np.arange(grid.height + 1)
    to_ground = pyproj.Transformer.from_crs(crs, geodetic, always_xy=True)
    x, y = to_ground.transform(a * col + b * row + c, d * col + e * row + f)
    radians = geodetic.axis_info[0].unit_conversion_factor
    geod = crs.get_geod() or pyproj.Geod(ellps="WGS84")
    x, y = x * radians, _equal_area(y * radians, geod)
    # Half the cross product of a quadrilateral's diagonals is its area.
    right = (x[1, 1:] - x[0, :-1]) * (y[0, 1:] - y[1, :-1])
    left = (x[0, 1:] - x[1, :-1]) * (y[1, 1:] - y[0, :-1])
    return np.asarray(np.abs(right - left) / 2)


def _equal_area(latitude: NDArray[np.float64], geod: pyproj.Geod) -> NDArray[np.float64]:
    """m² per radian of longitude from the equator to a latitude (radians), negative south.

    With the longitude as x it is the cylindrical equal-area projection: Snyder, Map Projections, A
    Working Manual (USGS 1395, 1987), equation 3-12 times a²/2.
    """
    sine, e = np.sin(latitude), np.sqrt(geod.es)
    if e == 0:
        return np.asarray(geod.a**2 * sine)
    q = sine / (1 - (e * sine) ** 2) + np.arctanh(e * sine) / e
    return np.asarray(geod.b**2 / 2 * q)


def read_strip(
    class_path: Path, confidence_path: Path, window: Window
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Codes and confidences (percent) in a window, ``uint8[height, width]`` each."""
    codes, _ = rasters.read(class_path, [1], window)
    confidence, _ = rasters.read(confidence_path, [1], window)
    return codes[0], confidence[0]


def map_grid(class_path: Path, confidence_path: Path) -> Grid:
    """The grid of a class raster and its confidence raster.

    ``GridMismatchError`` where they differ, ``RasterError`` where one is no single uint8 band.
    """
    found = [rasters.describe(path) for path in (class_path, confidence_path)]
    for info in found:
        if info.dtype != "uint8" or info.count != 1:
            raise RasterError(
                f"{info.path} holds {info.count} band(s) of {info.dtype}; class and confidence "
                "rasters are one band of uint8. Name the two rasters a geoseg run wrote."
            )
    found[0].grid.require(found[1].grid, str(class_path), str(confidence_path))
    return found[0].grid


def area_table(class_path: Path, confidence_path: Path, legend: Legend) -> tuple[ClassArea, ...]:
    """Area and mean confidence of each class of the legend, in its order.

    Reads strip by strip. Raises ``RasterError`` for a code that the legend does not have.
    """
    grid = map_grid(class_path, confidence_path)
    hectares = pixel_area(grid)
    pixels, certainty, area = np.zeros(256, np.int64), np.zeros(256, np.int64), np.zeros(256)
    for window in grid.windows(geotiffs.TILE):
        codes, confidence = read_strip(class_path, confidence_path, window)
        rows = _count_by_row(codes)
        pixels += rows.sum(axis=0)
        # A confidence is at most 255, so float64 counts the sum exactly.
        certainty += np.bincount(codes.ravel(), confidence.ravel(), 256).astype(np.int64)
        if hectares is not None:
            area += hectares[window.row : window.row_stop] @ rows
    check_codes(np.flatnonzero(pixels), legend, class_path)
    total = int(pixels.sum() - pixels[NODATA])
    return tuple(
        ClassArea(
            entry.code,
            entry.name,
            entry.color,
            count := int(pixels[entry.code]),
            None if hectares is None else float(area[entry.code]),
            count / total if total else 0.0,
            float(certainty[entry.code] / count) if count else None,
        )
        for entry in legend
    )


def _count_by_row(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels of each code in each row, ``int64[rows, 256]``."""
    offsets = np.arange(codes.shape[0])[:, np.newaxis] * 256
    return np.bincount((codes + offsets).ravel(), minlength=codes.shape[0] * 256).reshape(-1, 256)


def check_codes(found: NDArray[np.integer], legend: Legend, path: Path) -> None:
    """``RasterError`` where a code is neither nodata nor in the legend."""
    stray = np.setdiff1d(found, [NODATA, *legend.codes.tolist()])
    if stray.size:
        raise RasterError(
            f"{path} holds the value {stray[0]}, which is not in the legend "
            f"({', '.join(f'{c.code} {c.name}' for c in legend)}). Use the legend that made it."
        )
