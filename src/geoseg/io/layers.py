"""Layers that GDAL writes: one stream of batches into one open file.

GDAL asks for the next batch when it has written the last one, so it runs in a thread of its own and
takes them from a queue of one.
"""

from __future__ import annotations

import queue
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyogrio
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

FAILURES = (DataSourceError, DataLayerError, FeatureError, FieldError, GeometryError)
"""What pyogrio raises where a file cannot be read or written."""

# The date is part of a GeoPackage's bytes; a fixed one lets equal polygons give equal files.
_DATE = "2000-01-01T00:00:00.000Z"

# GeoPackage 1.2 holds all that is needed; readers of some years ago warn of newer ones.
_PLAIN = {"GPKG": {"VERSION": "1.2"}}

# By default GDAL sorts the spatial index in a share of the machine's memory, in an order that follows.
_FIXED = {"OGR_CURRENT_DATE": _DATE, "OGR_GPKG_MAX_RAM_USAGE_RTREE": "50000000"}

_UTC = 100
"""GDAL's number for this time zone."""


class _AbandonedError(Exception):
    """No more batches will come."""


class GdalSink:
    """A layer being written."""

    def __init__(self, path: Path, driver: str, layer: str, crs: str | None, geometry: str) -> None:
        """``geometry`` names the column that holds the WKB."""
        self._path, self._driver, self._layer, self._crs = path, driver, layer, crs
        self._geometry = geometry
        self._batches: queue.Queue[pa.RecordBatch | _AbandonedError | None] = queue.Queue(1)
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    def write(self, batch: pa.RecordBatch, bounds: NDArray[np.float64]) -> None:
        """Add a batch; raises what went wrong with those before."""
        if self._thread is None:
            # Not to outlive a program that is interrupted.
            arguments = (batch.schema,)
            self._thread = threading.Thread(target=self._run, args=arguments, daemon=True)
            self._thread.start()
        self._put(batch)

    def close(self, style: tuple[str, str] | None) -> None:
        """Wait until all is written, then add the style where the format can keep one."""
        self._put(None)
        assert self._thread is not None
        self._thread.join()
        self._thread = None
        if self._failure:
            raise self._failure
        if style and self._driver == "GPKG":
            _write_style(self._path, self._layer, *style)

    def abandon(self) -> None:
        """Let go of a file that will not be finished."""
        if self._thread is not None and self._failure is None:
            self._put(_AbandonedError())
            self._thread.join()

    def _put(self, batch: pa.RecordBatch | _AbandonedError | None) -> None:
        assert self._thread is not None
        while self._thread.is_alive():
            with suppress(queue.Full):
                self._batches.put(batch, timeout=0.2)
                return
        if self._failure and not isinstance(batch, _AbandonedError):
            raise self._failure

    def _run(self, schema: pa.Schema) -> None:
        stream = pa.RecordBatchReader.from_batches(schema, self._arriving())
        try:
            with warnings.catch_warnings():
                # An image without CRS has polygons without CRS.
                warnings.filterwarnings("ignore", "'crs' was not provided")
                pyogrio.raw.write_arrow(
                    stream,
                    self._path,
                    layer=self._layer,
                    driver=self._driver,
                    geometry_name=self._geometry,
                    geometry_type="Polygon",
                    crs=self._crs,
                    dataset_options=_PLAIN.get(self._driver),
                )
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits for this one
            self._failure = error

    def _arriving(self) -> Iterator[pa.RecordBatch]:
        while (batch := self._batches.get()) is not None:
            if isinstance(batch, _AbandonedError):
                raise batch
            yield batch


def _write_style(path: Path, layer: str, name: str, qml: str) -> None:
    text: dict[str, str] = {
        "f_table_catalog": "",
        "f_table_schema": "",
        "f_table_name": layer,
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
        path,
        geometry=None,
        fields=list(columns),
        field_data=list(columns.values()),
        layer="layer_styles",
        driver="GPKG",
        geometry_type=None,
        crs=None,
        append=False,
        dataset_options=_PLAIN["GPKG"],
        layer_options={"FID": "id"},
        gdal_tz_offsets={"update_time": np.array([_UTC], dtype=np.int32)},
    )


@contextmanager
def repeatable() -> Iterator[None]:
    """Let GDAL write the same bytes each time, on any machine."""
    before = {name: pyogrio.get_gdal_config_option(name) for name in _FIXED}
    pyogrio.set_gdal_config_options(_FIXED)
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(before)
