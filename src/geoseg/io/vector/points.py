"""Reading points whose class is known: control of a finished map.

Any vector format, any CRS, by GDAL through pyogrio; a CSV with columns of longitude and latitude, as a
spreadsheet or a field app writes it, by pandas, so that it can lead to no other file. What cannot be
used becomes a ``LabelError`` that names the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pyproj
from numpy.typing import NDArray
from pyproj.exceptions import CRSError
from shapely.errors import ShapelyError

from geoseg.errors import LabelError
from geoseg.io.access import confine
from geoseg.io.vector import vector_files
from geoseg.io.vector.geometries import between
from geoseg.io.vector.ogr import FAILURES
from geoseg.io.vector.vector_files import choose_layer

_KEY = "'gates.control"


@dataclass(frozen=True)
class Points:
    """Places with what the file says of each."""

    x: NDArray[np.float64]
    """In the CRS that was asked for."""
    y: NDArray[np.float64]
    values: tuple[Any, ...]
    """Of the named column; None where it is empty."""


def read_points(path: Path, layer: str | None, attribute: str, crs: str) -> Points:
    """The points of a layer, in the CRS ``crs``; a multipoint counts as its points.

    ``layer`` may be None where the file has one layer with geometry. Raises ``LabelError`` where the
    file is missing or no vector file, a layer or column is not there, or it holds no point or other
    geometries, or does not say its CRS; ``ConfinedError``.
    """
    confine.local(path)
    if not path.exists():
        raise LabelError(f"{path}: no such file; name the control points in {_KEY}.file'")
    table = _read_table(path) if path.suffix.lower() == ".csv" else None
    if table is None:
        table = _read_layer(path, layer, attribute)
    else:
        _require_column(path, path.stem, attribute, [str(name) for name in table.columns[:-1]])
    way = between(table.crs.to_wkt(), crs, str(path), "the map's", LabelError)
    return _points(path, table, attribute, way)


def _read_layer(path: Path, layer: str | None, attribute: str) -> geopandas.GeoDataFrame:
    vector_files.require(path)
    try:
        chosen = choose_layer(path, layer, "gates.control.layer", "points", LabelError)
        _check(path, chosen, attribute)
        return pyogrio.read_dataframe(path, layer=chosen, columns=[attribute])
    except UnicodeDecodeError as error:
        what = "a text, or the name of a column,"
        raise LabelError(vector_files.not_text(path, what, error)) from None
    except (*FAILURES, ShapelyError, CRSError) as error:
        raise LabelError(
            f"{path} cannot be read as a vector file: {error}. Control points may be in any format "
            "GDAL reads, or in a CSV with columns lon and lat; check it with ogrinfo."
        ) from None


def _points(
    path: Path, table: geopandas.GeoDataFrame, attribute: str, way: pyproj.Transformer | None
) -> Points:
    table = table[~(table.geometry.isna() | table.geometry.is_empty)]
    kinds = sorted(set(table.geometry.geom_type) - {"Point", "MultiPoint"})
    if kinds or table.empty:
        raise LabelError(
            f"{path} holds {f'a {kinds[0]}' if kinds else 'no point'}; control is points, of places "
            "whose crop somebody saw. Of polygons take points inside: ST_PointOnSurface."
        )
    table = table.explode(index_parts=False)
    values = [None if value != value else value for value in table[attribute]]  # noqa: PLR0124
    x, y = table.geometry.x.to_numpy(), table.geometry.y.to_numpy()
    return Points(*(way.transform(x, y) if way else (x, y)), tuple(values))


def _check(path: Path, layer: str, attribute: str) -> None:
    """Column and CRS are there; ``LabelError`` otherwise."""
    info = pyogrio.read_info(path, layer=layer)
    _require_column(path, layer, attribute, [str(name) for name in info["fields"]])
    if info["crs"] is None:
        raise LabelError(
            f"{path}: layer {layer!r} says no coordinate reference system, so its points cannot be "
            "laid on the map. Give it the right one, for example with ogr2ogr -a_srs EPSG:32632."
        )


def _require_column(path: Path, layer: str, attribute: str, columns: Sequence[str]) -> None:
    if attribute not in columns:
        raise LabelError(
            f"{path}: layer {layer!r} has no column {attribute!r}; it has: "
            f"{', '.join(columns) or 'none'}. Name the one with the class in {_KEY}.attribute'."
        )


_LONGITUDE = ("lon", "long", "lng", "longitude")
_LATITUDE = ("lat", "latitude")
_ENCODING = "utf-8-sig"
"""UTF-8, with the mark that some spreadsheets begin it with or without."""


def _read_table(path: Path) -> geopandas.GeoDataFrame | None:
    """The rows as points in WGS 84 (EPSG:4326), with all columns as text; an empty cell is NaN.

    Separators are comma, semicolon or tab, decimals have a point or a comma; the names of the columns
    of degrees may have any case. None where the file has no such columns: GDAL may know it otherwise.
    Raises ``LabelError`` for a place that is none and for what is no table, ``ConfinedError``.
    """
    confine.local(path)
    try:
        with path.open(encoding=_ENCODING) as handle:
            separator = max(",;\t", key=handle.readline().count)
        table = pd.read_csv(path, sep=separator, dtype=str, encoding=_ENCODING)
    except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
        reason = " ".join(str(error).split())
        raise LabelError(
            f"{path} cannot be read as a table: {reason}; save it as CSV in UTF-8"
        ) from None
    x, y = _column(table, _LONGITUDE), _column(table, _LATITUDE)
    if x is None or y is None:
        return None
    places = geopandas.points_from_xy(
        _degrees(path, table, x, 180), _degrees(path, table, y, 90), crs="EPSG:4326"
    )
    return geopandas.GeoDataFrame(table, geometry=places)


def _column(table: pd.DataFrame, names: Sequence[str]) -> str | None:
    return next((str(c) for c in table.columns if str(c).strip().lower() in names), None)


def _degrees(path: Path, table: pd.DataFrame, column: str, limit: int) -> NDArray[np.float64]:
    text = table[column].str.strip().str.replace(",", ".", regex=False)
    degrees = pd.to_numeric(text, errors="coerce").to_numpy(np.float64)
    wrong = ~(np.abs(degrees) <= limit)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise LabelError(
            f"{path}, row {row + 2}: {table[column].iloc[row]!r} in column {column!r} is no angle of "
            f"-{limit} to {limit} degrees; give decimal degrees (WGS 84), or leave the row out"
        )
    return degrees
