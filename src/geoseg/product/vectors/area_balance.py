"""What polygons say of the area of each class, beside what the raster says.

Polygons that were simplified, smoothed or merged move area from class to class. How much is told, so
that nobody finds two figures for one crop and has to guess which is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import NODATA, Legend
from geoseg.product.areas import SQUARE_METRES
from geoseg.product.vectors.measures import Ground


@dataclass(frozen=True, slots=True)
class ClassReckoning:
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
        self._rows = np.diff(ground.area)
        self._known = known
        self._raster, self._drawn = np.zeros(256), np.zeros(256)
        self._polygons, self._moved = np.zeros(256, np.int64), np.zeros(256, np.int64)

    def add_strip(self, codes: NDArray[np.uint8], shown: NDArray[np.uint8], row: int) -> None:
        """Count the raster's pixels from ``row`` on; ``shown``: the codes after merging."""
        sizes = self._rows[row : row + len(codes)]
        if np.all(sizes == sizes[:1]):
            self._raster += np.bincount(codes.ravel(), minlength=256) * sizes[0]
        else:
            for line, size in zip(codes, sizes, strict=True):
                self._raster += np.bincount(line, minlength=256) * size
        if shown is not codes:
            self._moved += np.bincount(codes[codes != shown], minlength=256)

    def add_polygons(self, codes: NDArray[np.uint8], areas: NDArray[np.float64]) -> None:
        """Count polygons by the code of each."""
        self._polygons += np.bincount(codes, minlength=256)
        self._drawn += np.bincount(codes, areas, minlength=256)

    def table(self, legend: Legend, merged: NDArray[np.int64]) -> tuple[ClassReckoning, ...]:
        """A row per class of the legend; ``merged[256]``: regions of each code that were merged."""
        assert not self._drawn[NODATA]
        return tuple(self._row(entry.code, entry.name, int(merged[entry.code])) for entry in legend)

    def _row(self, code: int, name: str, merged: int) -> ClassReckoning:
        raster, drawn = float(self._raster[code]), float(self._drawn[code])
        hectares = [round(area / SQUARE_METRES, 4) for area in (raster, drawn, drawn - raster)]
        shown = hectares if self._known else [None] * 3
        percent = round(100 * (drawn - raster) / raster, 4) if raster else None
        # Sums of floats: what is nothing shall read as nothing.
        return ClassReckoning(
            code,
            name,
            int(self._polygons[code]),
            shown[0],
            shown[1],
            None if shown[2] is None else shown[2] + 0.0,
            None if percent is None else percent + 0.0,
            merged,
            int(self._moved[code]),
        )
