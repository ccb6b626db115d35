"""What outlines measure on the ground: areas and perimeters from lattice coordinates.

A row of pixels has one size, so two tables by row say it all. The area between a line and the upper
edge of the map, added up along a ring, is the ring's area (Green's theorem); what a step to the right
and a step down are in metres east and north gives lengths.

Polygons that were simplified, smoothed or merged move area from class to class. ``AreaBalance`` tells
how much, so that nobody finds two figures for one crop and has to guess which is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyproj
from numpy.typing import NDArray

from geoseg.grid import Grid
from geoseg.legend import NODATA, Legend
from geoseg.product.areas import SQUARE_METRES, PixelCounts, pixel_area
from geoseg.product.vectors.rings import Rings

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ground:
    """Metres of a map's lattice; made by ``ground``."""

    area: Floats
    """``[height + 1]``: m² of one column of pixels above each lattice row."""
    right: Floats
    """``[height + 1, 2]`` or ``[1, 2]`` where it is the same everywhere: metres east and north of a
    step of one column, at each lattice row."""
    down: Floats
    """``[height + 1, 2]``: metres east and north from the first lattice row to each."""

    @classmethod
    def of_pixels(cls, grid: Grid) -> Self:
        """Pixels as the unit, for a grid that is nowhere."""
        rows = np.arange(grid.height + 1.0)
        down = np.stack([np.zeros_like(rows), rows], axis=1)
        return cls(rows, np.array([[1.0, 0.0]]), down)

    def areas(self, rings: Rings) -> Floats:
        """m² of each polygon; straight lines of the lattice are its borders."""
        following = rings.following()
        above = _between(self.area, rings.y)
        width = (rings.x + rings.x[following]) / 2
        return np.abs(rings.sums(width * (above[following] - above)))

    def perimeters(self, rings: Rings) -> Floats:
        """Metres around each polygon and its holes."""
        following = rings.following()
        columns = rings.x[following] - rings.x
        middle = (rings.y + rings.y[following]) / 2
        squares = np.zeros(len(columns))
        for axis in (0, 1):
            down = _between(self.down[:, axis], rings.y)
            step = (
                self.right[0, axis]
                if len(self.right) == 1
                else _between(self.right[:, axis], middle)
            )
            squares += (down[following] - down + columns * step) ** 2
        return rings.sums(np.sqrt(squares))


def _between(table: Floats, y: Floats) -> Floats:
    """Values of a table by lattice row, linear between two rows."""
    row = np.minimum(y.astype(np.int32), len(table) - 2)
    low = table[row]
    return np.asarray(low + (y - row) * (table[row + 1] - low))


def ground(grid: Grid) -> Ground | None:
    """How a grid's lattice lies on the ground; None where the grid has no CRS.

    In the plane of a projected CRS; on the ellipsoid where the CRS is geographic or the projection
    distorts by more than ``areas.pixel_area`` tolerates, measured at the middle column.
    """
    hectares = pixel_area(grid)
    if hectares is None or grid.crs is None:
        return None
    crs = pyproj.CRS.from_wkt(grid.crs)
    unit = crs.axis_info[0].unit_conversion_factor
    a, b, _, d, e, _ = tuple(grid.transform)[:6]
    area = np.cumsum([0, *hectares]) * SQUARE_METRES
    plane = abs(grid.transform.determinant) * unit**2 / SQUARE_METRES
    if not crs.is_geographic and np.all(hectares == plane):
        rows = np.arange(grid.height + 1)[:, np.newaxis]
        return Ground(area, np.array([[a, d]]) * unit, rows * np.array([[b, e]]) * unit)
    return Ground(area, *_steps(crs, grid))


def _steps(crs: pyproj.CRS, grid: Grid) -> tuple[Floats, Floats]:
    """``Ground.right`` and ``Ground.down`` on the ellipsoid."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    col = np.array([[grid.width // 2], [grid.width // 2 + 1]])
    row = np.arange(grid.height + 1)
    geodetic = crs.geodetic_crs or crs
    to_ground = pyproj.Transformer.from_crs(crs, geodetic, always_xy=True)
    x, y = to_ground.transform(a * col + b * row + c, d * col + e * row + f)
    degrees = np.degrees(geodetic.axis_info[0].unit_conversion_factor)
    x, y = x * degrees, y * degrees
    geod = crs.get_geod() or pyproj.Geod(ellps="WGS84")
    right = _metres(geod.inv(x[0], y[0], x[1], y[1]))
    steps = _metres(geod.inv(x[0, :-1], y[0, :-1], x[0, 1:], y[0, 1:]))
    return right, np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def _metres(inverse: tuple[Floats, Floats, Floats]) -> Floats:
    """East and north of lines given by azimuths (degrees) and lengths (m)."""
    azimuth = np.radians(inverse[0])
    return (
        np.stack([np.sin(azimuth), np.cos(azimuth)], axis=1) * np.asarray(inverse[2])[:, np.newaxis]
    )


@dataclass(frozen=True, slots=True)
class ClassBalance:
    """One class in raster and polygons."""

    code: int
    name: str
    polygons: int
    raster_ha: float | None
    """Its pixels' area; None where the map has no CRS."""
    polygons_ha: float | None
    """Its polygons' area; None where the map has no CRS."""
    difference_ha: float | None
    """Polygons less raster."""
    difference_percent: float | None
    """Of the raster's area; None for a class without pixels."""
    merged_regions: int
    """Regions of this class that were too small and joined a neighbour."""
    merged_pixels: int
    """Pixels of this class that are in polygons of another one for that."""


class AreaBalance:
    """Areas by class code, added up strip by strip and batch by batch."""

    def __init__(self, ground: Ground, known: bool) -> None:
        """``known``: the ground's unit is m²; else it is pixels and hectares are not told."""
        self._raster, self._moved = PixelCounts(np.diff(ground.area)), PixelCounts(None)
        self._known = known
        self._drawn, self._polygons = np.zeros(256), np.zeros(256, np.int64)

    def add_strip(self, codes: NDArray[np.uint8], shown: NDArray[np.uint8], row: int) -> None:
        """Count the raster's pixels from ``row`` on; ``shown``: the codes after merging."""
        self._raster.add(codes, row)
        if shown is not codes:
            self._moved.add(codes, row, codes != shown)

    def add_polygons(self, codes: NDArray[np.uint8], areas: NDArray[np.float64]) -> None:
        """Count polygons by the code of each."""
        self._polygons += np.bincount(codes, minlength=256)
        self._drawn += np.bincount(codes, areas, minlength=256)

    def table(self, legend: Legend, merged: NDArray[np.int64]) -> tuple[ClassBalance, ...]:
        """A row per class of the legend; ``merged[256]``: regions of each code that were merged."""
        assert not self._drawn[NODATA]
        return tuple(self._row(entry.code, entry.name, int(merged[entry.code])) for entry in legend)

    def _row(self, code: int, name: str, merged: int) -> ClassBalance:
        assert self._raster.area is not None
        raster, drawn = float(self._raster.area[code]), float(self._drawn[code])
        hectares = [round(area / SQUARE_METRES, 4) for area in (raster, drawn, drawn - raster)]
        shown = hectares if self._known else [None] * 3
        percent = round(100 * (drawn - raster) / raster, 4) if raster else None
        # Sums of floats: what is nothing shall read as nothing.
        return ClassBalance(
            code,
            name,
            int(self._polygons[code]),
            shown[0],
            shown[1],
            None if shown[2] is None else shown[2] + 0.0,
            None if percent is None else percent + 0.0,
            merged,
            int(self._moved.pixels[code]),
        )
