"""The one door to vector files: reading polygons, and writing them batch by batch.

GDAL through pyogrio. What cannot be read becomes a ``LabelError`` (polygons come in as labels), what
cannot be written an ``OutputError``; both name the file.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

from geoseg.errors import LabelError, OutputError
from geoseg.io.files import replacing

_FAILURES = (DataSourceError, DataLayerError, FeatureError, FieldError, GeometryError)

# The date is part of a GeoPackage's bytes; a fixed one lets equal polygons give equal files.
_DATE = "2000-01-01T00:00:00.000Z"

# GeoPackage 1.2 holds all that is needed; readers of some years ago warn of newer ones.
_PLAIN = {"VERSION": "1.2"}

_UTC = 100
"""GDAL's number for this time zone."""


def read_polygons(path: Path, layer: str | None, columns: Sequence[str]) -> geopandas.GeoDataFrame:
    """Polygons of one layer with the named columns, in the file's own CRS.

    ``layer`` may be None where the file has one layer with geometry. Rows without geometry and
    points or lines are left out. Raises ``LabelError`` where the file is missing or no vector file,
    a layer or column is not there, or there is no polygon or no CRS.
    """
    if not path.exists():
        raise LabelError(f"{path}: no such file; name the file of label polygons in 'labels.file'")
    try:
        chosen = _layer(path, layer)
        _check(path, chosen, columns)
        table = pyogrio.read_dataframe(path, layer=chosen, columns=list(columns))
    except _FAILURES as error:
        raise LabelError(
            f"{path} cannot be read as a vector file: {error}. Labels are a raster, or polygons in "
            "a GeoPackage, Shapefile or GeoJSON; check it with ogrinfo."
        ) from None
    areal = table.geometry.geom_type.isin(["Polygon", "MultiPolygon"]) & ~table.geometry.is_empty
    if not areal.any():
        raise LabelError(f"{path}: layer {chosen!r} has no polygon; labels are areas, not points")
    return table[areal].reset_index(drop=True)


def attributes_at(path: Path, layer: str, x: float, y: float) -> list[dict[str, Any]]:
    """Attributes of the polygons of a layer that hold a point, given in the layer's coordinates.

    The spatial index is asked, so that a layer of any size is answered at once; null is None.
    Raises ``OutputError`` where the file cannot be read: it is one that geoseg wrote.
    """
    try:
        table = pyogrio.read_dataframe(path, layer=layer, bbox=(x, y, x, y))
    except _FAILURES as error:
        raise OutputError(
            f"{path} cannot be read as polygons: {error}. Write it again with 'geoseg vectorize'."
        ) from None
    # A GDAL without GEOS gives all whose bounding boxes hold the point.
    rows = table[table.geometry.covers(shapely.Point(x, y))].drop(columns="geometry")
    return [
        {str(name): None if value != value else value for name, value in row.items()}  # noqa: PLR0124
        for row in rows.to_dict("records")
    ]


def _layer(path: Path, layer: str | None) -> str:
    """The layer to read: the named one, or the only one that has geometry."""
    found = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    listed = ", ".join(found) or "none"
    if layer is not None and layer not in found:
        raise LabelError(
            f"{path}: no layer {layer!r} with geometry; 'labels.layer' may be: {listed}"
        )
    if layer is None and len(found) != 1:
        raise LabelError(
            f"{path} has {len(found)} layers with geometry ({listed}), not one"
            + ("; name one in 'labels.layer'" if found else "; labels are polygons")
        )
    return found[0] if layer is None else layer


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


class PolygonWriter:
    """An open polygon layer; ``append`` adds a batch. Made by ``create_polygons``."""

    def __init__(self, path: Path, layer: str, crs: str | None) -> None:
        self._path, self._layer, self._crs = path, layer, crs
        self._kinds: dict[str, str] = {}

    def append(self, geometries: NDArray[np.object_], columns: Mapping[str, NDArray[Any]]) -> None:
        """Add polygons (an array of shapely ``Polygon``) and one array per column, equally long.

        The first batch, which may be empty, fixes the columns and their types; NaN is written as
        null. Opening the file costs some milliseconds, so batches of thousands are best.
        """
        kinds = {name: str(values.dtype.kind) for name, values in columns.items()}
        if kinds != (self._kinds or kinds):
            # GDAL would convert the values to the first batch's type, or drop them.
            raise TypeError(f"columns {kinds} of this batch are not {self._kinds} of the first")
        self._kinds = kinds
        with warnings.catch_warnings():
            # An image without CRS has polygons without CRS.
            warnings.filterwarnings("ignore", "'crs' was not provided")
            pyogrio.raw.write(
                self._path,
                geometry=shapely.to_wkb(geometries),
                fields=list(columns),
                field_data=list(columns.values()),
                layer=self._layer,
                driver="GPKG",
                geometry_type="Polygon",
                crs=self._crs,
                append=self._path.exists(),
                dataset_options=_PLAIN,
            )

    def set_style(self, name: str, qml: str) -> None:
        """Keep a QGIS style in the file, as QGIS itself does; it is applied when the layer loads."""
        text: dict[str, str] = {
            "f_table_catalog": "",
            "f_table_schema": "",
            "f_table_name": self._layer,
            "f_geometry_column": "geom",
            "styleName": name,
            "styleQML": qml,
            "styleSLD": "",
            "description": "",
            "owner": "",
        }
        columns = {key: np.array([value], dtype=object) for key, value in text.items()}
        columns["useAsDefault"] = np.array([True])
        columns["update_time"] = np.array([_DATE[:-1]], dtype="datetime64[ms]")
        pyogrio.raw.write(
            self._path,
            geometry=None,
            fields=list(columns),
            field_data=list(columns.values()),
            layer="layer_styles",
            driver="GPKG",
            geometry_type=None,
            crs=None,
            append=False,
            dataset_options=_PLAIN,
            layer_options={"FID": "id"},
            gdal_tz_offsets={"update_time": np.array([_UTC], dtype=np.int32)},
        )


@contextmanager
def create_polygons(path: Path, layer: str, crs: str | None) -> Iterator[PolygonWriter]:
    """Write a GeoPackage of polygons that appears at ``path`` only when it is whole.

    ``crs`` is WKT or any name pyogrio knows, None for none. The layer has a spatial index, and the
    same batches give the same bytes. Raises ``OutputError`` where the place cannot be written.
    """
    with replacing(path) as part, _fixed_date():
        writer = PolygonWriter(part, layer, crs)
        try:
            yield writer
            if not part.exists():
                writer.append(np.array([], dtype=object), {})
        except _FAILURES as error:
            raise OutputError(
                f"{path}: cannot be written: {error}. Check free space and permissions, then run "
                "the same command again."
            ) from None


@contextmanager
def _fixed_date() -> Iterator[None]:
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _DATE})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})
