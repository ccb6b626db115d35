"""Vector layers of other people's making: any format GDAL reads, any attributes, batch by batch.

Attributes stay in Arrow, as GDAL gives them: nothing is converted, so nothing is lost. What cannot be
read becomes a ``ParcelError`` that names the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyogrio
import shapely
from numpy.typing import NDArray

from geoseg.errors import ParcelError
from geoseg.io.vector import geoparquet, vector_files
from geoseg.io.vector.geometries import areal_parts, from_wkb, is_areal
from geoseg.io.vector.ogr import FAILURES
from geoseg.io.vector.vector_files import choose_layer
from geoseg.legend import spell

BATCH = 20_000
"""Rows read at a time."""


@dataclass(frozen=True)
class Layer:
    """What a layer of polygons says of itself."""

    path: Path
    name: str
    crs: str
    """As GDAL gives it: an authority's code or WKT."""
    fields: tuple[str, ...]
    count: int
    """Rows, those without geometry too."""

    def require(self, column: str, key: str) -> None:
        """Raise ``ParcelError`` unless the column is there; ``key`` is what named it."""
        if column not in self.fields:
            raise ParcelError(
                f"{self.path}: layer {self.name!r} has no column {column!r} ({key}); it has: "
                f"{', '.join(self.fields) or 'none'}"
            )


@dataclass(frozen=True)
class Batch:
    """Some rows of a layer, one after the other."""

    geometry: NDArray[np.object_]
    """Polygons and multipolygons as they are in the file, without heights; None where there is none."""
    attributes: Any
    """A pyarrow table of the other columns."""

    def __len__(self) -> int:
        return len(self.geometry)

    def texts(self, column: str) -> NDArray[np.object_]:
        """A column as text in the one spelling of ``legend.spell``, ``object[n]`` of str or None."""
        coded = self.attributes.column(column).combine_chunks().dictionary_encode()
        if isinstance(coded, pyarrow.ChunkedArray):
            coded = coded.combine_chunks()
        words = [spell(value) or None for value in coded.dictionary.to_pylist()]
        table = np.array([*words, None], dtype=object)
        places = coded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
        return np.asarray(table[places], dtype=object)


def describe_layer(path: Path, name: str | None) -> Layer:
    """Open a layer and say what it is; ``name`` may be None where the file has only one.

    Raises ``ParcelError`` where the file is missing or no vector file, the layer is not there, is
    empty, has no CRS, or holds points or lines; ``ConfinedError``.
    """
    vector_files.require(path)
    if not path.exists():
        raise ParcelError(f"{path}: no such file; name the file of parcels")
    with _naming(path):
        if path.suffix.lower() in geoparquet.SUFFIXES:
            parquet = geoparquet.describe(path)
            layer, kind = (
                Layer(path, path.stem, parquet.crs or "", parquet.fields, parquet.count),
                "",
            )
        else:
            layer, kind = _described(
                path, choose_layer(path, name, "layer", "polygons", ParcelError)
            )
    where = f"{path}: layer {layer.name!r}"
    if "Point" in kind or "Line" in kind:
        raise ParcelError(f"{where} holds {kind} geometries; parcels are polygons")
    if not layer.count:
        raise ParcelError(f"{where} is empty; check the file, or a filter that wrote it")
    if not layer.crs:
        raise ParcelError(
            f"{where} says no coordinate reference system, so it cannot be laid on the map. Give it "
            "the right one, for example with ogr2ogr -a_srs EPSG:32632."
        )
    return layer


def _described(path: Path, name: str) -> tuple[Layer, str]:
    """A layer as GDAL tells of it, and the kind of its geometries."""
    info = pyogrio.read_info(path, layer=name, force_feature_count=True)
    fields = tuple(str(field) for field in info["fields"])
    layer = Layer(path, name, str(info["crs"] or ""), fields, int(info["features"]))
    return layer, str(info["geometry_type"])


def read_layer(layer: Layer, size: int = BATCH) -> Iterator[Batch]:
    """All rows of a layer in their order, at most ``size`` at a time; ``ParcelError`` on failure."""
    first = 0
    with _naming(layer.path), _open(layer, size) as (column, batches):
        for rows in batches:
            table = pyarrow.Table.from_batches([rows])
            _require_text(layer, table)
            geometry = _polygons(table.column(column), layer, first)
            yield Batch(geometry, table.drop_columns([column]))
            first += len(geometry)


def _require_text(layer: Layer, table: Any) -> None:
    """``ParcelError`` where a text is none: Arrow carries any bytes on, into each kind of result."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            column.validate(full=True)
        except pyarrow.ArrowInvalid as error:
            what = f"column {name!r} of layer {layer.name!r}"
            raise ParcelError(vector_files.not_text(layer.path, what, error)) from None


@contextmanager
def _open(layer: Layer, size: int) -> Iterator[tuple[str, Iterator[Any]]]:
    """Name of the geometry column, and Arrow record batches."""
    if layer.path.suffix.lower() in geoparquet.SUFFIXES:
        yield geoparquet.describe(layer.path).geometry, geoparquet.read(layer.path, size)
        return
    # Times as text that remembers to be a time: Arrow's own would all be in UTC.
    options = {"use_pyarrow": True, "batch_size": size, "datetime_as_string": True}
    # GDAL hands on the bytes of a dBase table that names no encoding. Where it names one GDAL decodes
    # them, and must not be told another.
    info = pyogrio.read_info(layer.path, layer=layer.name)
    if info["driver"] == "ESRI Shapefile" and info["encoding"] != "UTF-8":
        options["encoding"] = info["encoding"]
    with pyogrio.raw.open_arrow(layer.path, layer=layer.name, **options) as (meta, reader):
        yield meta["geometry_name"] or "wkb_geometry", reader


def _polygons(column: Any, layer: Layer, first: int) -> NDArray[np.object_]:
    """Geometries of some rows; a ``ParcelError`` names the first that is a point or a line."""
    binary = column.combine_chunks().to_numpy(zero_copy_only=False)
    shapes = areal_parts(from_wkb(binary, f"{layer.path}: layer {layer.name!r}", ParcelError))
    stray = np.flatnonzero(
        ~is_areal(shapes) & ~shapely.is_missing(shapes) & ~shapely.is_empty(shapes)
    )
    if stray.size:
        row = int(stray[0])
        raise ParcelError(
            f"{layer.path}: row {first + row + 1} of layer {layer.name!r} is a "
            f"{shapes[row].geom_type}, not a polygon; remove points and lines from the layer"
        )
    return shapes


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        what = "the name of a layer or column"
        raise ParcelError(vector_files.not_text(path, what, error)) from None
    except (*FAILURES, pyarrow.ArrowException, OSError) as error:
        raise ParcelError(
            f"{path} cannot be read as a vector file: {error}. Parcels are polygons in any format "
            "GDAL reads; check it with ogrinfo."
        ) from None
