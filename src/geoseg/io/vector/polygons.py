"""Writing polygons batch by batch: GeoPackage, FlatGeobuf (both by GDAL) and GeoParquet (pyarrow).

The format follows from the file's suffix. Memory is bounded by a batch, but for FlatGeobuf, whose
spatial index GDAL sorts in memory (some hundred bytes a polygon). What cannot be written becomes an
``OutputError`` that names the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from geoseg.errors import OutputError
from geoseg.io.files import replacing
from geoseg.io.vector.geopackages import FAILURES, repeatable
from geoseg.io.vector.geoparquet import ParquetSink
from geoseg.io.vector.layers import GdalSink

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
            sink = GdalSink(part, FORMATS[path.suffix.lower()], layer, crs, GEOMETRY)
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
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise OutputError(
            f"{path}: polygons are written as {', '.join(FORMATS)}, not as "
            f"{path.suffix or 'a file without suffix'!r}. Change the name of the output."
        )
    return found
