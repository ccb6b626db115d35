"""What is known on the ground, as model indices on the imagery's grid."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from geoseg.config import LabelsConfig
from geoseg.errors import LabelError
from geoseg.grid import Grid, Window
from geoseg.io.raster import rasters
from geoseg.io.vector import label_polygons
from geoseg.io.vector.geometries import (
    Reprojector,
    are_collections,
    areal_parts,
    invalid,
    is_areal,
    mend,
    without_empty,
)
from geoseg.legend import UNKNOWN, Legend, show, spell

_RASTERS = {".tif", ".tiff", ".vrt", ".jp2", ".img"}

_TILE = 256
"""Side of the squares in which polygons are burnt, in pixels."""


class Labels(Protocol):
    """Labels of a grid, read window by window."""

    @property
    def path(self) -> Path:
        """The file they come from."""

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What of the file is no label, or not as it is there, by reason."""

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
    left_out: tuple[LeftOut, ...] = ()
    """Of codes, nothing but what the config names."""

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
        text = spell(value)
        index = legend.place(text)
        if index != UNKNOWN:
            yield legend.classes[index].code
        elif text.lstrip("-").isdecimal():
            yield int(text)
        else:
            raise LabelError(
                f"labels.ignore: {config.file} is a raster of codes and the legend has no "
                f"{show(text, legend.names)}; give the code to ignore as a number"
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
    sieve: Sieve
    """The rows of the file that the polygons come from."""

    @classmethod
    def open(cls, config: LabelsConfig, grid: Grid, legend: Legend) -> _PolygonLabels:
        rows = label_polygons.read_polygons(config.file, config.layer, [config.attribute])
        if grid.crs is None:
            raise LabelError(
                f"{config.file}: polygons cannot be laid on imagery without a CRS; give the labels "
                "as a raster on the imagery's grid"
            )
        values = rows.columns[config.attribute]
        names = np.array([spell(value) for value in values], dtype=object)
        sieve = Sieve(names)
        named = _named(rows.geometry, names, _ignored(config, legend), sieve)
        reprojector = Reprojector(rows.crs, grid, str(config.file), "the imagery's", LabelError)
        shapes = _on_grid(named, reprojector, grid, sieve)
        sieve.note(are_collections(rows.geometry), "a collection, of which polygons alone count")
        if not len(shapes):
            raise LabelError(
                f"{config.file}: no polygon with a {config.attribute!r} meets the imagery; check "
                "that it is of the same area and says its right CRS"
                + "".join(f"; {line}" for line in left_out_lines(config.file, sieve.found))
            )
        indices = _indices(names[sieve.kept], legend, str(config.file))
        return cls(config.file, grid, shapes, indices, shapely.STRtree(shapes), sieve)

    @cached_property
    def left_out(self) -> tuple[LeftOut, ...]:
        """See ``Labels.left_out``. Burns the whole grid."""
        sieve = copy.deepcopy(self.sieve)
        burnt, lost = np.zeros((2, len(sieve.kept)), dtype=bool)
        burnt[sieve.kept], lost[sieve.kept] = self._burn_all()
        sieve.note(burnt & lost, "overlapped by a later polygon, which counts where both are")
        sieve.note(~burnt & lost, "covered by later polygons, which count", used=False)
        sieve.note(~burnt & ~lost, "no centre of a pixel in it: too small or narrow", used=False)
        return tuple(sieve.found)

    def _burn_all(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which polygons have a pixel, and which lost one to a later polygon."""
        burnt, lost = np.zeros((2, len(self.shapes) + 1), dtype=bool)
        for square in self.grid.windows(_TILE, _TILE):
            last = self._burn(square)
            burnt[last] = True
            lost[list(self._hidden(square, last))] = True
        return burnt[1:], lost[1:]

    def _hidden(self, square: Window, last: NDArray[np.int32]) -> set[int]:
        """Field ids of polygons that lie under a later one, which ``last`` holds, somewhere.

        The lowest are found by burning in the reverse order; then those that lie on them alone.
        """
        found: set[int] = set()
        while True:
            lowest = self._burn(square, found, reverse=True)
            beneath = set(np.unique(lowest[(lowest != last) & (lowest > 0)]).tolist())
            if not beneath:
                return found
            found |= beneath

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

    def _burn(
        self, square: Window, without: Collection[int] = (), reverse: bool = False
    ) -> NDArray[np.int32]:
        """Field ids in one square; in reverse the earlier polygon counts where two are."""
        fields = np.zeros(square.shape, dtype=np.int32)
        near = np.sort(self.tree.query(_box(self.grid, square)))
        near = near[~np.isin(near + 1, list(without))][:: -1 if reverse else 1]
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


def _ignored(config: LabelsConfig, legend: Legend) -> Callable[[str], bool]:
    """Whether a name or code, spelled, is one of ``labels.ignore``."""
    texts = {spell(value) for value in config.ignore}
    places = {legend.place(text) for text in texts} - {UNKNOWN}
    return lambda text: text in texts or legend.place(text) in places


def _named(
    geometry: NDArray[np.object_],
    names: NDArray[np.object_],
    ignored: Callable[[str], bool],
    sieve: Sieve,
) -> NDArray[np.object_]:
    """The polygons whose name counts; None in place of the others."""
    shapes = areal_parts(geometry)
    nothing = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    sieve.drop(nothing, "no geometry, an empty one, or one that cannot be read")
    sieve.drop(~is_areal(shapes), "no polygon: points or lines")
    sieve.drop(names == "", "no name")
    sieve.drop(np.array([ignored(name) for name in names], dtype=bool), "named in labels.ignore")
    shapes[~sieve.kept] = None
    return shapes


def _on_grid(
    shapes: NDArray[np.object_], reprojector: Reprojector, grid: Grid, sieve: Sieve
) -> NDArray[np.object_]:
    """Those that meet the grid, valid and in its CRS."""
    wrong = invalid(shapes)
    whole = without_empty(mend(shapes, wrong))
    sieve.drop(shapely.is_missing(whole), "a polygon without area")
    reprojected = reprojector.reproject(whole)
    sieve.drop(reprojected.lost, "beyond what the imagery's CRS has a place for")
    meets = np.zeros(len(shapes), dtype=bool)
    meets[shapely.STRtree(reprojected.shapes).query(_box(grid, grid.window), "intersects")] = True
    sieve.drop(~meets, "outside the imagery")
    sieve.note(wrong, "an invalid geometry, mended")
    sieve.note(reprojected.cut, "reaching far beyond the imagery, and cut there to be carried over")
    return reprojected.shapes[sieve.kept]


def _indices(names: Any, legend: Legend, where: str) -> NDArray[np.int16]:
    """Model index of each polygon's class name or raster code, and ``UNKNOWN`` behind the last."""
    places = {name: legend.place(name) for name in set(names)}
    strange = sorted(name for name, index in places.items() if index == UNKNOWN)
    if strange:
        shown = ", ".join(show(name, legend.names, quote=False) for name in strange[:10])
        more = f" and {len(strange) - 10} more" if len(strange) > 10 else ""
        raise LabelError(
            f"{where}: not in the legend: {shown}{more} (it has "
            f"{', '.join(legend.names)}). Add them to 'legend' (a model bundle brings its own), or "
            "list them under 'labels.ignore' if those pixels are to stay unknown."
        )
    return np.array([*(places[name] for name in names), UNKNOWN], dtype=np.int16)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows of a file that have one thing in common."""

    reason: str
    rows: int
    row: int
    """The first of them, counted from 1 in the file's order."""
    name: str
    """Its class name; may be empty."""
    used: bool
    """Whether they are labels all the same, only changed."""


class Sieve:
    """The rows of a file, of which fewer and fewer are kept."""

    def __init__(self, names: NDArray[np.object_]) -> None:
        self._names = names
        self.kept = np.ones(len(names), dtype=bool)
        self.found: list[LeftOut] = []

    def drop(self, wrong: NDArray[np.bool_], reason: str) -> None:
        """Keep those rows no longer; ``bool[n]``, and those that went before do not matter."""
        self.note(wrong, reason, used=False)
        self.kept &= ~wrong

    def note(self, which: NDArray[np.bool_], reason: str, used: bool = True) -> None:
        """Count those of the rows that are kept."""
        rows = np.flatnonzero(which & self.kept)
        if rows.size:
            name = str(self._names[rows[0]])
            self.found.append(LeftOut(reason, len(rows), int(rows[0]) + 1, name, used))


def left_out_lines(path: Path, found: Sequence[LeftOut]) -> Iterator[str]:
    """Each reason in a line."""
    for each in found:
        rows = f"{each.rows} row{'s' if each.rows > 1 else ''}"
        what = "changed" if each.used else "left out"
        first = f"row {each.row}" + (f", {each.name!r}" if each.name else "")
        yield f"{path.name}: {rows} {what}: {each.reason} ({'first ' if each.rows > 1 else ''}{first})"
