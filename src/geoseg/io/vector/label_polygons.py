"""Reading polygons: labels that come in, and what is where in a file that geoseg wrote.

GDAL through pyogrio. What cannot be read becomes a ``LabelError`` (polygons come in as labels) that
names the file. Writing is ``io.vector.polygons``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

from geoseg.errors import LabelError, OutputError
from geoseg.io.vector import vector_files
from geoseg.io.vector.geometries import areal_parts, from_wkb, is_areal
from geoseg.io.vector.ogr import FAILURES
from geoseg.io.vector.vector_files import choose_layer


@dataclass(frozen=True)
class Rows:
    """All rows of a layer, with some of its columns."""

    crs: str
    """As GDAL gives it: an authority's code or WKT."""
    geometry: NDArray[np.object_]
    """Of any kind, without heights; None where there is none."""
    columns: Mapping[str, NDArray[Any]]
    """Values as GDAL gives them; None or NaN where there is none."""

    def __len__(self) -> int:
        return len(self.geometry)


def read_polygons(path: Path, layer: str | None, columns: Sequence[str]) -> Rows:
    """The rows of one layer, in their order: polygons, and what else is there.

    ``layer`` may be None where the file has one layer with geometry. Raises ``LabelError`` where the
    file is missing or no vector file, a layer or column is not there, or there is no polygon or no
    CRS; ``ConfinedError``.
    """
    vector_files.require(path)
    if not path.exists():
        raise LabelError(f"{path}: no such file; name the file of label polygons in 'labels.file'")
    try:
        chosen = choose_layer(path, layer, "labels.layer", "polygons", LabelError)
        _check(path, chosen, columns)
        meta, _, binary, fields = pyogrio.raw.read(path, layer=chosen, columns=list(columns))
    except UnicodeDecodeError as error:
        what = "a text, or the name of a column,"
        raise LabelError(vector_files.not_text(path, what, error)) from None
    except FAILURES as error:
        raise LabelError(
            f"{path} cannot be read as a vector file: {error}. Labels are a raster, or polygons in "
            "a GeoPackage, Shapefile or GeoJSON; check it with ogrinfo."
        ) from None
    geometry = from_wkb(binary, f"{path}: layer {chosen!r}", LabelError)
    if not is_areal(areal_parts(geometry)).any():
        raise LabelError(f"{path}: layer {chosen!r} has no polygon; labels are areas, not points")
    return Rows(str(meta["crs"]), geometry, dict(zip(columns, fields, strict=True)))


def attributes_at(path: Path, layer: str, x: float, y: float) -> list[dict[str, Any]]:
    """Attributes of the polygons of a layer that hold a point, given in the layer's coordinates.

    The spatial index is asked, so that a layer of any size is answered at once; null is None.
    Raises ``OutputError`` where the file cannot be read: it is one that geoseg wrote.
    """
    vector_files.require(path)
    try:
        table = pyogrio.read_dataframe(path, layer=layer, bbox=(x, y, x, y))
    except FAILURES as error:
        raise OutputError(
            f"{path} cannot be read as polygons: {error}. Write it again with 'geoseg vectorize'."
        ) from None
    # A GDAL without GEOS gives all whose bounding boxes hold the point.
    rows = table[table.geometry.covers(shapely.Point(x, y))].drop(columns="geometry")
    return [
        {str(name): None if value != value else value for name, value in row.items()}  # noqa: PLR0124
        for row in rows.to_dict("records")
    ]


def _check(path: Path, layer: str, columns: Sequence[str]) -> None:
    """Columns and CRS are there; ``LabelError`` otherwise."""
    info = pyogrio.read_info(path, layer=layer)
    fields = [str(name) for name in info["fields"]]
    absent = [name for name in columns if name not in fields]
    if absent:
        raise LabelError(
            f"{path}: layer {layer!r} has no column {absent[0]!r}; it has: "
            f"{', '.join(fields) or 'none'}. Name the one with the classes in 'labels.attribute'."
        )
    if info["crs"] is None:
        raise LabelError(
            f"{path}: layer {layer!r} says no coordinate reference system, so it cannot be laid on "
            "the imagery. Give it the right one, for example with ogr2ogr -a_srs EPSG:32632."
        )
