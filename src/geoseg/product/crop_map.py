"""A finished map: its class and its confidence raster, on one grid, with its own legend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import RasterError
from geoseg.grid import Grid, Window
from geoseg.io.raster import rasters
from geoseg.io.raster.open_rasters import OpenRasters
from geoseg.legend import NODATA, Legend
from geoseg.product.style import read_legend


class CropMap:
    """A map that is asked for windows again and again: class raster, and confidence where that is
    wanted; kept open until ``close``."""

    def __init__(self, class_map: Path, confidence: Path | None) -> None:
        """Raises ``RasterError`` for a raster geoseg did not write, ``GridMismatchError``."""
        self.path, self._confidence = class_map, confidence
        self.grid = map_grid(class_map, confidence or class_map)
        self.legend = read_legend(class_map)
        self._files = OpenRasters()
        self._index = np.full(256, len(self.legend), dtype=np.int64)
        self._index[self.legend.codes] = np.arange(len(self.legend))

    def indices(self, window: Window) -> NDArray[np.int64]:
        """Index in the legend of each pixel, row by row; the legend's length for nodata.

        Raises ``RasterError`` for a code that is not in the legend.
        """
        codes = self._read(self.path, window)
        indices = self._index[codes]
        if (codes[indices == len(self.legend)] != NODATA).any():
            check_codes(np.unique(codes), self.legend, self.path)
        return indices

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


def map_grid(class_path: Path, confidence_path: Path) -> Grid:
    """The grid of a class raster and its confidence raster.

    ``GridMismatchError`` where they differ, ``RasterError`` where one is no single uint8 band.
    """
    classes, confidence = (rasters.describe(path) for path in (class_path, confidence_path))
    for info in (classes, confidence):
        if info.dtype != "uint8" or info.count != 1:
            raise RasterError(
                f"{info.path} holds {info.count} band(s) of {info.dtype}; class and confidence "
                "rasters are one band of uint8. Name the two rasters a geoseg run wrote."
            )
    classes.grid.require(confidence.grid, str(class_path), str(confidence_path))
    return classes.grid


def read_strip(
    class_path: Path, confidence_path: Path, window: Window
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Codes and confidences (percent) in a window, ``uint8[height, width]`` each."""
    codes, _ = rasters.read(class_path, [1], window)
    confidence, _ = rasters.read(confidence_path, [1], window)
    return codes[0], confidence[0]


def check_codes(codes: NDArray[np.integer], legend: Legend, path: Path) -> None:
    """``RasterError`` where a code is neither nodata nor in the legend."""
    stray = np.setdiff1d(codes, [NODATA, *legend.codes.tolist()])
    if stray.size:
        raise RasterError(
            f"{path} holds the value {stray[0]}, which is not in the legend "
            f"({', '.join(f'{c.code} {c.name}' for c in legend)}). Use the legend that made it."
        )
