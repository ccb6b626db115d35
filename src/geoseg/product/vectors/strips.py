"""A map's rasters in strips of whole rows, as they are or with small regions merged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.config import VectorsConfig
from geoseg.errors import ConfigError
from geoseg.feedback import Progress
from geoseg.grid import Grid, Window
from geoseg.io.raster import geotiffs, rasters
from geoseg.legend import Legend
from geoseg.product.areas import pixel_area
from geoseg.product.crop_map import check_codes
from geoseg.product.vectors.sieve import Read, merge_small

STRIP = geotiffs.TILE
"""Rows read at a time: a row of tiles. It bounds the memory and changes no polygon."""

_PIXELS = 2**20
"""Pixels looked at at a time."""

_FINE = 2**20
"""Parts in which the weights of pixels of different rows are told apart."""

Codes = NDArray[np.uint8]


@dataclass(frozen=True)
class MapStrips:
    """Class and confidence raster of one map."""

    class_path: Path
    confidence_path: Path
    grid: Grid
    legend: Legend
    shown: Read | None = None
    """Reads the codes after merging; None where nothing was merged."""
    merged_regions: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    """``[256]``: regions of each code that were merged."""

    @cached_property
    def windows(self) -> list[Window]:
        """Strips from the first row on, none across two rows of tiles."""
        return list(_parts(self.grid))

    def read(self, window: Window) -> tuple[Codes, Codes, Codes]:
        """Codes as they are, codes after merging, confidence; ``RasterError`` for a strange code."""
        codes = self._codes(window)
        check_codes(
            np.flatnonzero(np.bincount(codes.ravel(), minlength=256)), self.legend, self.class_path
        )
        shown = self.shown(window) if self.shown else codes
        return codes, shown, self._confidence(window)

    @cached_property
    def _codes(self) -> Read:
        return TileRows(self.class_path, self.grid).read

    @cached_property
    def _confidence(self) -> Read:
        return TileRows(self.confidence_path, self.grid).read

    def merged(self, config: VectorsConfig, folder: Path, progress: Progress) -> MapStrips:
        """The same map with regions below the minimum merged, if there is one."""
        weights, limit = self._minimum(config)
        if not limit:
            return self
        with progress.start("merging", 1, "map") as step:
            sieved = merge_small(self._codes, self.windows, self.grid, weights, limit, folder)
            step.advance()
        return replace(self, shown=sieved.read, merged_regions=sieved.regions)

    def _minimum(self, config: VectorsConfig) -> tuple[NDArray[np.int64], int]:
        """What a pixel of each row weighs, and what a region must weigh."""
        hectares = pixel_area(self.grid)
        if config.minimum_area and hectares is None:
            raise ConfigError(
                f"vectors.minimum_area is {config.minimum_area} hectares, but {self.class_path} has no "
                "coordinate reference system; give 'vectors.minimum_pixels' instead"
            )
        if config.minimum_area and hectares is not None:
            unit = hectares.max() / _FINE
            weights = np.rint(hectares / unit).astype(np.int64)
            limit = round(config.minimum_area / unit)
            return weights, max(limit, config.minimum_pixels * _FINE)
        return np.ones(self.grid.height, np.int64), config.minimum_pixels


def _parts(grid: Grid) -> Iterator[Window]:
    rows = max(1, _PIXELS // grid.width)
    for window in grid.windows(STRIP):
        for row in range(window.row, window.row_stop, rows):
            yield Window(row, 0, rows, grid.width).clip(window)


class TileRows:
    """Reads a raster by rows of tiles and keeps the last one: no tile is decoded twice in a row."""

    def __init__(self, path: Path, grid: Grid) -> None:
        self._path, self._grid = path, grid
        self._window, self._values = Window(0, 0, 0, 0), np.zeros((0, 0), np.uint8)

    def read(self, window: Window) -> Codes:
        """Band 1 in a window of whole rows that is within one strip."""
        if window.clip(self._window) != window:
            row = window.row - window.row % STRIP
            self._window = Window(row, 0, STRIP, self._grid.width).clip(self._grid.window)
            self._values = rasters.read(self._path, [1], self._window)[0][0]
        return self._values[window.within(self._window)]
