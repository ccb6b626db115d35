"""What is known on the ground, as model indices on the imagery's grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize

from geoseg.config import LabelsConfig
from geoseg.errors import LabelError
from geoseg.grid import Grid, Window
from geoseg.io import rasters, vectors
from geoseg.legend import UNKNOWN, Legend

_RASTERS = {".tif", ".tiff", ".vrt", ".jp2", ".img"}


class Labels(Protocol):
    """Labels of a grid, read window by window."""

    @property
    def path(self) -> Path:
        """The file they come from."""

    def read(self, window: Window) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
        """Model indices (``UNKNOWN`` where not known) and field ids (0: none), both ``[H, W]``."""


def open_labels(config: LabelsConfig, grid: Grid, legend: Legend) -> Labels:
    """Labels from a raster of codes or from polygons with names.

    Raises ``LabelError`` for a missing file, attribute or name, ``GridMismatchError`` for a raster
    on another grid than the imagery.
    """
    if not config.file.exists():
        raise LabelError(f"{config.file}: no such file; check 'labels.file'")
    if config.file.suffix.lower() in _RASTERS:
        return _RasterLabels.open(config, grid, legend)
    return _PolygonLabels.open(config, grid, legend)


@dataclass(frozen=True)
class _RasterLabels:
    path: Path
    fields: Path | None
    legend: Legend
    ignore: tuple[int, ...]

    @classmethod
    def open(cls, config: LabelsConfig, grid: Grid, legend: Legend) -> _RasterLabels:
        info = rasters.describe(config.file)
        grid.require(info.grid, "the imagery", str(config.file))
        if config.fields:
            found = rasters.describe(config.fields).grid
            grid.require(found, "the imagery", str(config.fields))
        nodata = [] if info.nodata is None else [int(info.nodata)]
        ignore = [int(code) for code in config.ignore]
        return cls(config.file, config.fields, legend, tuple(nodata + ignore))

    def read(self, window: Window) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
        codes, _ = rasters.read(self.path, [1], window)
        indices = self.legend.to_indices(codes[0], str(self.path), self.ignore)
        if self.fields is None:
            return indices, np.zeros(window.shape, dtype=np.int32)
        ids, present = rasters.read(self.fields, [1], window)
        return indices, np.where(present, ids[0], 0).astype(np.int32)


@dataclass(frozen=True)
class _PolygonLabels:
    """Polygons burnt window by window; a pixel belongs to the polygon that holds its centre."""

    path: Path
    grid: Grid
    frame: Any
    """GeoDataFrame in the grid's CRS with the columns geometry and index; row i is field i + 1."""

    @classmethod
    def open(cls, config: LabelsConfig, grid: Grid, legend: Legend) -> _PolygonLabels:
        frame = vectors.read_polygons(config.file, config.layer, [config.attribute])
        if grid.crs is None:
            raise LabelError(
                f"{config.file}: polygons cannot be laid on imagery without a CRS; give the labels "
                "as a raster on the imagery's grid"
            )
        names = frame[config.attribute]
        frame = frame[~names.isin([*config.ignore, *map(str, config.ignore)]) & names.notna()]
        frame = frame.to_crs(grid.crs)
        values = frame[config.attribute]
        indices = [_index(value, legend, str(config.file)) for value in values]
        frame = frame.assign(index_=np.array(indices, dtype=np.int16))
        return cls(config.file, grid, frame[["index_", "geometry"]].reset_index(drop=True))

    def read(self, window: Window) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
        fields = np.zeros(window.shape, dtype=np.int32)
        transform = self.grid.transform
        corners = [
            transform @ (col, row)
            for col in (window.col, window.col_stop)
            for row in (window.row, window.row_stop)
        ]
        (left, right), (bottom, top) = (
            (min(values), max(values)) for values in zip(*corners, strict=True)
        )
        near = self.frame.cx[left:right, bottom:top]
        if len(near):
            shapes = zip(near.geometry, near.index + 1, strict=True)
            moved = transform @ type(transform).translation(window.col, window.row)
            rasterize(shapes, out=fields, transform=moved)
        lookup = np.append(np.int16(UNKNOWN), self.frame["index_"].to_numpy())
        return lookup[fields], fields


def _index(value: object, legend: Legend, where: str) -> int:
    """Model index of a polygon's attribute: a class name, or a raster code."""
    if isinstance(value, str):
        return legend.index_of_name(value, where)
    code = int(value)  # type: ignore[call-overload]
    indices: NDArray[np.int16] = legend.to_indices(np.array([code]), where, ignore=())
    return int(indices[0])
