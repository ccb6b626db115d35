"""What GDAL's vector formats take besides their rows: bytes that repeat, a style that QGIS finds; and
plain tables in dBase."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

from geoseg.errors import OutputError
from geoseg.io.files import replacing, write_text

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


def write_dbf(path: Path, columns: Mapping[str, Sequence[int] | Sequence[str]]) -> None:
    """Write whole numbers and texts as dBase in UTF-8 (the ``.cpg`` beside it says so).

    Names of columns have ten ASCII characters at most; texts are cut at 254 bytes, between characters.
    Equal tables are equal files. Raises ``OutputError`` where there is no room.
    """
    values = [
        np.array(column, dtype=object if isinstance(column[0], str) else np.int64)
        for column in columns.values()
    ]
    options = {"ENCODING": "UTF-8", "DBF_DATE_LAST_UPDATE": _DATE[:10], "RESIZE": "YES"}
    with replacing(path) as part, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*has been truncated")
        try:
            pyogrio.raw.write(
                part,
                geometry=None,
                fields=list(columns),
                field_data=values,
                driver="ESRI Shapefile",
                geometry_type=None,
                crs=None,
                layer_options=options,
            )
            _require_rows(part, len(values[0]))
        except FAILURES as error:
            raise OutputError(f"{path}: cannot be written: {error}. Check free space.") from None
        finally:
            part.with_suffix(".cpg").unlink(missing_ok=True)
    write_text(path.with_suffix(".cpg"), "UTF-8")


def _require_rows(path: Path, rows: int) -> None:
    """GDAL says nothing of a disk that is full: the file must be as long as its header says."""
    head, row = struct.unpack_from("<HH", path.read_bytes().ljust(12, b"\0"), 8)
    if not row or path.stat().st_size < head + rows * row:
        raise DataSourceError("it was cut off")
