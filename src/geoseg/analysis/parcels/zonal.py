"""Which part of each pixel lies in a polygon, exactly: the one importer of exactextract.

Polygons come in pixel coordinates with rows counted downwards as negative numbers: (column, -row).
So grids of any orientation are one case, and no rounding of map coordinates comes between. The grid
is walked in blocks; a polygon of any size costs a block at a time.

Coverage fractions: Baston, exactextract (https://github.com/isciences/exactextract).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from exactextract import exact_extract
from exactextract.feature import Feature, FeatureSource
from exactextract.raster import NumPyRasterSource
from exactextract.writer import Writer
from numpy.typing import NDArray

from geoseg.grid import Grid, Window

BLOCK = 1024
"""Side in pixels of what is looked at at once."""

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
        found = _Found()
        polygons = _Polygons(shapely.to_wkb(shapes[members]).tolist())
        exact_extract(raster, polygons, ["cell_id", "coverage"], output=found)
        counts = [len(cells) for cells in found.cells]
        zone = np.repeat(members, counts)
        yield Overlap(window, zone, np.concatenate(found.cells), np.concatenate(found.fractions))


def _cells(bounds: NDArray[np.float64], window: Window) -> NDArray[np.int64]:
    """Cells in the bounding boxes, as far as they lie in the window; at least 1."""
    west, south, east, north = _box(window)
    low = np.maximum(bounds[:, :2], (west, south))
    high = np.minimum(bounds[:, 2:], (east, north))
    sides = np.ceil(high - low) + 1
    return np.asarray(sides.prod(axis=1), dtype=np.int64)


class _Polygon(Feature):  # type: ignore[misc]
    """A polygon as exactextract asks for it, and what it answers."""

    def __init__(self, wkb: bytes = b"") -> None:
        super().__init__()
        self.wkb = wkb
        self.results: dict[str, NDArray[Any]] = {}

    def geometry(self) -> bytes:
        return self.wkb

    def set(self, name: str, value: NDArray[Any]) -> None:
        self.results[name] = value

    def get(self, name: str) -> NDArray[Any]:
        return self.results[name]

    def fields(self) -> list[str]:
        return []

    def set_geometry(self, _: object) -> None:
        """Not asked for."""

    def set_geometry_format(self) -> str:
        return "wkb"


class _Polygons(FeatureSource):  # type: ignore[misc]
    def __init__(self, wkb: list[bytes]) -> None:
        super().__init__()
        self.wkb = wkb

    def count(self) -> int:
        return len(self.wkb)

    def __iter__(self) -> Iterator[_Polygon]:
        return map(_Polygon, self.wkb)

    def srs_wkt(self) -> None:
        """Pixel coordinates have none."""


class _Found(Writer):  # type: ignore[misc]
    """Collects the answers in the order of the polygons."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[NDArray[np.int64]] = []
        self.fractions: list[NDArray[np.float64]] = []

    def write(self, feature: Any) -> None:
        answer = _Polygon()
        feature.copy_to(answer)
        self.cells.append(answer.results["cell_id"])
        self.fractions.append(answer.results["coverage"])

    def add_operation(self, _: object) -> None:
        """Both are known."""

    def features(self) -> None:
        """They were collected as they came."""
