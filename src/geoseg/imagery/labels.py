"""What is known on the ground, as model indices on the imagery's grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from geoseg.config import LabelsConfig
from geoseg.errors import LabelError
from geoseg.grid import Grid, Window
from geoseg.io import rasters, vectors
from geoseg.legend import UNKNOWN, Legend

_RASTERS = {".tif", ".tiff", ".vrt", ".jp2", ".img"}

_TILE = 256
"""Side of the squares in which polygons are burnt, in pixels."""


class Labels(Protocol):
    """Labels of a grid, read window by window."""

    @property
    def path(self) -> Path:
        """The file they come from."""

    def read(self, window: Window) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
        """Model indices (``UNKNOWN`` where not known) and field ids (0: none), both ``[H, W]``."""


def open_labels(config: LabelsConfig, grid: Grid, legend: Legend) -> Labels:
    """Labels from a raster of codes or from polygons with names.

    Raises ``LabelError`` for a missing file, attribute or name and where no polygon meets the
    grid, ``GridMismatchError`` for a raster on another grid than the imagery.
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
        info = _one_band(config.file, grid, "labels.file")
        if config.fields:
            _one_band(config.fields, grid, "labels.fields")
        for entry in legend:
            if entry.code == info.nodata:
                raise LabelError(
                    f"{config.file}: {entry.code} is its nodata value and the legend's code of "
                    f"{entry.name!r}; take one of them away (gdal_edit.py -unsetnodata)"
                )
        return cls(config.file, config.fields, legend, tuple(_ignored_codes(config, legend)))

    def read(self, window: Window) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
        codes, present = rasters.read(self.path, [1], window)
        unknown = ~present | np.isin(codes[0], self.ignore)
        known = np.where(unknown, self.legend.classes[0].code, codes[0])
        indices = self.legend.to_indices(known, str(self.path), ignore=())
        indices[unknown] = UNKNOWN
        return indices, self._read_fields(window)

    def _read_fields(self, window: Window) -> NDArray[np.int32]:
        if self.fields is None:
            return np.zeros(window.shape, dtype=np.int32)
        values, present = rasters.read(self.fields, [1], window)
        found = np.where(present, values[0], 0)
        ids = found.astype(np.int32)
        if (ids != found).any():
            raise LabelError(
                f"{self.fields}: {found[ids != found][0]} is no field id; ids are whole numbers "
                f"up to {np.iinfo(np.int32).max}, number the fields from 1"
            )
        return ids


def _one_band(path: Path, grid: Grid, key: str) -> rasters.RasterInfo:
    """A raster of one band on the imagery's grid."""
    info = rasters.describe(path)
    grid.require(info.grid, "the imagery", str(path))
    if info.count != 1:
        raise LabelError(f"{path} has {info.count} bands; {key!r} is a raster of one band of codes")
    return info


def _ignored_codes(config: LabelsConfig, legend: Legend) -> Iterator[int]:
    """``labels.ignore`` as codes; a name there must be the legend's, since a raster has none."""
    for value in config.ignore:
        text = str(value)
        if text in legend.names:
            yield legend.classes[legend.names.index(text)].code
        elif text.lstrip("-").isdecimal():
            yield int(text)
        else:
            raise LabelError(
                f"labels.ignore: {config.file} is a raster of codes and the legend has no "
                f"{text!r}; give the code to ignore as a number"
            )


@dataclass(frozen=True)
class _PolygonLabels:
    """Polygons burnt square by square; a pixel belongs to the polygon that holds its centre, the
    later one in the file where two do."""

    path: Path
    grid: Grid
    shapes: NDArray[np.object_]
    """Polygons in the grid's CRS that meet the grid; number i is field i + 1."""
    indices: NDArray[np.int16]
    """Model index of each polygon, and ``UNKNOWN`` behind the last."""
    tree: Any

    @classmethod
    def open(cls, config: LabelsConfig, grid: Grid, legend: Legend) -> _PolygonLabels:
        frame = vectors.read_polygons(config.file, config.layer, [config.attribute])
        if grid.crs is None:
            raise LabelError(
                f"{config.file}: polygons cannot be laid on imagery without a CRS; give the labels "
                "as a raster on the imagery's grid"
            )
        names = frame[config.attribute].map(_text, na_action="ignore")
        frame = frame.assign(name_=names)[names.notna() & ~names.isin([*map(str, config.ignore)])]
        frame = frame.to_crs(grid.crs)
        frame = frame.iloc[np.sort(frame.sindex.query(_box(grid, grid.window)))]
        if frame.empty:
            raise LabelError(
                f"{config.file}: no polygon with a {config.attribute!r} meets the imagery; check "
                "that it is of the same area and says its right CRS"
            )
        shapes = frame.geometry.to_numpy()
        indices = _indices(frame["name_"], legend, str(config.file))
        return cls(config.file, grid, shapes, indices, shapely.STRtree(shapes))

    def read(self, window: Window) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
        fields = np.zeros(window.shape, dtype=np.int32)
        # On fixed squares: where a polygon's edge runs through the centre of a pixel, rounding
        # decides, and it would decide differently for another window.
        for row in range(window.row // _TILE * _TILE, window.row_stop, _TILE):
            for col in range(window.col // _TILE * _TILE, window.col_stop, _TILE):
                square = Window(row, col, _TILE, _TILE)
                part = square.clip(window)
                fields[part.within(window)] = self._burn(square)[part.within(square)]
        return self.indices[fields - 1], fields

    def _burn(self, square: Window) -> NDArray[np.int32]:
        """Field ids in one square."""
        fields = np.zeros(square.shape, dtype=np.int32)
        near = np.sort(self.tree.query(_box(self.grid, square)))
        if len(near):
            moved = self.grid.transform @ type(self.grid.transform).translation(
                square.col, square.row
            )
            shapes = zip(self.shapes[near], near + 1, strict=True)
            rasterize(shapes, out=fields, transform=moved)
        return fields


def _box(grid: Grid, window: Window) -> Any:
    """The bounds of a window in map coordinates; the grid may be rotated."""
    corners = [
        grid.transform @ (col, row)
        for col in (window.col, window.col_stop)
        for row in (window.row, window.row_stop)
    ]
    (left, right), (bottom, top) = (
        (min(values), max(values)) for values in zip(*corners, strict=True)
    )
    return shapely.box(left, bottom, right, top)


def _text(value: object) -> str:
    """A name as it is, a code without the decimals that a column with gaps gives it."""
    return str(value).removesuffix(".0")


def _indices(names: Any, legend: Legend, where: str) -> NDArray[np.int16]:
    """Model index of each polygon's class name or raster code, and ``UNKNOWN`` behind the last."""
    known = {str(entry.code): index for index, entry in enumerate(legend)}
    known.update({name: index for index, name in enumerate(legend.names)})
    strange = sorted(set(names) - set(known))
    if strange:
        more = f" and {len(strange) - 10} more" if len(strange) > 10 else ""
        raise LabelError(
            f"{where}: not in the legend: {', '.join(strange[:10])}{more} (it has "
            f"{', '.join(legend.names)}). Add them to 'legend' (a model bundle brings its own), or "
            "list them under 'labels.ignore' if those pixels are to stay unknown."
        )
    return np.array([*(known[name] for name in names), UNKNOWN], dtype=np.int16)
