"""Points in a table of text: a CSV with columns of longitude and latitude, as a spreadsheet or a
field app writes it. pandas reads it, so it can lead to no other file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geoseg.errors import LabelError
from geoseg.io.access import confine

_LONGITUDE = ("lon", "long", "lng", "longitude")
_LATITUDE = ("lat", "latitude")
_ENCODING = "utf-8-sig"
"""UTF-8, with the mark that some spreadsheets begin it with or without."""


def read_table(path: Path) -> geopandas.GeoDataFrame | None:
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
