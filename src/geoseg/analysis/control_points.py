"""How often a map is right at points whose class is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from geoseg.errors import LabelError
from geoseg.grid import Grid
from geoseg.io.raster import geotiffs, rasters
from geoseg.io.vector.points import Points, read_points
from geoseg.legend import NODATA, UNKNOWN, Legend, show, spell


@dataclass(frozen=True, slots=True)
class ControlScore:
    """What was found at the points."""

    used: int
    """Points that have a class in the file and on the map."""
    right: int
    """Of those, the two are one."""
    unmapped: int
    """Points where the map has no class, those beside it included."""
    unknown: int
    """Points without a value in the file."""

    @property
    def accuracy(self) -> float | None:
        """Overall accuracy, 0 to 1; None where no point can be used."""
        return self.right / self.used if self.used else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the accuracy lies with 95 % confidence, were the points a random sample (Wilson,
        Probable inference, Journal of the American Statistical Association 22, 1927)."""
        if not self.used:
            return None
        # Unlike the normal interval it has a width where all or none are right.
        bounds = binomtest(self.right, self.used).proportion_ci(0.95, "wilson")
        return float(bounds.low), float(bounds.high)


def score_points(
    class_map: Path, legend: Legend, file: Path, attribute: str, layer: str | None
) -> ControlScore:
    """Compare a class raster with the points of a file; ``attribute`` holds names or codes of the
    legend.

    Reads strips of the map, and of those only the ones with points. Raises ``LabelError``.
    """
    grid = rasters.describe(class_map).grid
    if grid.crs is None:
        raise LabelError(
            f"{class_map} says no coordinate reference system, so the points of {file} cannot be laid "
            "on it; take the gate 'control' out, or give the imagery its CRS"
        )
    points = read_points(file, layer, attribute, grid.crs)
    known = _codes(points.values, legend, file, attribute)
    mapped = _sample(class_map, grid, points)
    both = (known != NODATA) & (mapped != NODATA)
    return ControlScore(
        used=int(both.sum()),
        right=int((both & (known == mapped)).sum()),
        unmapped=int(((known != NODATA) & (mapped == NODATA)).sum()),
        unknown=int((known == NODATA).sum()),
    )


def _codes(values: Sequence[Any], legend: Legend, file: Path, attribute: str) -> NDArray[np.uint8]:
    """Raster code of each point's value, by name, else as a code; nodata where there is no value."""
    codes = np.append(legend.codes, NODATA)
    texts = [spell(value) for value in values]
    index_of = {text: legend.place(text) for text in set(texts) if text}
    strange = sorted(text for text, index in index_of.items() if index == UNKNOWN)
    if strange:
        raise LabelError(
            f"{file}: {len(strange)} value(s) of column {attribute!r} are no class of the map "
            f"({', '.join(show(text, legend.names) for text in strange[:5])}); it has "
            f"{', '.join(f'{c.code} {c.name!r}' for c in legend)}. Write one of those names or codes, "
            "or leave such points out."
        )
    return np.asarray(codes[[index_of.get(text, UNKNOWN) for text in texts]], dtype=np.uint8)


def _sample(class_map: Path, grid: Grid, points: Points) -> NDArray[np.uint8]:
    """The map's code at each point; nodata beside it."""
    to_pixel = ~grid.transform
    col = np.floor(to_pixel.a * points.x + to_pixel.b * points.y + to_pixel.c)
    row = np.floor(to_pixel.d * points.x + to_pixel.e * points.y + to_pixel.f)
    # Outside the CRS's area of use a point is at infinity, which no comparison holds inside.
    inside = (row >= 0) & (row < grid.height) & (col >= 0) & (col < grid.width)
    codes = np.full(len(row), NODATA, np.uint8)
    for window in grid.windows(geotiffs.TILE):
        here = inside & (row >= window.row) & (row < window.row_stop)
        if here.any():
            strip = rasters.read(class_map, [1], window)[0][0]
            codes[here] = strip[row[here].astype(int) - window.row, col[here].astype(int)]
    return codes
