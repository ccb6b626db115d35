"""Writing polygons batch by batch: GeoPackage, FlatGeobuf (both by GDAL) and GeoParquet (pyarrow).

The format follows from the file's suffix. Memory is bounded by a batch, but for FlatGeobuf, whose
spatial index GDAL sorts in memory (some hundred bytes a polygon). What cannot be written becomes an
``OutputError`` that names the file.
"""

from __future__ import annotations

import queue
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyogrio
import shapely
from numpy.typing import NDArray

from geoseg.errors import OutputError
from geoseg.io.files import replacing
from geoseg.io.vector.geoparquet import ParquetSink
from geoseg.io.vector.ogr import FAILURES, PLAIN, keep_style, repeatable

FORMATS = {".gpkg": "GPKG", ".fgb": "FlatGeobuf", ".parquet": "Parquet"}
"""Suffix of the file to the name of its format."""

GEOMETRY = "geometry"
"""Column of the outlines (WKB) in a batch."""


class _Sink(Protocol):
    """Where batches go."""

    def write(self, batch: pa.RecordBatch, bounds: NDArray[np.float64]) -> None: ...

    def close(self, style: str | None) -> None: ...

    def abandon(self) -> None: ...


class PolygonWriter:
    """An open polygon layer; ``append`` adds a batch. Made by ``create_polygons``."""

    def __init__(self, sink: _Sink) -> None:
        self._sink = sink
        self._schema: pa.Schema | None = None
        self._style: str | None = None

    def append(self, geometries: NDArray[np.object_], columns: Mapping[str, Any]) -> None:
        """Add polygons (an array of shapely ``Polygon``) and one array per column, equally long.

        The first batch, which may be empty, fixes the columns and their types; NaN is written as
        null. Columns are numpy or pyarrow arrays, texts as objects.
        """
        arrays = {name: _array(values) for name, values in columns.items()}
        outlines = pa.array(shapely.to_wkb(geometries), pa.binary())
        batch = pa.RecordBatch.from_pydict({**arrays, GEOMETRY: outlines})
        if batch.schema != (self._schema or batch.schema):
            # GDAL would convert the values to the first batch's type, or drop them.
            raise TypeError(f"columns {batch.schema} of this batch are not {self._schema}")
        self._schema = batch.schema
        self._sink.write(batch, shapely.bounds(geometries).reshape(-1, 4))

    def set_style(self, qml: str) -> None:
        """Keep a QGIS style in a GeoPackage, as QGIS itself does; it is applied when the layer loads.

        Other formats have no place for it.
        """
        self._style = qml

    def finish(self) -> None:
        """Write what is still to be written."""
        if self._schema is None:
            self.append(np.array([], dtype=object), {})
        self._sink.close(self._style)


def _array(values: Any) -> pa.Array:
    if isinstance(values, np.ndarray) and values.dtype == object:
        return pa.array(values, pa.string())
    return values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)


@contextmanager
def create_polygons(path: Path, layer: str, crs: str | None) -> Iterator[PolygonWriter]:
    """Write a file of polygons that appears at ``path`` only when it is whole.

    ``crs`` is WKT or any name pyproj knows, None for none. GeoPackage and FlatGeobuf have a spatial
    index, GeoParquet has each polygon's box and the bounds of its row groups; the same batches give
    the same bytes. Raises ``OutputError`` where the place cannot be written or the suffix is unknown.
    """
    format_of(path)
    with replacing(path) as part, repeatable(), ExitStack() as stack:
        sink: _Sink
        if path.suffix.lower() == ".parquet":
            sink = ParquetSink(part, crs, GEOMETRY)
        else:
            sink = _GdalSink(part, FORMATS[path.suffix.lower()], layer, crs, GEOMETRY)
        stack.callback(sink.abandon)
        writer = PolygonWriter(sink)
        try:
            yield writer
            writer.finish()
        except (*FAILURES, pa.ArrowException) as error:
            raise OutputError(
                f"{path}: cannot be written: {error}. Check free space and permissions, then run "
                "the same command again."
            ) from None


def format_of(path: Path) -> str:
    """Name of the format a file's suffix stands for; ``OutputError`` for any other."""
    name = FORMATS.get(path.suffix.lower())
    if name is None:
        raise OutputError(
            f"{path}: polygons are written as {', '.join(FORMATS)}, not as "
            f"{path.suffix or 'a file without suffix'!r}. Change the name of the output."
        )
    return name


class _AbandonedError(Exception):
    """No more batches will come."""


class _GdalSink:
    """A layer being written: one stream of batches into one open file.

    GDAL asks for the next batch when it has written the last one, so it runs in a thread of its own and
    takes them from a queue of one.
    """

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
