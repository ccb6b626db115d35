"""GeoParquet 1.1, written and read by pyarrow: the GDAL that comes with pyogrio has no driver for it.

WKB in a column, a box per row (the covering), one row group per batch.
Specification 1.1.0, "File metadata": https://geoparquet.org/releases/v1.1.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
from numpy.typing import NDArray

from geoseg.errors import ParcelError

_SIDES = ("xmin", "ymin", "xmax", "ymax")


class ParquetSink:
    """A GeoParquet file being written."""

    def __init__(self, path: Path, crs: str | None, geometry: str) -> None:
        """``geometry`` names the column that holds the WKB."""
        self._path, self._crs, self._geometry = path, crs, geometry
        self._writer: pq.ParquetWriter | None = None
        self._bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])

    def write(self, batch: pa.RecordBatch, bounds: NDArray[np.float64]) -> None:
        """Add a row group; ``bounds`` ``[n, 4]`` are the boxes of its polygons."""
        boxes = pa.StructArray.from_arrays([pa.array(side) for side in bounds.T], list(_SIDES))
        whole = batch.append_column("bbox", boxes)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, whole.schema, compression="zstd")
        if len(bounds):
            self._bounds[:2] = np.minimum(self._bounds[:2], bounds[:, :2].min(axis=0))
            self._bounds[2:] = np.maximum(self._bounds[2:], bounds[:, 2:].max(axis=0))
            self._writer.write_batch(whole)

    def close(self, style: str | None) -> None:
        """Write the footer; a style has no place in the format."""
        assert self._writer is not None
        self._writer.add_key_value_metadata({"geo": json.dumps(self._metadata())})
        self._writer.close()
        self._writer = None

    def abandon(self) -> None:
        """Let go of a file that will not be finished."""
        if self._writer is not None:
            with suppress(OSError, pa.ArrowException):  # it would hide what went wrong before it
                self._writer.close()

    def _metadata(self) -> dict[str, Any]:
        more: dict[str, Any] = {"covering": {"bbox": {side: ["bbox", side] for side in _SIDES}}}
        if np.isfinite(self._bounds).all():
            more["bbox"] = self._bounds.tolist()
        return geo_metadata(self._geometry, "Polygon", self._crs, more)


def geo_metadata(
    column: str, kind: str, crs: str | None, more: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """The ``geo`` entry that makes a Parquet file a GeoParquet one, with a column of WKB.

    ``more`` is said of the column besides.
    """
    projjson = pyproj.CRS.from_user_input(crs).to_json_dict() if crs else None
    said = {"encoding": "WKB", "geometry_types": [kind], "crs": projjson, **more}
    return {"version": "1.1.0", "primary_column": column, "columns": {column: said}}


SUFFIXES = {".parquet", ".geoparquet"}


@dataclass(frozen=True)
class GeoParquet:
    """What a file says of itself."""

    geometry: str
    """Column with the geometries, WKB."""
    crs: str | None
    fields: tuple[str, ...]
    """The other columns."""
    count: int


def describe(path: Path) -> GeoParquet:
    """``ParcelError`` for a Parquet file that is no GeoParquet, or keeps geometries in another way."""
    with pq.ParquetFile(path) as source:
        geo = json.loads((source.metadata.metadata or {}).get(b"geo", b"{}"))
        primary = geo.get("primary_column")
        column = geo.get("columns", {}).get(primary, {})
        if column.get("encoding") != "WKB":
            raise ParcelError(
                f"{path} is no GeoParquet with geometries as WKB (encoding "
                f"{column.get('encoding')!r}); write it with geopandas or ogr2ogr"
            )
        fields = tuple(name for name in source.schema_arrow.names if name != primary)
        return GeoParquet(primary, _crs(column), fields, source.metadata.num_rows)


def _crs(column: dict[str, Any]) -> str | None:
    if "crs" not in column:
        return "OGC:CRS84"  # the specification's default
    return column["crs"] and str(pyproj.CRS.from_json_dict(column["crs"]).to_string())


def read(path: Path, size: int) -> Iterator[Any]:
    """Arrow record batches of at most ``size`` rows, in the file's order."""
    with pq.ParquetFile(path) as source:
        yield from source.iter_batches(batch_size=size)
