"""The one door to rasters that are written: whole GeoTIFFs, plain or cloud-optimized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray

from geoseg.errors import OutputError
from geoseg.grid import Grid, Window
from geoseg.io.files import replacing
from geoseg.io.gdal import FAILURES, cause, environment, to_rasterio

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
    compressed: bool = True
    """DEFLATE; without, for a file that is soon read again and removed."""


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
                rasterio.open(part, "w", **_profile(grid, spec)) as target,
            ):
                _label(target, spec)
                yield RasterWriter(target)
            _read_back(part)
        except FAILURES as error:
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
        "compress": "deflate" if spec.compressed else "none",
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
        f"{path}: cannot be written: {cause(error)}. Check free space and permissions, then run "
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
        except FAILURES as error:
            raise _no_room(target, error) from None
