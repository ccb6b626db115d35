"""Geometries of other people's files: from WKB to valid polygons, reprojected into the CRS of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import CRSError, ProjError

from geoseg.errors import GeosegError
from geoseg.grid import Grid, same_crs

_COLLECTION = shapely.GeometryType.GEOMETRYCOLLECTION


def from_wkb(binary: Any, where: str, error: type[GeosegError]) -> NDArray[np.object_]:
    """Geometries without heights; None where there is none, or none at all (a ring of two points).

    Raises ``error`` for curves.
    """
    try:
        shapes = shapely.force_2d(shapely.from_wkb(binary, on_invalid="ignore"))
    except NotImplementedError:  # arcs
        raise error(
            f"{where} holds curves. Turn them into straight lines first: ogr2ogr -nlt "
            "CONVERT_TO_LINEAR new.gpkg old"
        ) from None
    return np.asarray(shapes, dtype=object)


def is_areal(shapes: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which are polygons or multipolygons."""
    kinds = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
    return np.isin(shapely.get_type_id(shapes), kinds)


def are_collections(shapes: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which are collections of geometries of several kinds."""
    return np.asarray(shapely.get_type_id(shapes) == _COLLECTION)


def areal_parts(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """The polygons of each collection as one; the collection itself where it has none."""
    areas = shapes.copy()
    for mixed in np.flatnonzero(are_collections(shapes)):
        parts = np.atleast_1d(shapes[mixed])
        while not _single(parts):
            parts = shapely.get_parts(parts)
        areal = parts[is_areal(parts)]
        if areal.size:
            areas[mixed] = shapely.multipolygons(areal)
    return areas


def _single(parts: NDArray[np.object_]) -> bool:
    """Whether none has parts."""
    return bool((shapely.get_type_id(parts) <= shapely.GeometryType.POLYGON).all())


_STEP_PIXELS, _STEP_METRES = 50, 1000.0
"""Straight lines of one CRS are curves in another: corners are put in at least this densely. The
error of a chord of length s on a sphere of radius R at latitude p is about s² tan(p) / 8R: 6 mm for
50 pixels of 10 m at 50 degrees."""

_AROUND = (10.0, 0.1, 0.0)
"""Widths and heights of the grid, on each side of it, beyond which nothing is looked at; the next one
where what the one before leaves cannot be reprojected."""

_POINTS = 21
"""Points of a row and of a column that stand for a grid."""

_MOST = 20_000
"""Corners put into one polygon at most."""

Shapes = NDArray[np.object_]


def mend(shapes: Shapes, wrong: NDArray[np.bool_]) -> Shapes:
    """Valid polygons in place of the ``wrong`` ones; empty where no area is left."""
    mended = shapes.copy()
    mended[wrong] = shapely.make_valid(shapes[wrong], method="structure", keep_collapsed=False)
    return mended


def invalid(shapes: Shapes) -> NDArray[np.bool_]:
    """Which are there, and no valid geometry."""
    return np.asarray(~shapely.is_missing(shapes) & ~shapely.is_valid(shapes))


def without_empty(shapes: Shapes) -> Shapes:
    """None in place of polygons without area, and of those with a corner that is nowhere."""
    kept = shapes.copy()
    kept[~(shapely.area(shapes) > 0) | ~np.isfinite(shapely.bounds(shapes)).all(axis=1)] = None
    return kept


def between(
    source: str, target: str, where: str, whose: str, error: type[GeosegError]
) -> pyproj.Transformer | None:
    """From one CRS to another, x before y; None where they are one.

    Raises ``error`` where there is no way; ``where`` is what has the first, ``whose`` the second.
    """
    try:
        if same_crs(source, target):
            return None
        return pyproj.Transformer.from_crs(source, target, always_xy=True)
    except (ProjError, CRSError) as reason:
        raise error(
            f"{where}: its CRS cannot be turned into {whose} ({_name(source)} into {_name(target)}: "
            f"{' '.join(str(reason).split())}). Give it the CRS it really has (ogr2ogr -a_srs, "
            "gdal_edit.py -a_srs), or reproject it first (ogr2ogr -t_srs)."
        ) from None


def _name(crs: str) -> str:
    try:
        return str(pyproj.CRS.from_user_input(crs).name)
    except CRSError:
        return repr(crs[:60])


@dataclass(frozen=True)
class Reprojected:
    """Polygons in the CRS of a grid."""

    shapes: Shapes
    """Valid polygons; None where there was none, or none could be reprojected."""
    cut: NDArray[np.bool_]
    """It reaches far beyond the grid, and what is there was left away."""
    lost: NDArray[np.bool_]
    """The CRS of the grid has no place for it."""


class Reprojector:
    """Reprojects polygons into the CRS of a grid."""

    def __init__(
        self, crs: str, grid: Grid, where: str, whose: str, error: type[GeosegError]
    ) -> None:
        """Raises ``error`` as ``between`` does."""
        assert grid.crs is not None
        self._crs, self._grid = crs, grid
        self._transformer = between(crs, grid.crs, where, whose, error)
        self._surroundings = cache(self._find_surroundings)

    def reproject(self, shapes: Shapes) -> Reprojected:
        """Valid polygons, or None, of the CRS that was named.

        Without what lies far from the grid: its CRS need not have a place for it, or have one that is
        wrong. UTM folds the other side of the Earth back.
        """
        whole, reprojected = without_empty(shapes), np.full(len(shapes), None)
        cut, lost = np.zeros(len(shapes), dtype=bool), ~shapely.is_missing(whole)
        if self._transformer is None:
            return Reprojected(whole, cut, cut)
        for around in _AROUND:
            left = np.flatnonzero(lost)
            reprojected[left], cut[left], lost[left] = self._attempt(whole[left], around)
        return Reprojected(reprojected, cut, lost)

    def _attempt(
        self, shapes: Shapes, around: float
    ) -> tuple[Shapes, NDArray[np.bool_], NDArray[np.bool_]]:
        near, cut = self._cut(shapes, around)
        dense = self._densify(near)
        moved = np.asarray(shapely.transform(dense, self._to_grid), dtype=object)
        moved[~self._comes_back(dense, moved)] = None
        moved = without_empty(mend(moved, invalid(moved)))
        return moved, cut, shapely.is_missing(moved) & ~shapely.is_missing(near)

    def _cut(self, shapes: Shapes, around: float) -> tuple[Shapes, NDArray[np.bool_]]:
        """Without what lies far from the grid, and which polygons lost something."""
        surroundings = self._surroundings(around)
        if surroundings is None:
            return shapes, np.zeros(len(shapes), dtype=bool)
        cut = ~shapely.is_missing(shapes) & ~shapely.covers(surroundings, shapes)
        kept = shapes.copy()
        kept[cut] = shapely.intersection(shapes[cut], surroundings)
        # A buffer of nothing drops the points and lines that an intersection may leave.
        kept[cut] = shapely.buffer(kept[cut], 0)
        return without_empty(kept), cut

    def _densify(self, shapes: Shapes) -> Shapes:
        if self._step is None:
            return shapes
        step = np.maximum(self._step, np.nan_to_num(shapely.length(shapes)) / _MOST)
        return np.asarray(shapely.segmentize(shapes, step), dtype=object)

    def _to_grid(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        assert self._transformer is not None
        return np.stack(self._transformer.transform(*points.T), axis=1)

    def _from_grid(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        assert self._transformer is not None
        x, y = points.T
        return np.stack(self._transformer.transform(x, y, direction="INVERSE"), axis=1)

    def _comes_back(self, before: Shapes, after: Shapes) -> NDArray[np.bool_]:
        """Which polygons have all their corners again where they were, once projected back.

        Where a projection folds, it does not return to where it came from.
        """
        came, number = shapely.get_coordinates(before, return_index=True)
        back = self._from_grid(shapely.get_coordinates(after))
        with np.errstate(invalid="ignore"):  # what is nowhere is at infinity
            apart = np.abs(back - came)
            apart[:, 0] = np.minimum(apart[:, 0], np.abs(apart[:, 0] - self._turn))
            right = (apart <= (self._step or np.inf)).all(axis=1)
        right &= np.isfinite(back).all(axis=1)
        return np.asarray(np.bincount(number, ~right, len(before)) == 0)

    @cached_property
    def _turn(self) -> float:
        """Once around the Earth, which is the same place, in units of the polygons' CRS."""
        crs = pyproj.CRS.from_user_input(self._crs)
        return 2 * np.pi / crs.axis_info[0].unit_conversion_factor if crs.is_geographic else np.inf

    @cached_property
    def _step(self) -> float | None:
        """Distance of corners in units of the polygons' CRS; None where it cannot be told."""
        assert self._transformer is not None
        grid = self._grid
        crs = pyproj.CRS.from_user_input(grid.crs)
        metre = crs.axis_info[0].unit_conversion_factor * (6.4e6 if crs.is_geographic else 1)
        side = np.sqrt(abs(grid.transform.determinant))
        length = min(_STEP_PIXELS * side, _STEP_METRES / metre)
        x, y = grid.transform @ (grid.width / 2, grid.height / 2)
        across, up = self._transformer.transform(
            [x, x + length, x], [y, y, y + length], direction="INVERSE"
        )
        least = float(
            np.hypot(np.subtract(across[1:], across[0]), np.subtract(up[1:], up[0])).min()
        )
        return least if np.isfinite(least) and least > 0 else None

    def _find_surroundings(self, around: float) -> shapely.Polygon | None:
        """Where polygons are looked for, in their own CRS; None: everywhere."""
        assert self._transformer is not None
        west, south, east, north = self._transformer.transform_bounds(
            *self._grid.bounds, direction="INVERSE"
        )
        if west > east:  # across the line where longitudes start again
            west, east = -180.0, 180.0
        # The bounds are those of the grid's outline alone; within it may be what lies beyond them.
        x, y = inner = self._from_grid(self._lattice()).T
        if not np.isfinite([west, east, south, north, *inner.ravel()]).all():
            return None
        west, east = min(west, x.min()), max(east, x.max())
        south, north = min(south, y.min()), max(north, y.max())
        wide, high = (east - west) * around, (north - south) * around
        return shapely.box(west - wide, south - high, east + wide, north + high)

    def _lattice(self) -> NDArray[np.float64]:
        """x and y of points all over the grid."""
        col, row = np.meshgrid(
            *(np.linspace(0, n, _POINTS) for n in (self._grid.width, self._grid.height))
        )
        a, b, c, d, e, f = tuple(self._grid.transform)[:6]
        return np.stack([a * col + b * row + c, d * col + e * row + f], axis=-1).reshape(-1, 2)
