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
"""Rows read at once, fewer where they would fill more than ``ROOM``."""

ROOM = 128 * 2**20
"""Bytes of pixels held at once."""


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
        note = (
            f"a container of {len(info.subdatasets)} subdatasets, not one raster ({parts}, ...): "
            "convert each date to a GeoTIFF first (gdal_translate)"
        )
        return Inspection(info, notes=(note,))
    numbers = [number for number in range(1, info.count + 1) if number != info.alpha]
    bands = tuple(BandSummary(info.bands[number - 1]) for number in numbers)
    valid_pixels = 0
    with progress.start(f"inspect {path.name}", info.grid.height, "rows") as step:
        for window in strips(info.grid, len(bands) * np.dtype(info.dtype).itemsize):
            values, valid = rasters.read(path, numbers, window)
            valid_pixels += int(valid.sum())
            for band, layer in zip(bands, values, strict=True):
                band.add(layer[valid])
            step.advance(window.height)
    share = valid_pixels / info.grid.window.size
    return Inspection(info, bands, share, tuple(_notes(info, bands, share)))


def strips(grid: Grid, pixel_bytes: int) -> Iterator[Window]:
    """The grid from north to south in full rows; ``pixel_bytes`` is what one pixel takes."""
    rows = max(1, min(STRIP, ROOM // (grid.width * pixel_bytes)))
    return grid.windows(rows)


def _notes(info: RasterInfo, bands: tuple[BandSummary, ...], share: float) -> Iterator[str]:
    yield from _place_notes(info)
    if info.masked:
        yield "validity comes from the mask in or beside the file"
    if info.alpha:
        yield (
            f"band {info.alpha} is marked as alpha: it tells validity and is no data; where it is "
            "(some programs mark any fourth 8-bit band so), name all bands in 'imagery.band_names'"
        )
    if share == 0:
        yield "every pixel is nodata: there is nothing to map"
    elif info.nodata is None and not info.masked and not info.alpha:
        low = min(band.low for band in bands)
        but = " except NaN" if np.issubdtype(info.dtype, np.floating) else ""
        yield (
            f"no nodata value is set, so every pixel{but} counts as data; if empty pixels have a "
            f"value (the lowest is {low:g}), name it with 'imagery.nodata'"
        )
    if set(info.scaling) != {(1.0, 0.0)}:
        yield (
            f"scale and offset are set ({info.scaling[0][0]:g} and {info.scaling[0][1]:g} for the "
            "first band): the numbers are used as they are stored, and so are those above"
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
