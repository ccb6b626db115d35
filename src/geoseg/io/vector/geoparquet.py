"""GeoParquet 1.1: WKB in a column, a box per row (the covering), one row group per batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
from numpy.typing import NDArray

_SIDES = ("xmin", "ymin", "xmax", "ymax")


class ParquetSink:
    """A GeoParquet file being written."""

    def __init__(self, path: Path, crs: str | None, geometry: str) -> None:
        """``geometry`` names the column that holds the WKB."""
        self._path, self._crs, self._geometry = path, crs, geometry
        self._writer: pq.ParquetWriter | None = None
        self._bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])

    def write(self, batch: pa.RecordBatch, bounds: NDArray[np.float64]) -> None:
        """Add a row group; ``bounds`` ``[n, 4]`` are the boxes of its polygons."""
        boxes = pa.StructArray.from_arrays([pa.array(side) for side in bounds.T], list(_SIDES))
        whole = batch.append_column("bbox", boxes)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, whole.schema, compression="zstd")
        if len(bounds):
            self._bounds[:2] = np.minimum(self._bounds[:2], bounds[:, :2].min(axis=0))
            self._bounds[2:] = np.maximum(self._bounds[2:], bounds[:, 2:].max(axis=0))
            self._writer.write_batch(whole)

    def close(self, style: str | None) -> None:
        """Write the footer; a style has no place in the format."""
        assert self._writer is not None
        self._writer.add_key_value_metadata({"geo": json.dumps(self._metadata())})
        self._writer.close()
        self._writer = None

    def abandon(self) -> None:
        """Let go of a file that will not be finished."""
        if self._writer is not None:
            with suppress(OSError, pa.ArrowException):  # it would hide what went wrong before it
                self._writer.close()

    def _metadata(self) -> dict[str, Any]:
        more: dict[str, Any] = {"covering": {"bbox": {side: ["bbox", side] for side in _SIDES}}}
        if np.isfinite(self._bounds).all():
            more["bbox"] = self._bounds.tolist()
        return geo_metadata(self._geometry, "Polygon", self._crs, more)


def geo_metadata(
    column: str, kind: str, crs: str | None, more: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """The ``geo`` entry that makes a Parquet file a GeoParquet one, with a column of WKB.

    Specification 1.1.0, "File metadata": https://geoparquet.org/releases/v1.1.0. ``more`` is said of
    the column besides.
    """
    projjson = pyproj.CRS.from_user_input(crs).to_json_dict() if crs else None
    said = {"encoding": "WKB", "geometry_types": [kind], "crs": projjson, **more}
    return {"version": "1.1.0", "primary_column": column, "columns": {column: said}}
