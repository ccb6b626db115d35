"""Writing parcels with what was found out about them: GeoPackage, GeoParquet or CSV, by the file's
name; batch by batch, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pyogrio
import shapely
from numpy.typing import NDArray

from geoseg.errors import OutputError
from geoseg.io.files import replacing
from geoseg.io.vector.geoparquet import geo_metadata
from geoseg.io.vector.ogr import FAILURES, PLAIN, keep_style, repeatable
from geoseg.io.vector.parcel_layers import Batch, Layer

LAYER = "parcels"
"""Name of the layer in a GeoPackage."""

Columns = Mapping[str, NDArray[Any]]
"""Name to values, one per row. Null is NaN, None in an object array, or masked."""


class TableWriter(Protocol):
    """An open table; ``append`` adds rows. Made by ``create_table``."""

    def append(self, batch: Batch, columns: Columns) -> None:
        """Add a batch as it was read, with further columns behind its own."""

    def set_style(self, qml: str) -> None:
        """Keep a QGIS style in the file, where the format has a place for one."""


@contextmanager
def create_table(path: Path, source: Layer) -> Iterator[TableWriter]:
    """Write a table with the rows of ``source`` that appears at ``path`` only when it is whole.

    ``.gpkg`` and ``.parquet`` keep the geometries (as multipolygons) and the source's CRS, ``.csv``
    has none; equal rows give equal bytes. Raises ``OutputError`` for another suffix, or where the
    place cannot be written.
    """
    check_suffix(path)
    with replacing(path) as part, repeatable():
        try:
            if path.suffix == ".gpkg":
                yield _GeoPackage(part, source)
            else:
                with _Arrow(part, source) as writer:
                    yield writer
        except (*FAILURES, pyarrow.ArrowException) as error:
            raise OutputError(
                f"{path}: cannot be written: {error}. Check free space and permissions, then run "
                "the same command again; where a column cannot be written, take another format."
            ) from None


def check_suffix(path: Path) -> None:
    """``OutputError`` unless parcels can be written to a file of this name."""
    if path.suffix not in {".gpkg", ".parquet", ".csv"}:
        raise OutputError(
            f"{path}: parcels are written as .gpkg, .parquet or .csv; name one of them"
        )


def _table(batch: Batch, columns: Columns) -> Any:
    """The batch's attributes and the new columns, as Arrow."""
    table = batch.attributes
    for name, values in columns.items():
        mask = values.mask if isinstance(values, np.ma.MaskedArray) else None
        plain = np.asarray(values)
        # A column that is null throughout is text too.
        kind = pyarrow.string() if plain.dtype == object else None
        table = table.append_column(name, pyarrow.array(plain, kind, mask, from_pandas=True))
    return table


def _with_geometry(table: Any, name: str, geometry: NDArray[np.object_]) -> Any:
    multiple = geometry.copy()
    single = shapely.get_type_id(geometry) == shapely.GeometryType.POLYGON
    multiple[single] = shapely.multipolygons(geometry[single], indices=np.arange(single.sum()))
    return table.append_column(name, pyarrow.array(shapely.to_wkb(multiple), pyarrow.binary()))


def _free(name: str, taken: list[str]) -> str:
    """A column's name that is not taken, as SQLite compares them."""
    return free_names([name], taken)[name]


def free_names(names: list[str], taken: list[str]) -> dict[str, str]:
    """Names for new columns beside those that are taken, upper and lower case being one: ``check``,
    or ``check_2`` and so on where there is a ``check``."""
    used = {name.casefold() for name in taken}
    chosen: dict[str, str] = {}
    for name in names:
        number, free = 1, name
        while free.casefold() in used:
            number += 1
            free = f"{name}_{number}"
        used.add(free.casefold())
        chosen[name] = free
    return chosen


class _GeoPackage:
    def __init__(self, path: Path, source: Layer) -> None:
        self._path, self._source, self._geometry = path, source, "geom"

    def append(self, batch: Batch, columns: Columns) -> None:
        table = _table(batch, columns)
        self._geometry = geometry = _free("geom", table.column_names)
        pyogrio.raw.write_arrow(
            _with_geometry(table, geometry, batch.geometry),
            self._path,
            layer=LAYER,
            driver="GPKG",
            geometry_name=geometry,
            geometry_type="MultiPolygon",
            crs=self._source.crs,
            append=self._path.exists(),
            dataset_options=PLAIN,
            # GDAL would take the row numbers from an attribute that has the name of theirs.
            layer_options={"FID": _free("fid", table.column_names), "GEOMETRY_NAME": geometry},
        )

    def set_style(self, qml: str) -> None:
        keep_style(self._path, LAYER, self._geometry, qml)


@dataclass
class _Arrow:
    """GeoParquet or CSV: pyarrow's writer, opened with the columns of the first batch."""

    path: Path
    source: Layer
    writer: Any = None

    def append(self, batch: Batch, columns: Columns) -> None:
        table = _table(batch, columns)
        if self.path.suffix == ".csv":
            table = _as_text(table)
        else:
            name = _free("geometry", table.column_names)
            table = _with_geometry(table, name, batch.geometry)
            meta = geo_metadata(name, "MultiPolygon", self.source.crs)
            table = table.replace_schema_metadata({"geo": json.dumps(meta)})
        if self.writer is None:
            self.writer = self._open(table.schema)
        self.writer.write_table(table)

    def _open(self, schema: Any) -> Any:
        if self.path.suffix == ".csv":
            return pyarrow.csv.CSVWriter(self.path, schema)
        return pyarrow.parquet.ParquetWriter(self.path, schema, compression="zstd")

    def set_style(self, qml: str) -> None:
        """Neither format has a place for it."""

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self.writer is not None:
            self.writer.close()


def _as_text(table: Any) -> Any:
    """The table with what CSV has no form for (lists, records, bytes) as JSON text."""
    for place, field in enumerate(table.schema):
        column = table.column(place)
        if isinstance(field.type, pyarrow.BaseExtensionType):  # JSON is kept as a text
            column = column.cast(field.type.storage_type)
        if not _in_csv(column.type):
            words = [
                value if value is None or isinstance(value, str) else json.dumps(value, default=str)
                for value in column.to_pylist()
            ]
            column = pyarrow.chunked_array([words], pyarrow.string())
        table = table.set_column(place, field.name, column)
    return table


def _in_csv(kind: Any) -> bool:
    """Whether Arrow writes values of a type as CSV; bytes it would write as they are."""
    if "binary" in str(kind):
        return False
    try:
        empty = pyarrow.table({"": pyarrow.nulls(1, kind)})
        pyarrow.csv.write_csv(empty, pyarrow.BufferOutputStream())
    except pyarrow.ArrowException:
        return False
    return True
