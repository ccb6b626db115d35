"""A raster under construction: written in any order by any number of threads, then made into a COG.

Plain tiles in a file beside the target, on the same disk, gone at the end. Memory is GDAL's cache of
tiles, whatever the raster's size.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg.grid import Grid, Window
from geoseg.io.access import confine
from geoseg.io.raster.gdal import FAILURES, environment, to_rasterio
from geoseg.io.raster.geotiffs import (
    Compression,
    RasterSpec,
    copy_to_cog,
    known_in,
    label,
    no_room,
    profile,
)


class Scratch:
    """A raster that is being put together. Each pixel is written once; the others are nodata."""

    def __init__(self, target: Path, path: Path, nodata: float, dataset: Any) -> None:
        self._target = target
        self._path = path
        self._nodata = nodata
        self._dataset = dataset
        self._lock = Lock()
        self._known = 0

    def write(self, values: NDArray[np.generic], window: Window) -> None:
        """Write ``[bands, height, width]``; from any thread."""
        known = known_in(values, self._nodata)
        if not known:
            return  # tiles that are never written take no room and read as nodata
        with self._lock:
            self._dataset.write(values, window=to_rasterio(window))
            self._known += known

    def to_cog(
        self, part: Path, resampling: Literal["mode", "average"], compression: Compression
    ) -> None:
        """All is written: make it a cloud-optimized GeoTIFF at ``part``. See ``geotiffs.to_cog``."""
        self._dataset.close()
        copy_to_cog(self._path, part, self._target, resampling, compression, self._known)


@contextmanager
def scratch(target: Path, grid: Grid, spec: RasterSpec) -> Iterator[Scratch]:
    """A raster to be put together, which becomes ``target`` by its ``to_cog``.

    ``spec`` needs a nodata value. Raises ``OutputError`` where there is no room.
    """
    assert spec.nodata is not None
    confine.require(target)
    path = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:8]}.part.tif")
    plain = {**profile(grid, spec), "compress": "none", "predictor": 1, "sparse_ok": True}
    try:
        with environment(), rasterio.open(path, "w", **plain) as dataset:
            label(dataset, spec)
            yield Scratch(target, path, spec.nodata, dataset)
    except FAILURES as error:
        raise no_room(target, error) from None
    finally:
        path.unlink(missing_ok=True)
