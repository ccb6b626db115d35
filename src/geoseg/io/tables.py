"""The one door to plain tables that GIS programs read: dBase files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.io.files import replacing, write_text


def write_dbf(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write whole numbers and texts, one sequence per column, as dBase in UTF-8 (``.cpg`` says so).

    Raises ``OutputError`` where there is no room.
    """
    from pyogrio import raw  # noqa: PLC0415  (its import is slow, and mapping ends with this)

    fields = list(columns)
    data = [_array(columns[field]) for field in fields]
    with replacing(path) as part:
        try:
            raw.write(
                part,
                geometry=None,
                field_data=data,
                fields=np.array(fields, dtype=object),
                geometry_type=None,
                driver="ESRI Shapefile",
                encoding="UTF-8",
                DBF_DATE_LAST_UPDATE="2000-01-01",
            )
        finally:
            part.with_suffix(".cpg").unlink(missing_ok=True)
    write_text(path.with_suffix(".cpg"), "UTF-8")


def _array(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    whole = all(isinstance(value, int) for value in values)
    return np.array(values, dtype=np.int64 if whole else object)
