"""The one door to raster files: what a file is, reading windows, writing whole files.

GDAL through rasterio. Every failure to open or read becomes a ``RasterError`` that names the file.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # GDAL's own errors: some calls let them through
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import OutputError, RasterError
from geoseg.grid import Grid, Window
from geoseg.io.files import replacing

TILE = 512
"""Side of the tiles of every raster geoseg writes, in pixels."""

CACHE = 256 * 2**20
"""Bytes of GDAL's block cache, unless GDAL_CACHEMAX is set in the environment; GDAL's own default is
5 % of the machine's memory, in each process."""

_FAILURES = (RasterioError, CPLE_BaseError)

# Block files and some imagery have no place on Earth; geoseg maps them in pixels, and says so once.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)


@dataclass(frozen=True)
class RasterInfo:
    """What a raster file says of itself."""

    path: Path
    driver: str
    grid: Grid
    count: int
    """Number of bands."""
    dtype: str
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
    subdatasets: tuple[str, ...]


@dataclass(frozen=True)
class RasterSpec:
    """What a raster to be written holds."""

    dtype: str
    count: int = 1
    nodata: float | None = None
    bands: tuple[str, ...] = ()
    """Band descriptions."""
    colormap: Mapping[int, tuple[int, int, int, int]] | None = None
    """Value to RGBA, for one uint8 band."""
    tags: tuple[tuple[str, str], ...] = ()
    """Dataset metadata."""


class RasterWriter:
    """An open raster; ``write`` puts an array into a window."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def write(self, values: NDArray[np.generic], window: Window) -> None:
        """Write ``[bands, height, width]`` (or ``[height, width]`` for one band)."""
        stack = values if values.ndim == 3 else values[np.newaxis]
        self._dataset.write(stack, window=_to_rasterio(window))


def _to_rasterio(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col, window.row, window.width, window.height)


def _environment() -> rasterio.Env:
    """GDAL's settings while a file is open."""
    return rasterio.Env(**({} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": CACHE}))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not os.path.exists(path):  # unlike Path.exists, False for a name no file can have
        raise RasterError(f"{path}: no such file; check its name and folder")
    if path.is_dir():
        raise RasterError(f"{path} is a folder; name one raster file in it")
    try:
        with _environment(), rasterio.open(path) as source:
            yield source
    except _FAILURES as error:
        raise RasterError(
            f"{path} cannot be read as a raster: {_cause(error)}. Check it with 'gdalinfo "
            "-checksum', and fetch it again if it is damaged."
        ) from None


def _cause(error: Exception) -> str:
    """What GDAL said, without rasterio's "see previous exception"."""
    return str(error.__cause__ or error).rstrip(".")


def describe(path: Path) -> RasterInfo:
    """Open a raster and say what it is. No pixel is read; ``RasterError`` where that fails."""
    with _opened(path) as source:
        return RasterInfo(
            path=path,
            driver=source.driver,
            grid=Grid(
                source.crs.to_wkt() if source.crs else None,
                source.transform,
                source.height,
                source.width,
            ),
            count=source.count,
            dtype=str(np.result_type(*source.dtypes)) if source.count else "none",
            nodata=source.nodata,
            bands=_band_names(source),
            scaling=tuple(zip(source.scales, source.offsets, strict=True)),
            masked=_has_mask(source),
            alpha=next(iter(_alpha_bands(source)), 0),
            gcps=len(source.gcps[0]) if source.transform == Affine.identity() else 0,
            subdatasets=tuple(source.subdatasets),
        )


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
    where it has none) and, for floats, by being a finite float32. Raises ``RasterError``.
    """
    with _opened(path) as source:
        place = _to_rasterio(window)
        values = _values(source, bands, place)
        nodata_of = source.nodatavals  # a property that asks every band
        valid = np.ones(window.shape, dtype=bool)
        if _has_mask(source):
            valid &= source.read_masks(bands[0], window=place) > 0
        for alpha in _alpha_bands(source).difference(bands):
            valid &= source.read(alpha, window=place) > 0
    for layer, band in zip(values, bands, strict=True):
        own = nodata_of[band - 1]
        _drop_missing(valid, layer, nodata if own is None else own)
    return values, valid


def _values(source: Any, bands: Sequence[int], place: RasterioWindow) -> NDArray[Any]:
    if len({source.dtypes[band - 1] for band in bands}) == 1:
        values: NDArray[Any] = source.read(list(bands), window=place)
        return values
    return np.stack([source.read(band, window=place) for band in bands])


def _drop_missing(valid: NDArray[np.bool_], layer: NDArray[Any], missing: float | None) -> None:
    """Clear ``valid`` where a band has its nodata value or, for floats, no finite float32."""
    floating = np.issubdtype(layer.dtype, np.floating)
    if floating:
        valid &= np.abs(layer) <= np.finfo(np.float32).max
    if missing is not None and not np.isnan(missing):
        # An integer is compared as one: the detour over floats takes five times as long.
        whole = not floating and float(missing).is_integer()
        valid &= layer != (int(missing) if whole else missing)


def tags(path: Path) -> dict[str, str]:
    """Dataset metadata of a raster, key to text. Raises ``RasterError``."""
    with _opened(path) as source:
        return {str(key): str(text) for key, text in source.tags().items()}


def overview(path: Path, longest: int) -> NDArray[Any]:
    """The first band, thinned by nearest neighbour so that no side exceeds ``longest`` pixels."""
    with _opened(path) as source:
        step = max(1.0, max(source.height, source.width) / longest)
        shape = (max(1, round(source.height / step)), max(1, round(source.width / step)))
        values: NDArray[Any] = source.read(1, out_shape=shape, resampling=Resampling.nearest)
        return values


@contextmanager
def create(path: Path, grid: Grid, spec: RasterSpec) -> Iterator[RasterWriter]:
    """Write a tiled, DEFLATE-compressed GeoTIFF that appears at ``path`` only when it is whole.

    Raises ``OutputError`` where the place cannot be written, for example on a full disk.
    """
    with replacing(path) as part:
        try:
            with (
                _environment(),
                rasterio.open(part, "w", **_profile(grid, spec)) as target,
            ):
                _label(target, spec)
                yield RasterWriter(target)
            _read_back(part)
        except _FAILURES as error:
            raise _no_room(path, error) from None


def _read_back(part: Path) -> None:
    """Decode what was written, once. GDAL writes its last tiles when it closes a file, and tells
    nobody when the disk is full by then: a file cut short would pass for a good one."""
    with rasterio.open(part) as source:
        for _, window in source.block_windows(1):
            source.read(window=window)


def _profile(grid: Grid, spec: RasterSpec) -> dict[str, Any]:
    large = grid.height >= TILE and grid.width >= TILE
    tiles = {"tiled": True, "blockxsize": TILE, "blockysize": TILE} if large else {}
    return {
        "driver": "GTiff",
        "crs": grid.crs,
        "transform": grid.transform,
        "height": grid.height,
        "width": grid.width,
        "count": spec.count,
        "dtype": spec.dtype,
        "nodata": spec.nodata,
        "compress": "deflate",
        # Four 8-bit bands would otherwise be red, green, blue and alpha.
        "photometric": "palette" if spec.colormap else "minisblack",
        "predictor": 1 if spec.colormap or spec.dtype == "bool" else _predictor(spec.dtype),
        "bigtiff": "if_safer",
        **tiles,
    }


def _predictor(dtype: str) -> int:
    return 3 if np.issubdtype(np.dtype(dtype), np.floating) else 2


def _label(target: Any, spec: RasterSpec) -> None:
    """Names, colours and tags; before the pixels, so that they need no second pass."""
    for number, name in enumerate(spec.bands, 1):
        target.set_band_description(number, name)
    if spec.colormap:
        target.write_colormap(1, dict(spec.colormap))
    if spec.tags:
        target.update_tags(**dict(spec.tags))


def _no_room(path: Path, error: Exception) -> OutputError:
    return OutputError(
        f"{path}: cannot be written: {_cause(error)}. Check free space and permissions, then run "
        "the same command again; finished blocks are kept."
    )


def to_cog(source: Path, target: Path, resampling: Literal["mode", "average"]) -> None:
    """Copy a raster to a cloud-optimized GeoTIFF with overviews, whole or not at all.

    ``mode`` takes the most frequent value, so that overviews never mix classes; ``average`` is for
    quantities. Nodata counts in neither.
    """
    options = {
        "COMPRESS": "DEFLATE",
        "BLOCKSIZE": str(TILE),
        "OVERVIEW_RESAMPLING": resampling.upper(),
        "BIGTIFF": "IF_SAFER",
        "NUM_THREADS": "ALL_CPUS",
    }
    with replacing(target) as part:
        try:
            rasterio.shutil.copy(source, part, driver="COG", **options)
            _read_back(part)
        except _FAILURES as error:
            raise _no_room(target, error) from None
