"""What a vector file says of itself: its layers, their columns and a few values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyogrio
import shapely

from geoseg.errors import ConfinedError, LabelError
from geoseg.io.vector import parcel_parquet, vector_files
from geoseg.io.vector.geopackages import FAILURES

SAMPLE = 1000
"""Rows from which values and kinds of geometries are told."""

_VALUES = 4
"""Different values of a column that are told."""

_NAMES = {"object": "text"}
"""Words for types."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a layer."""

    name: str
    kind: str
    """Its type, as GDAL or Arrow calls it."""
    values: tuple[str, ...]
    """The first different ones."""


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """One layer."""

    name: str
    rows: int
    geometry: str
    """Kinds among the first rows; ``none`` for a table."""
    crs: str | None
    columns: tuple[Column, ...]


def layers(path: Path) -> tuple[LayerInfo, ...]:
    """The layers of a vector file; empty where the file is none, or may not be opened as one.

    Raises ``LabelError`` where its text cannot be read.
    """
    try:
        vector_files.require(path)
        if path.suffix.lower() in parcel_parquet.SUFFIXES:
            return (_of_parquet(path),)
        names = [str(name) for name, _ in pyogrio.list_layers(path)]
        return tuple(_of_layer(path, name) for name in names)
    except UnicodeDecodeError as error:
        raise LabelError(vector_files.not_text(path, "its text", error)) from None
    except (*FAILURES, ConfinedError, pyarrow.ArrowException, OSError):
        return ()


def _of_layer(path: Path, name: str) -> LayerInfo:
    info = pyogrio.read_info(path, layer=name, force_feature_count=True)
    options = {"layer": name, "max_features": SAMPLE}
    _, _, binary, fields = pyogrio.raw.read(path, **options)
    columns = zip(info["fields"], info["dtypes"], fields, strict=True)
    return LayerInfo(
        name,
        int(info["features"]),
        _kinds(binary, info["geometry_type"]),
        info["crs"],
        tuple(
            Column(str(n), _NAMES.get(str(kind), str(kind)), _values(v)) for n, kind, v in columns
        ),
    )


def _of_parquet(path: Path) -> LayerInfo:
    found = parcel_parquet.describe(path)
    table = pyarrow.Table.from_batches([next(parcel_parquet.read(path, SAMPLE))])
    binary = table.column(found.geometry).to_numpy()
    columns = ((name, table.column(name)) for name in found.fields)
    return LayerInfo(
        path.stem,
        found.count,
        _kinds(binary, "Unknown"),
        found.crs,
        tuple(Column(n, str(values.type), _values(values.to_pylist())) for n, values in columns),
    )


def _kinds(binary: Any, declared: str | None) -> str:
    if binary is None or declared is None:
        return "none"
    found = shapely.from_wkb(binary, on_invalid="ignore")
    kinds = sorted({shape.geom_type for shape in found if shape is not None})
    return ", ".join(kinds) or str(declared)


def _values(values: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_texts(values)))[:_VALUES]


def _texts(values: Any) -> Iterator[str]:
    for value in values:
        if value is not None and value == value:  # noqa: PLR0124
            yield repr(value) if isinstance(value, str) else f"{value}"
