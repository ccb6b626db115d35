"""Reading GeoParquet, for which the GDAL that comes with pyogrio has no driver.

GeoParquet specification 1.1.0, "File metadata": https://geoparquet.org/releases/v1.1.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pyproj

from geoseg.errors import ParcelError

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
    with pyarrow.parquet.ParquetFile(path) as source:
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
    with pyarrow.parquet.ParquetFile(path) as source:
        yield from source.iter_batches(batch_size=size)
