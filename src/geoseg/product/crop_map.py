"""A finished map that is asked for windows again and again, with its own legend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.io.raster.open_rasters import OpenRasters
from geoseg.legend import NODATA
from geoseg.product.areas import check_codes, map_grid
from geoseg.product.style import read_legend


class CropMap:
    """A class raster, and its confidence where that is wanted; kept open until ``close``."""

    def __init__(self, class_map: Path, confidence: Path | None) -> None:
        """Raises ``RasterError`` for a raster geoseg did not write, ``GridMismatchError``."""
        self.path, self._confidence = class_map, confidence
        self.grid = map_grid(class_map, confidence or class_map)
        self.legend = read_legend(class_map)
        self._files = OpenRasters()
        self._index = np.full(256, len(self.legend), dtype=np.int64)
        self._index[self.legend.codes] = np.arange(len(self.legend))

    def indices(self, window: Window) -> NDArray[np.int64]:
        """Place in the legend of each pixel, row by row; the legend's length for nodata.

        Raises ``RasterError`` for a code that is not in the legend.
        """
        codes = self._read(self.path, window)
        found = self._index[codes]
        if (codes[found == len(self.legend)] != NODATA).any():
            check_codes(np.unique(codes), self.legend, self.path)
        return found

    def confidences(self, window: Window) -> NDArray[np.uint8]:
        """Percent of each pixel, row by row."""
        assert self._confidence is not None
        return self._read(self._confidence, window)

    def _read(self, path: Path, window: Window) -> NDArray[np.uint8]:
        values, _ = self._files.read(path, [1], window)
        return np.asarray(values[0], dtype=np.uint8).ravel()

    def close(self) -> None:
        """Close the files."""
        self._files.close()
