"""The one door to raster files: what a file is, reading windows, writing whole files.

GDAL through rasterio. Every failure to open or read becomes a ``RasterError`` that names the file.
"""

from __future__ import annotations

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
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import OutputError, RasterError
from geoseg.grid import Grid, Window
from geoseg.io.files import replacing

TILE = 512
"""Side of the tiles of every raster geoseg writes, in pixels."""


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
    masked: bool
    """Validity is in a mask or an alpha band, not in a nodata value."""
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


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.exists():
        raise RasterError(f"{path}: no such file")
    try:
        with rasterio.open(path) as source:
            yield source
    except RasterioError as error:
        cause = error.__cause__ or error
        raise RasterError(
            f"{path} cannot be read as a raster: {cause}. Check it with 'geoseg inspect' or "
            "gdalinfo -checksum, and fetch it again if it is damaged."
        ) from None


def describe(path: Path) -> RasterInfo:
    """Open a raster and say what it is. No pixel is read; ``RasterError`` where that fails."""
    with _opened(path) as source:
        flags = {flag for band in source.mask_flag_enums for flag in band}
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
            bands=tuple(name or f"band_{i}" for i, name in enumerate(source.descriptions, 1)),
            masked=bool(flags & {MaskFlags.per_dataset, MaskFlags.alpha}),
            gcps=len(source.gcps[0]) if source.transform == Affine.identity() else 0,
            subdatasets=tuple(source.subdatasets),
        )


def read(
    path: Path, bands: Sequence[int], window: Window, nodata: float | None = None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read bands (numbered from 1) in a window that lies inside the raster.

    Returns the values ``[bands, height, width]`` in the file's own type and where they are valid,
    ``bool[height, width]``: all of the bands hold data, by the file's mask or alpha band, its nodata
    value (``nodata`` where it has none) and, for floats, by being finite. Raises ``RasterError``.
    """
    with _opened(path) as source:
        place = _to_rasterio(window)
        values: NDArray[Any] = source.read(list(bands), window=place)
        missing = source.nodata if source.nodata is not None else nodata
        valid = np.ones(window.shape, dtype=bool)
        if MaskFlags.per_dataset in source.mask_flag_enums[bands[0] - 1]:
            valid &= source.read_masks(bands[0], window=place) > 0
    if missing is not None and not np.isnan(missing):
        valid &= (values != missing).all(axis=0)
    if np.issubdtype(values.dtype, np.floating):
        valid &= np.isfinite(values).all(axis=0)
    return values, valid


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
            with rasterio.open(part, "w", **_profile(grid, spec)) as target:
                _label(target, spec)
                yield RasterWriter(target)
        except RasterioIOError as error:
            raise _no_room(path, error) from None


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
        f"{path}: cannot be written: {error}. Check free space and permissions, then run the same "
        "command again; finished blocks are kept."
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
        except RasterioError as error:
            raise _no_room(target, error) from None
