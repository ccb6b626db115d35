"""The one door to rasters that are read: what a file is, and the pixels of a window.

GDAL through rasterio. Every failure to open or read becomes a ``RasterError`` that names the file;
what may not be opened is a ``ConfinedError``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling

from geoseg.errors import RasterError
from geoseg.grid import Grid, Window
from geoseg.io.access import confine
from geoseg.io.raster.gdal import FAILURES, cause, environment, open_raster, to_rasterio


@dataclass(frozen=True)
class RasterInfo:
    """What a raster file says of itself."""

    path: Path
    driver: str
    grid: Grid
    count: int
    """Number of bands."""
    dtype: str
    tile: tuple[int, int]
    """Height and width of what is decoded at once: a tile, or a strip of rows."""
    nodata: float | None
    bands: tuple[str, ...]
    """Band descriptions, ``band_1`` and so on where there are none."""
    scaling: tuple[tuple[float, float], ...]
    """Scale and offset of each band: what turns its numbers into a quantity. Never applied."""
    masked: bool
    """The file has a mask of its own for validity."""
    alpha: int
    """Number of the alpha band, which tells validity unless it is read as data; 0 where none."""
    gcps: int
    """Ground control points; a raster that has only these has no grid yet."""
    rpcs: bool
    """Rational polynomial coefficients tell where it is, and nothing else does: it has no grid yet."""
    subdatasets: tuple[str, ...]

    @property
    def complex(self) -> bool:
        """Its numbers have an imaginary part."""
        return self.dtype.startswith("complex")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Failures to open or read in the body become a ``RasterError`` that names the file."""
    if not os.path.exists(path):  # unlike Path.exists, False for a name no file can have
        confine.local(path)  # what was never meant as a file's name is told as such
        raise RasterError(f"{path}: no such file; check its name and folder")
    if path.is_dir():
        raise RasterError(f"{path} is a folder; name one raster file in it")
    try:
        yield
    except FAILURES as error:
        raise RasterError(
            f"{path} cannot be read as a raster: {cause(error)}. Check it with 'gdalinfo "
            "-checksum', and fetch it again if it is damaged."
        ) from None


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A raster open for reading; see ``naming``."""
    with naming(path), environment(), open_raster(path) as source:
        yield source


def describe(path: Path) -> RasterInfo:
    """Open a raster and say what it is. No pixel is read; ``RasterError`` where that fails."""
    with opened(path) as source:
        placed = source.transform != Affine.identity()
        rpcs = not placed and not source.gcps[0] and source.rpcs is not None
        return RasterInfo(
            path=path,
            driver=source.driver,
            grid=Grid(
                # Coefficients are of longitude and latitude; pixels are not.
                source.crs.to_wkt() if source.crs and not rpcs else None,
                source.transform,
                source.height,
                source.width,
            ),
            count=source.count,
            dtype=_common_type(source.dtypes),
            tile=tuple(source.block_shapes[0]) if source.count else (1, 1),
            nodata=source.nodata,
            bands=_band_names(source),
            scaling=tuple(zip(source.scales, source.offsets, strict=True)),
            masked=_has_mask(source),
            alpha=next(iter(_alpha_bands(source)), 0),
            gcps=0 if placed else len(source.gcps[0]),
            rpcs=rpcs,
            subdatasets=tuple(source.subdatasets),
        )


def _common_type(types: Sequence[str]) -> str:
    """What the bands are read as together; GDAL's complex integers, which numpy has not, by name."""
    if len(set(types)) == 1:
        return types[0]
    known = ("complex64" if name.startswith("complex_") else name for name in types)
    return str(np.result_type(*known)) if types else "none"


def _band_names(source: Any) -> tuple[str, ...]:
    try:
        names = source.descriptions
    except UnicodeDecodeError:  # written by a program that does not know UTF-8
        names = [None] * source.count
    return tuple(name or f"band_{i}" for i, name in enumerate(names, 1))


def _alpha_bands(source: Any) -> set[int]:
    return {i for i, kind in enumerate(source.colorinterp, 1) if kind == ColorInterp.alpha}


def _has_mask(source: Any) -> bool:
    """A mask beside or inside the file; an alpha band is none."""
    flags = source.mask_flag_enums[0] if source.count else []
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


def read(
    path: Path, bands: Sequence[int], window: Window, nodata: float | None = None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read bands (numbered from 1) in a window that lies inside the raster.

    Returns the values ``[bands, height, width]`` in the file's own type (the common one where its
    bands differ) and where they are valid, ``bool[height, width]``: all of the bands hold data, by
    the file's mask, its alpha band (unless that is among ``bands``), its nodata value (``nodata``
    where it has none; see ``io.raster.nodata``) and, for floats, by being a finite float32. Raises
    ``RasterError``.
    """
    with opened(path) as source:
        return read_open(source, bands, window, nodata)


def read_open(
    source: Any, bands: Sequence[int], window: Window, nodata: float | None = None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """``read`` from a raster that is open."""
    place = to_rasterio(window)
    values, missing = _values(source, bands, place, nodata)
    valid = np.ones(window.shape, dtype=bool)
    if _has_mask(source):
        valid &= source.read_masks(bands[0], window=place) > 0
    for alpha in _alpha_bands(source).difference(bands):
        valid &= source.read(alpha, window=place) > 0
    for layer, (dtype, number) in zip(values, missing, strict=True):
        _drop_missing(valid, layer, dtype, number)
    return values, valid


def has_numbers(
    path: Path, bands: Sequence[int], window: Window, nodata: float | None = None
) -> NDArray[np.bool_]:
    """Where each band alone has data, ``bool[bands, height, width]``, whatever masks say of it."""
    with opened(path) as source:
        values, missing = _values(source, bands, to_rasterio(window), nodata)
    found = np.ones(values.shape, dtype=bool)
    for valid, layer, (dtype, number) in zip(found, values, missing, strict=True):
        _drop_missing(valid, layer, dtype, number)
    return found


def _values(
    source: Any, bands: Sequence[int], place: Any, nodata: float | None
) -> tuple[NDArray[Any], list[tuple[str, float | None]]]:
    """The values of some bands; the type and the nodata value that each has in the file."""
    types, own = source.dtypes, source.nodatavals  # properties that ask every band
    missing = [
        (types[band - 1], nodata if own[band - 1] is None else own[band - 1]) for band in bands
    ]
    if len({dtype for dtype, _ in missing}) == 1:
        return source.read(list(bands), window=place), missing
    return np.stack([source.read(band, window=place) for band in bands]), missing


def _drop_missing(
    valid: NDArray[np.bool_], layer: NDArray[Any], dtype: str, missing: float | None
) -> None:
    """Clear ``valid`` where a band has its nodata value or, for floats, no finite float32."""
    if np.issubdtype(layer.dtype, np.inexact):
        valid &= np.abs(layer) <= np.finfo(np.float32).max
    if np.iscomplexobj(layer):
        layer, dtype = layer.real, str(layer.real.dtype)
    if missing is not None:
        drop(valid, layer, dtype, missing)


def tags(path: Path) -> dict[str, str]:
    """Dataset metadata of a raster, key to text. Raises ``RasterError``."""
    with opened(path) as source:
        return {str(key): str(text) for key, text in source.tags().items()}


def overview(path: Path, longest: int, thin: Literal["mode", "average"]) -> NDArray[Any]:
    """The first band, thinned so that no side exceeds ``longest`` pixels; nodata counts for nothing.

    GDAL starts from the next larger overview where the file has one.
    """
    with opened(path) as source:
        step = max(1.0, max(source.height, source.width) / longest)
        shape = (max(1, round(source.height / step)), max(1, round(source.width / step)))
        values: NDArray[Any] = source.read(1, out_shape=shape, resampling=Resampling[thin])
        return values


_EPSILON = float(np.finfo(np.float32).eps)

_RATIO = (1 + 2 * _EPSILON) / (1 - 2 * _EPSILON)
"""At most, of two numbers for which ``|a - b| < 2 epsilon |a + b|``."""

_OVERFLOW = 2.0**128 - 2.0**103
"""From here on a sum is infinite in single precision, and then that holds whatever the difference."""


def drop(valid: NDArray[np.bool_], layer: NDArray[Any], dtype: str, nodata: float) -> None:
    """Clear ``valid`` where a band, of the type ``dtype`` in its file, has its nodata value."""
    numbers = _numbers(nodata, dtype)
    if numbers is None:
        return
    low, high = numbers
    if low == high:
        valid &= layer != low
    else:
        valid &= (layer < low) | (layer > high)


@lru_cache(maxsize=256)
def _numbers(nodata: float, dtype: str) -> tuple[Any, Any] | None:
    """The lowest and the highest number that count as nodata; None where no number does."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        # An integer is compared as one: the detour over floats takes five times as long.
        return (int(nodata),) * 2 if limits.min <= nodata <= limits.max else None
    kind = np.dtype(dtype).type
    with np.errstate(over="ignore"):
        size = abs(float(kind(nodata)))
        if not np.isfinite(size):
            return None
        near, far = size / _RATIO, size * _RATIO
        if kind is np.float32 and size + size >= _OVERFLOW:
            near, far = min(near, _OVERFLOW - size), np.inf
        # Rounded inwards, to numbers of the type.
        inner, outer = kind(near), kind(far)
        inner = inner if float(inner) >= near else np.nextafter(inner, kind(np.inf))
        outer = outer if float(outer) <= far else np.nextafter(outer, kind(0))
    return (-outer, -inner) if nodata < 0 else (inner, outer)
