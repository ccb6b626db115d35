"""What a raster is, and what will matter when it is mapped. Reads every pixel, a strip at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.feedback import Progress
from geoseg.grid import Grid, Window
from geoseg.io import rasters
from geoseg.io.rasters import RasterInfo

STRIP = 256
"""Rows read at once."""


@dataclass(slots=True)
class BandSummary:
    """Values of one band where the raster is valid."""

    name: str
    low: float = np.inf
    high: float = -np.inf
    total: float = 0.0
    count: int = 0

    @property
    def mean(self) -> float:
        """Mean of the valid values; nan where there are none."""
        return self.total / self.count if self.count else float("nan")

    def add(self, values: NDArray[Any]) -> None:
        """Count a strip's valid values."""
        if values.size:
            self.low = min(self.low, float(values.min()))
            self.high = max(self.high, float(values.max()))
            self.total += float(values.sum(dtype=np.float64))
            self.count += values.size


@dataclass(frozen=True, slots=True)
class Inspection:
    """A raster's facts, its bands, and what a user should know before mapping it."""

    info: RasterInfo
    bands: tuple[BandSummary, ...] = ()
    valid_share: float = float("nan")
    notes: tuple[str, ...] = field(default=())


def inspect_raster(path: Path, progress: Progress) -> Inspection:
    """Look at one raster file; ``RasterError`` where it, or a part of it, cannot be read."""
    info = rasters.describe(path)
    if info.subdatasets or not info.count:
        parts = ", ".join(info.subdatasets[:4])
        return Inspection(info, notes=(f"a container of subdatasets, not one raster: {parts}",))
    bands = tuple(BandSummary(name) for name in info.bands)
    valid_pixels = 0
    with progress.start(f"inspect {path.name}", info.grid.height, "rows") as step:
        for window in _strips(info.grid):
            values, valid = rasters.read(path, range(1, info.count + 1), window)
            valid_pixels += int(valid.sum())
            for band, layer in zip(bands, values, strict=True):
                band.add(layer[valid])
            step.advance(window.height)
    share = valid_pixels / info.grid.window.size
    return Inspection(info, bands, share, tuple(_notes(info, bands, share)))


def _strips(grid: Grid) -> Iterator[Window]:
    for row in range(0, grid.height, STRIP):
        yield Window(row, 0, STRIP, grid.width).clip(grid.window)


def _notes(info: RasterInfo, bands: tuple[BandSummary, ...], share: float) -> Iterator[str]:
    yield from _place_notes(info)
    if share == 0:
        yield "every pixel is nodata: there is nothing to map"
    if info.masked:
        yield "validity comes from a mask or an alpha band"
    elif info.nodata is None:
        low = min(band.low for band in bands)
        yield (
            f"no nodata value is set, so every pixel counts as data; if empty pixels have a value "
            f"(the lowest is {low:g}), name it with 'imagery.nodata'"
        )
    if info.count == 1 and info.dtype == "uint8":
        yield "one 8-bit band: a class map or a mask rather than imagery?"


def _place_notes(info: RasterInfo) -> Iterator[str]:
    if info.gcps:
        yield (
            f"{info.gcps} ground control points and no grid: warp it onto one before mapping "
            "(gdalwarp -t_srs EPSG:CODE)"
        )
    elif info.grid.crs is None:
        yield "no CRS: the map will have none either, and areas are counted in pixels"
    elif CRS.from_wkt(info.grid.crs).is_geographic:
        yield "geographic CRS (degrees): areas are computed on the ellipsoid, row by row"
    if info.grid.transform.b or info.grid.transform.d:
        yield "rotated or sheared grid: kept as it is"
    elif info.grid.transform.e > 0 and info.grid.crs:
        yield "south-up (first row is the southernmost): kept as it is"
