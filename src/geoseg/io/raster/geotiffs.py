"""The one door to rasters that are written: whole GeoTIFFs, plain or cloud-optimized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import OutputError
from geoseg.grid import Grid, Window
from geoseg.io.files import replacing
from geoseg.io.raster.gdal import FAILURES, cause, cores, environment, to_rasterio

TILE = 512
"""Side of the tiles of every raster geoseg writes, in pixels."""


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
    quick: bool = False
    """DEFLATE at its quickest (a fifth of the time, a ninth more bytes): for a file that is read
    once."""


Compression = Literal["deflate", "zstd"]


class RasterWriter:
    """An open raster; ``write`` puts an array into a window."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def write(self, values: NDArray[np.generic], window: Window) -> None:
        """Write ``[bands, height, width]`` (or ``[height, width]`` for one band)."""
        stack = values if values.ndim == 3 else values[np.newaxis]
        self._dataset.write(stack, window=to_rasterio(window))


@contextmanager
def create(path: Path, grid: Grid, spec: RasterSpec) -> Iterator[RasterWriter]:
    """Write a tiled, DEFLATE-compressed GeoTIFF that appears at ``path`` only when it is whole.

    Raises ``OutputError`` where the place cannot be written, for example on a full disk.
    """
    with replacing(path) as part:
        try:
            with (
                environment(),
                rasterio.open(part, "w", **profile(grid, spec)) as target,
            ):
                label(target, spec)
                yield RasterWriter(target)
            for _ in _decoded(part):
                pass
        except FAILURES as error:
            raise no_room(path, error) from None


def profile(grid: Grid, spec: RasterSpec) -> dict[str, Any]:
    """How rasterio is told of a tiled, compressed GeoTIFF."""
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
        **({"zlevel": 1} if spec.quick else {}),
        **tiles,
    }


def _predictor(dtype: str) -> int:
    return 3 if np.issubdtype(np.dtype(dtype), np.floating) else 2


def label(target: Any, spec: RasterSpec) -> None:
    """Names, colours and tags; before the pixels, so that they need no second pass."""
    for number, name in enumerate(spec.bands, 1):
        target.set_band_description(number, name)
    if spec.colormap:
        target.write_colormap(1, dict(spec.colormap))
    if spec.tags:
        target.update_tags(**dict(spec.tags))


def no_room(path: Path, error: Exception) -> OutputError:
    """What to tell where a raster cannot be written."""
    return OutputError(
        f"{path}: cannot be written: {cause(error)}. Check free space and permissions, then run "
        "the same command again; finished blocks are kept."
    )


def to_cog(
    source: Path,
    target: Path,
    resampling: Literal["mode", "average"],
    compression: Compression = "deflate",
    known: int | None = None,
) -> None:
    """Copy a raster to a cloud-optimized GeoTIFF with overviews, whole or not at all.

    ``mode`` takes the most frequent value, so that overviews never mix classes; ``average`` is for
    quantities. Nodata counts in neither. ``known``: how many values that are not nodata there are,
    over all bands. Raises ``OutputError`` where there is no room, and where values went missing.
    """
    with replacing(target) as part:
        copy_to_cog(source, part, target, resampling, compression, known)


def copy_to_cog(
    source: Path,
    part: Path,
    target: Path,
    resampling: Literal["mode", "average"],
    compression: Compression,
    known: int | None,
) -> None:
    """``to_cog`` into ``part``, which is to become ``target``; other threads go on meanwhile."""
    try:
        with environment():
            rasterio.shutil.copy(source, part, driver="COG", **_creation(resampling, compression))
            found = count_known(part)
    except FAILURES as error:
        raise no_room(target, error) from None
    if known is not None and found != known:
        raise no_room(target, OSError(f"{known - found} of {known} values did not arrive"))


def _creation(resampling: str, compression: str) -> dict[str, str]:
    """Creation options of GDAL's COG driver.

    No predictor: of class codes it means nothing, and the confidence of a trained network is flat over
    most of a map, which differences between neighbours make 14 % larger (a noisy one 7 % smaller).
    """
    return {
        "COMPRESS": compression.upper(),
        "PREDICTOR": "NO",
        "BLOCKSIZE": str(TILE),
        "OVERVIEW_RESAMPLING": resampling.upper(),
        "BIGTIFF": "IF_SAFER",
        "NUM_THREADS": "ALL_CPUS",
    }


def count_known(path: Path) -> int:
    """Decode a raster whole, on all cores, and count the values that are not nodata, over all bands."""
    threads = cores()
    with ThreadPoolExecutor(threads) as pool:
        shares = [pool.submit(_count_share, path, number, threads) for number in range(threads)]
        return sum(share.result() for share in shares)


def _count_share(path: Path, first: int, step: int) -> int:
    return sum(known_in(values, nodata) for values, nodata in _decoded(path, first, step))


def known_in(values: NDArray[Any], nodata: float | None) -> int:
    """How many values are not nodata."""
    if nodata is None:
        return int(values.size)
    # An integer is compared as one: the detour over floats takes five times as long.
    missing = int(nodata) if np.issubdtype(values.dtype, np.integer) else nodata
    return int(np.count_nonzero(values != missing))


def _decoded(
    path: Path, first: int = 0, step: int = 1
) -> Iterator[tuple[NDArray[Any], float | None]]:
    """Every ``step``-th window of a raster with its nodata value, counted from ``first``.

    GDAL writes its last tiles when it closes a file, and tells nobody when the disk is full by then:
    a file cut short would pass for a good one. A tile that was cut does not decode; one that was
    never written reads as nodata.
    """
    with environment(), rasterio.open(path) as source:
        for window in list(_windows(source.height, source.width))[first::step]:
            yield source.read(window=window), source.nodata


def _windows(height: int, width: int) -> Iterator[RasterioWindow]:
    """Some tiles side by side: what a thread has in memory at once."""
    for row in range(0, height, TILE):
        for col in range(0, width, 4 * TILE):
            yield RasterioWindow(col, row, min(4 * TILE, width - col), min(TILE, height - row))
