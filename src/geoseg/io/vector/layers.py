"""Layers that GDAL writes: one stream of batches into one open file.

GDAL asks for the next batch when it has written the last one, so it runs in a thread of its own and
takes them from a queue of one.
"""

from __future__ import annotations

import queue
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyogrio
from numpy.typing import NDArray

from geoseg.io.vector.geopackages import PLAIN, keep_style


class _AbandonedError(Exception):
    """No more batches will come."""


class GdalSink:
    """A layer being written."""

    def __init__(self, path: Path, driver: str, layer: str, crs: str | None, geometry: str) -> None:
        """``geometry`` names the column that holds the WKB."""
        self._path, self._driver, self._layer, self._crs = path, driver, layer, crs
        self._geometry = geometry
        self._batches: queue.Queue[pa.RecordBatch | _AbandonedError | None] = queue.Queue(1)
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    def write(self, batch: pa.RecordBatch, bounds: NDArray[np.float64]) -> None:
        """Add a batch; raises what went wrong with those before."""
        if self._thread is None:
            # Not to outlive a program that is interrupted.
            arguments = (batch.schema,)
            self._thread = threading.Thread(target=self._run, args=arguments, daemon=True)
            self._thread.start()
        self._put(batch)

    def close(self, style: str | None) -> None:
        """Wait until all is written, then add the style where the format can keep one."""
        self._put(None)
        assert self._thread is not None
        self._thread.join()
        self._thread = None
        if self._failure:
            raise self._failure
        if style and self._driver == "GPKG":
            keep_style(self._path, self._layer, "geom", style)

    def abandon(self) -> None:
        """Let go of a file that will not be finished."""
        if self._thread is not None and self._failure is None:
            self._put(_AbandonedError())
            self._thread.join()

    def _put(self, batch: pa.RecordBatch | _AbandonedError | None) -> None:
        assert self._thread is not None
        while self._thread.is_alive():
            with suppress(queue.Full):
                self._batches.put(batch, timeout=0.2)
                return
        if self._failure and not isinstance(batch, _AbandonedError):
            raise self._failure

    def _run(self, schema: pa.Schema) -> None:
        stream = pa.RecordBatchReader.from_batches(schema, self._arriving())
        try:
            with warnings.catch_warnings():
                # An image without CRS has polygons without CRS.
                warnings.filterwarnings("ignore", "'crs' was not provided")
                pyogrio.raw.write_arrow(
                    stream,
                    self._path,
                    layer=self._layer,
                    driver=self._driver,
                    geometry_name=self._geometry,
                    geometry_type="Polygon",
                    crs=self._crs,
                    dataset_options=PLAIN if self._driver == "GPKG" else None,
                )
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits for this one
            self._failure = error

    def _arriving(self) -> Iterator[pa.RecordBatch]:
        while (batch := self._batches.get()) is not None:
            if isinstance(batch, _AbandonedError):
                raise batch
            yield batch
