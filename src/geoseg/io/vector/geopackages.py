"""What writing GeoPackages takes besides their rows: bytes that repeat, a style that QGIS finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

FAILURES = (DataSourceError, DataLayerError, FeatureError, FieldError, GeometryError)
"""What pyogrio raises where a file cannot be read or written."""

PLAIN = {"VERSION": "1.2"}
"""Holds all that is needed; readers of some years ago warn of newer ones."""

_DATE = "2000-01-01T00:00:00.000Z"

# By default GDAL sorts the spatial index in a share of the machine's memory, in an order that follows.
_FIXED = {"OGR_CURRENT_DATE": _DATE, "OGR_GPKG_MAX_RAM_USAGE_RTREE": "50000000"}

_UTC = 100
"""GDAL's number for this time zone."""


@contextmanager
def repeatable() -> Iterator[None]:
    """Let GDAL write the same bytes each time: one date, one order of the spatial index."""
    before = {name: pyogrio.get_gdal_config_option(name) for name in _FIXED}
    pyogrio.set_gdal_config_options(_FIXED)
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(before)


def keep_style(path: Path, layer: str, geometry: str, qml: str) -> None:
    """Keep a QGIS style in the file, as QGIS itself does; it is applied when the layer loads.

    ``geometry`` is the layer's geometry column: QGIS looks the style up by it.
    """
    text = {
        "f_table_catalog": "",
        "f_table_schema": "",
        "f_table_name": layer,
        "f_geometry_column": geometry,
        "styleName": "geoseg",
        "styleQML": qml,
        "styleSLD": "",
        "description": "",
        "owner": "",
    }
    columns = {key: np.array([value], dtype=object) for key, value in text.items()}
    columns["useAsDefault"] = np.array([True])
    columns["update_time"] = np.array([_DATE[:-1]], dtype="datetime64[ms]")
    pyogrio.raw.write(
        path,
        geometry=None,
        fields=list(columns),
        field_data=list(columns.values()),
        layer="layer_styles",
        driver="GPKG",
        geometry_type=None,
        crs=None,
        append=False,
        dataset_options=PLAIN,
        layer_options={"FID": "id"},
        gdal_tz_offsets={"update_time": np.array([_UTC], dtype=np.int32)},
    )
