"""Which part of each pixel lies in a polygon, exactly: the one importer of exactextract.

Polygons come in pixel coordinates with rows counted downwards as negative numbers: (column, -row).
So grids of any orientation are one case, and no rounding of map coordinates comes between. The grid
is walked in blocks; a polygon of any size costs a block at a time.

Coverage fractions: Baston, exactextract (https://github.com/isciences/exactextract).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import geopandas
import numpy as np
import shapely
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from numpy.typing import NDArray

from geoseg.grid import Grid, Window

BLOCK = 1024
"""Side in pixels of what is looked at at once."""

_PIXELS = (
    'ENGCRS["pixels",EDATUM["grid"],CS[Cartesian,2],AXIS["column",east],AXIS["row",north],'
    'LENGTHUNIT["pixel",1]]'
)
"""exactextract asks each frame for a CRS."""

_CELLS = 2_000_000
"""Cells handed over at once; a polygon's cells of a block stay together."""


@dataclass(frozen=True)
class Overlap:
    """Cells of a block that polygons cover, in full or in part."""

    window: Window
    """The block."""
    zone: NDArray[np.int64]
    """Number of the polygon, for each cell."""
    cell: NDArray[np.int64]
    """Place of the cell in the block, row by row."""
    fraction: NDArray[np.float64]
    """Part of the cell that the polygon covers, above 0 to 1; exact to about 1e-7."""


def overlaps(shapes: NDArray[np.object_], grid: Grid) -> Iterator[Overlap]:
    """Cells and coverage fractions of valid polygons, block by block of the grid.

    ``shapes``: ``object[n]`` of polygons in (column, -row), None where there is none. What lies
    outside the grid is left out.
    """
    bounds = shapely.bounds(shapes)
    for window in _blocks(bounds, grid):
        west, south, east, north = _box(window)
        # No bounds (NaN) compare as false.
        meets = (bounds[:, 0] < east) & (bounds[:, 2] > west)
        meets &= (bounds[:, 1] < north) & (bounds[:, 3] > south)
        numbers = np.flatnonzero(meets)
        if numbers.size:
            yield from _cover(shapes, numbers, window)


def _box(window: Window) -> tuple[int, int, int, int]:
    """West, south, east, north of a window in (column, -row)."""
    return window.col, -window.row_stop, window.col_stop, -window.row


def _blocks(bounds: NDArray[np.float64], grid: Grid) -> Iterator[Window]:
    """Blocks of the grid between the outermost polygons."""
    within = bounds[np.isfinite(bounds).all(axis=1)]
    if not len(within):
        return
    west, south = within[:, :2].min(axis=0)
    east, north = within[:, 2:].max(axis=0)
    for window in grid.windows(BLOCK, BLOCK):
        left, low, right, up = _box(window)
        if left < east and right > west and low < north and up > south:
            yield window


def _cover(
    shapes: NDArray[np.object_], numbers: NDArray[np.int64], window: Window
) -> Iterator[Overlap]:
    raster = NumPyRasterSource(np.zeros(window.shape, np.uint8), *_box(window))
    # A polygon has at most about as many cells here as its bounding box.
    sizes = _cells(shapely.bounds(shapes[numbers]), window)
    chunk = np.cumsum(sizes) // _CELLS
    for members in np.split(numbers, np.flatnonzero(np.diff(chunk)) + 1):
        polygons = geopandas.GeoDataFrame(geometry=shapes[members], crs=_PIXELS)
        table = exact_extract(raster, polygons, ["cell_id", "coverage"], output="pandas")
        zone = np.repeat(members, table["cell_id"].map(len))
        cell, fraction = (np.concatenate(table[name]) for name in ("cell_id", "coverage"))
        yield Overlap(window, zone, cell, fraction)


def _cells(bounds: NDArray[np.float64], window: Window) -> NDArray[np.int64]:
    """Cells in the bounding boxes, as far as they lie in the window; at least 1."""
    west, south, east, north = _box(window)
    low = np.maximum(bounds[:, :2], (west, south))
    high = np.minimum(bounds[:, 2:], (east, north))
    sides = np.ceil(high - low) + 1
    return np.asarray(sides.prod(axis=1), dtype=np.int64)
