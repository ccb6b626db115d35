"""How sure the map is of itself: how confidence is spread over the area, and where it is low.

A confidence is the probability that the network gives the class it chose, in percent. It is no
accuracy: a network can be sure and wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.grid import Grid, Window
from geoseg.io.raster import geotiffs
from geoseg.legend import NODATA, Legend
from geoseg.product.areas import PixelCounts, pixel_area
from geoseg.product.crop_map import map_grid, read_strip
from geoseg.product.map_frame import MapFrame

LOW = 50
"""Percent below which a confidence is low: the other classes together are then more likely."""

CELLS = 256
"""Cells along the longest side in which places of low confidence are looked for."""

ACROSS = 16 * geotiffs.TILE
"""Pixels of a row that are in memory at once."""

ZONES = 8
"""The largest of them are told."""


@dataclass(frozen=True, slots=True)
class ClassConfidence:
    """One class; figures are weighted by area, and None for a class without pixels."""

    code: int
    mean: float | None
    """Percent."""
    p10: int | None
    """A tenth of the area of the class has at most this confidence."""
    low_share: float | None
    """Of its area, 0 to 1."""


@dataclass(frozen=True, slots=True)
class LowConfidenceZone:
    """Connected cells, in each of which more than a third is mapped with low confidence."""

    lon: float | None
    """Degrees, of the middle; None where the map has no CRS."""
    lat: float | None
    col: float
    row: float
    """Pixels from the grid's first corner."""
    hectares: float | None
    """Mapped with low confidence."""
    pixels: int
    low_share: float
    """Of what is mapped there, 0 to 1."""


@dataclass(frozen=True, slots=True)
class ConfidenceStats:
    """Of a whole map."""

    threshold: int
    """Percent; ``LOW``."""
    histogram: tuple[float, ...]
    """Share of the area with each confidence, 0 to 100 percent: 101 values, their sum is 1."""
    low_share: float
    """Of the mapped area, 0 to 1."""
    mean: float | None
    p10: int | None
    classes: tuple[ClassConfidence, ...]
    """In the legend's order."""
    cell: int
    """Pixels on a side of the cells in which places were looked for."""
    places: tuple[LowConfidenceZone, ...]
    """The largest first."""


def confidence_stats(class_path: Path, confidence_path: Path, legend: Legend) -> ConfidenceStats:
    """Read class and confidence raster once, window by window.

    In memory are a window, a histogram per class and ``CELLS`` x ``CELLS`` counts, whatever the size
    of the map. Raises ``RasterError``, ``GridMismatchError``.
    """
    grid = map_grid(class_path, confidence_path)
    weights = pixel_area(grid)
    counts, cells = PixelCounts(weights, 256 * 101), _Cells(grid)
    for window in grid.windows(geotiffs.TILE, ACROSS):
        codes, percent = read_strip(class_path, confidence_path, window)
        mapped = (codes != NODATA) & (percent <= 100)
        counts.add(codes.astype(np.int32) * 101 + percent, window.row, mapped)
        cells.add(window, mapped, mapped & (percent < LOW))
    amounts = counts.pixels.astype(np.float64) if counts.area is None else counts.area
    spread = amounts.reshape(256, 101)[legend.codes]
    whole = _figures(0, spread.sum(axis=0))
    total = spread.sum() or 1.0
    return ConfidenceStats(
        threshold=LOW,
        histogram=tuple((spread.sum(axis=0) / total).tolist()),
        low_share=whole.low_share or 0.0,
        mean=whole.mean,
        p10=whole.p10,
        classes=tuple(_figures(c.code, row) for c, row in zip(legend, spread, strict=True)),
        cell=cells.side,
        places=tuple(cells.zones(weights)),
    )


def _figures(code: int, spread: NDArray[np.float64]) -> ClassConfidence:
    """Mean, 10th percentile and low share of a histogram over 0 to 100 percent."""
    total = spread.sum()
    if not total:
        return ClassConfidence(code, None, None, None)
    mean = float(spread @ np.arange(101) / total)
    # A hair less than a tenth: sums of areas are not exact.
    p10 = int(np.searchsorted(np.cumsum(spread), total * (0.1 - 1e-12)))
    return ClassConfidence(code, mean, p10, float(spread[:LOW].sum() / total))


class _Cells:
    """Mapped and low pixels in square cells of the grid."""

    def __init__(self, grid: Grid) -> None:
        self.side = max(1, -(-max(grid.height, grid.width) // CELLS))
        shape = (-(-grid.height // self.side), -(-grid.width // self.side))
        self._grid = grid
        self._mapped, self._low = np.zeros(shape, np.int64), np.zeros(shape, np.int64)

    def add(self, window: Window, mapped: NDArray[np.bool_], low: NDArray[np.bool_]) -> None:
        """Count a window."""
        rows = np.arange(window.row, window.row_stop)[:, np.newaxis] // self.side
        cols = np.arange(window.col, window.col_stop) // self.side
        starts = np.flatnonzero(np.diff(cols, prepend=-1))
        for total, mask in ((self._mapped, mapped), (self._low, low)):
            sums = np.add.reduceat(mask, starts, axis=1, dtype=np.int64)
            np.add.at(total, (rows, cols[starts]), sums)

    def zones(self, weights: NDArray[np.float64] | None) -> Iterator[LowConfidenceZone]:
        """The largest zones; cells that touch, corners included, are one."""
        most = self._low * 3 > self._mapped
        labels, count = ndimage.label(most, np.ones((3, 3)))
        if not count:
            return
        numbers = np.arange(1, count + 1)
        low = ndimage.sum_labels(self._low, labels, numbers)
        for number in numbers[np.argsort(-low, kind="stable")][:ZONES]:
            yield self._zone(np.nonzero(labels == number), weights)

    def _zone(
        self, cells: Sequence[NDArray[np.integer]], weights: NDArray[np.float64] | None
    ) -> LowConfidenceZone:
        mapped, low = self._mapped[tuple(cells)], self._low[tuple(cells)]
        row, col = (float(np.average((n + 0.5) * self.side, weights=low)) for n in cells)
        row, col = min(row, self._grid.height - 0.5), min(col, self._grid.width - 0.5)
        spot = MapFrame(self._grid).spot(col, row)
        pixels = int(low.sum())
        hectares = None if weights is None else pixels * float(weights[int(row)])
        return LowConfidenceZone(
            spot.lon, spot.lat, col, row, hectares, pixels, pixels / int(mapped.sum())
        )
