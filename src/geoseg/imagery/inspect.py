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
from geoseg.imagery.flags import Codes, flagged, named
from geoseg.io.raster import rasters
from geoseg.io.raster.rasters import RasterInfo, drop

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
    codes: Codes = field(default_factory=Codes)
    """Its different values, where they are few."""

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
            self.codes.add(values)


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
    valid_pixels, huge = 0, 0.0
    with progress.start(f"inspect {path.name}", info.grid.height, "rows") as step:
        size = 16 if info.complex else np.dtype(info.dtype).itemsize
        for window in strips(info.grid, len(bands) * size):
            values, valid = rasters.read(path, numbers, window)
            if info.complex:
                values = np.abs(values)
            if info.dtype == "float64":
                huge = max(huge, _beyond(values, info.nodata))
            valid_pixels += int(valid.sum())
            for band, layer in zip(bands, values, strict=True):
                band.add(layer[valid])
            step.advance(window.height)
    share = valid_pixels / info.grid.window.size
    notes = (*_notes(info, bands, share), *_value_notes(info, bands, huge))
    return Inspection(info, bands, share, notes)


def _beyond(values: NDArray[Any], nodata: float | None) -> float:
    """The largest finite number beyond those of 32 bits that is not the nodata value; 0: none."""
    sizes = np.abs(values)
    large = np.isfinite(sizes) & (sizes > np.finfo(np.float32).max)
    if nodata is not None and large.any():
        drop(large, values, "float64", nodata)
    return float(sizes[large].max(initial=0))


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
        but = " except NaN" if info.dtype.startswith("float") else ""
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
    elif info.rpcs:
        yield (
            "rational polynomial coefficients (RPC) and no grid: orthorectify it before mapping "
            "(gdalwarp -rpc -t_srs EPSG:CODE)"
        )
    elif info.grid.crs is None:
        yield "no CRS: the map will have none either, and areas are counted in pixels"
    elif CRS.from_wkt(info.grid.crs).is_geographic:
        yield "geographic CRS (degrees): areas are computed on the ellipsoid, row by row"
    yield from crs_notes(info.grid)
    if info.grid.transform.b or info.grid.transform.d:
        yield "rotated or sheared grid: kept as it is"
    elif info.grid.transform.e > 0 and info.grid.crs:
        yield "south-up (first row is the southernmost): kept as it is"


EARTH = (6.3e6, 6.45e6)
"""Bounds of the semi-major axis of an ellipsoid of the Earth, in metres."""


def crs_notes(grid: Grid) -> Iterator[str]:
    """What a CRS that is none of the usual means for a map."""
    if grid.crs is None:
        return
    crs = CRS.from_wkt(grid.crs)
    body = crs.ellipsoid
    if body and not EARTH[0] < body.semi_major_metre < EARTH[1]:
        yield (
            f"CRS of another body than the Earth (ellipsoid {body.name}, "
            f"{body.semi_major_metre / 1000:.0f} km): its longitudes and latitudes are none of the "
            "Earth; assign the right one (gdal_edit.py -a_srs EPSG:CODE) if that is a mistake"
        )
    parts = crs.sub_crs_list or [crs]
    methods = [part.coordinate_operation.method_name for part in parts if part.coordinate_operation]
    if any("geostationary" in method.lower() for method in methods):
        yield (
            "geostationary projection: pixels cover more ground the farther they are from below the "
            "satellite, so areas are wrong; warp it onto an equal-area grid first (gdalwarp -t_srs)"
        )


LARGE = 1e30
"""Beyond this a number is hardly measured: programs mark empty pixels so."""


def _value_notes(info: RasterInfo, bands: tuple[BandSummary, ...], huge: float) -> Iterator[str]:
    if info.complex:
        yield (
            f"complex numbers ({info.dtype}): the figures above are of their magnitudes; a run takes "
            "none, give intensity or real parts"
        )
    if huge:
        yield (
            f"numbers up to {huge:.3g} are beyond those of 32 bits, which networks are fed with: "
            "they count as no data; scale the band, if they are measured"
        )
    for band in bands:
        if band.count and max(abs(band.low), abs(band.high)) > LARGE:
            value = band.low if abs(band.low) > LARGE else band.high
            yield (
                f"{band.name}: {value:.6g} counts as data; if empty pixels have that value, name it "
                "with 'imagery.nodata'"
            )
            break
    yield from _flag_notes(info, bands)


def _flag_notes(info: RasterInfo, bands: tuple[BandSummary, ...]) -> Iterator[str]:
    part = named(info.path.stem)
    if info.count == 1 and part:
        yield (
            f"its name ({part}) is that of a quality band: to use it as a mask, name it with "
            "'imagery.masks' (folder, pattern, and the values not to use as 'invalid')"
        )
        return
    found = flagged([band.name for band in bands], [band.codes for band in bands])
    yield from (flag_note(name, why) for name, why in found.items())


def flag_note(name: str, why: str) -> str:
    """What to do about a band that looks like quality flags."""
    return (
        f"band {name} looks like a quality band ({why}) and counts as data: to use it as a mask, "
        "take it out into files of its own (gdal_translate -b) and name those with 'imagery.masks' "
        "(folder, pattern, invalid); choose the bands to use with 'imagery.bands'"
    )
