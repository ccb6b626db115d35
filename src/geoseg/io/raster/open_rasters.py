"""Rasters kept open between reads: a tile that two neighbouring windows need is decoded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.io.raster import rasters
from geoseg.io.raster.gdal import environment, open_raster

MOST = 400
"""Files kept open at once; systems commonly allow a process 1024."""

Read = Callable[[Path, Sequence[int], Window, float | None], tuple[NDArray[Any], NDArray[np.bool_]]]
"""``rasters.read``, or ``OpenRasters.read``."""


class OpenRasters:
    """Files open in this process, for any number of threads.

    GDAL keeps decoded tiles per open file, and lets one thread at a time use it: threads that want
    the same file wait for each other, threads that want different files do not.
    """

    def __init__(self) -> None:
        self._files: dict[Path, _OpenRaster] = {}
        self._lock = Lock()

    def read(
        self, path: Path, bands: Sequence[int], window: Window, nodata: float | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """See ``rasters.read``."""
        with environment():
            return self._file(path).read(bands, window, nodata)

    def _file(self, path: Path) -> _OpenRaster:
        with self._lock:
            if path not in self._files:
                if len(self._files) >= MOST:
                    self._files.pop(next(iter(self._files))).close()
                self._files[path] = _OpenRaster(path)
            return self._files[path]

    def close(self) -> None:
        """Close every file; the next read opens it again."""
        with self._lock:
            while self._files:
                self._files.popitem()[1].close()


class _OpenRaster:
    """One file, opened at its first read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._source: Any = None

    def read(
        self, bands: Sequence[int], window: Window, nodata: float | None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        with self._lock, rasters.naming(self._path):
            if self._source is None:
                self._source = open_raster(self._path)
            return rasters.read_open(self._source, bands, window, nodata)

    def close(self) -> None:
        with self._lock:
            if self._source is not None:
                self._source.close()
            self._source = None
