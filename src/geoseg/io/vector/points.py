"""Reading points whose class is known: control of a finished map.

GDAL through pyogrio: any vector format, any CRS; a CSV with longitude and latitude through
``io.vector.point_tables``. What cannot be used becomes a ``LabelError`` that names the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pyproj
from numpy.typing import NDArray
from pyproj.exceptions import CRSError
from shapely.errors import ShapelyError

from geoseg.errors import LabelError
from geoseg.io.access import confine
from geoseg.io.vector import vector_files
from geoseg.io.vector.geopackages import FAILURES
from geoseg.io.vector.point_tables import read_table
from geoseg.io.vector.reprojection import between
from geoseg.io.vector.vectors import choose_layer

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
    table = read_table(path) if path.suffix.lower() == ".csv" else None
    if table is None:
        table = _read_layer(path, layer, attribute)
    else:
        _require_column(path, path.stem, attribute, [str(name) for name in table.columns[:-1]])
    way = between(table.crs.to_wkt(), crs, str(path), "the map's", LabelError)
    return _points(path, table, attribute, way)


def _read_layer(path: Path, layer: str | None, attribute: str) -> geopandas.GeoDataFrame:
    vector_files.require(path)
    try:
        chosen = choose_layer(path, layer, "gates.control.layer", "points")
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
