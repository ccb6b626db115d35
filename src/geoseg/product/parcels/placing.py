"""Laying other people's polygons on a grid: mended, reprojected, in pixel coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import CRSError, ProjError

from geoseg.errors import ParcelError
from geoseg.grid import Grid, same_crs
from geoseg.io.parcel_layers import Layer
from geoseg.product.areas import pixel_area

INSIDE, PARTLY, OUTSIDE, NOWHERE = "inside", "partly outside", "outside", "no geometry"
"""Where a parcel lies in regard to the map."""

_STEP_PIXELS, _STEP_METRES = 50, 1000.0
"""Straight lines of one CRS are curves in another: corners are put in at least this densely. The
error of a chord of length s on a sphere of radius R at latitude p is about s² tan(p) / 8R: 6 mm for
50 pixels of 10 m at 50 degrees."""

_AROUND = 10
"""Widths and heights of the map, on each side of it, beyond which nothing is looked at."""

_MOST = 20_000
"""Corners put into one polygon at most."""

_SLACK = 1e-6
"""Pixels by which a parcel may leave the grid and count as inside: reprojection's rounding."""


@dataclass(frozen=True)
class Placed:
    """Polygons on a grid, one array entry per parcel."""

    shapes: NDArray[np.object_]
    """Valid polygons in (column, -row); None where there is nothing to lay on the map."""
    mended: NDArray[np.bool_]
    """The geometry was not valid (a ring crosses itself, and the like)."""
    place: NDArray[np.object_]
    """``INSIDE`` and so on."""
    pixels: NDArray[np.float64]
    """Area in pixels, the part outside the map too."""
    hectares: NDArray[np.float64]
    """Area by the measure of ``areas.pixel_area``, at the row of the parcel's centroid; NaN for a
    parcel that reaches far away from the map."""


class Placer:
    """Lays the polygons of a layer on a grid."""

    def __init__(self, layer: Layer, grid: Grid, map_name: str) -> None:
        """Raises ``ParcelError`` where the grid has no CRS or none the layer's can be turned into."""
        if grid.crs is None:
            raise ParcelError(
                f"{map_name} has no coordinate reference system, so no parcel can be found on it. "
                "Give it the right one, for example with gdal_edit.py -a_srs EPSG:32632."
            )
        self._grid = grid
        self._to_pixel = ~grid.transform
        self._area = pixel_area(grid)
        self._transformer = None
        if not same_crs(layer.crs, grid.crs):
            self._transformer = _transformer(layer, grid.crs)

    def place(self, geometry: NDArray[np.object_]) -> Placed:
        """Polygons and multipolygons, or None, as read from the layer."""
        there = ~(shapely.is_missing(geometry) | shapely.is_empty(geometry))
        mended = there & ~shapely.is_valid(geometry)
        whole = _without_empty(_mend(geometry, mended))
        near, cut = self._cut(whole)
        shapes = self._project(near)
        if self._transformer is not None:
            shapes = _mend(shapes, ~shapely.is_missing(shapes) & ~shapely.is_valid(shapes))
        shapes = _without_empty(shapes)
        pixels = np.nan_to_num(shapely.area(shapes))
        hectares = np.where(cut, np.nan, self._hectares(shapes, pixels))
        lost = shapely.is_missing(shapes) & ~shapely.is_missing(whole)
        return Placed(shapes, mended, self._where(shapes, cut, lost), pixels, hectares)

    def _cut(self, shapes: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
        """Without what lies far from the map, and which polygons lost something.

        The map's CRS need not have a place for it, or have one that is wrong: UTM folds the other
        side of the Earth back.
        """
        if self._surroundings is None:
            return shapes, np.zeros(len(shapes), dtype=bool)
        cut = ~shapely.is_missing(shapes) & ~shapely.covers(self._surroundings, shapes)
        kept = shapes.copy()
        kept[cut] = shapely.intersection(shapes[cut], self._surroundings)
        # A buffer of nothing drops the points and lines that an intersection may leave.
        kept[cut] = shapely.buffer(kept[cut], 0)
        return _without_empty(kept), cut

    def _project(self, shapes: NDArray[np.object_]) -> NDArray[np.object_]:
        dense = shapes
        if self._transformer is not None and self._step is not None:
            step = np.maximum(self._step, np.nan_to_num(shapely.length(shapes)) / _MOST)
            dense = shapely.segmentize(shapes, step)
        return np.asarray(shapely.transform(dense, self._to_pixels), dtype=object)

    def _to_pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = points.T
        if self._transformer is not None:
            x, y = self._transformer.transform(x, y)
        a, b, c, d, e, f = tuple(self._to_pixel)[:6]
        return np.stack([a * x + b * y + c, -(d * x + e * y + f)], axis=1)

    @cached_property
    def _step(self) -> float | None:
        """Distance of corners in units of the layer's CRS; None where it cannot be told."""
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

    @cached_property
    def _surroundings(self) -> shapely.Polygon | None:
        """Where parcels are looked for, in the layer's CRS; None: everywhere, for it is the map's."""
        if self._transformer is None:
            return None
        west, south, east, north = self._transformer.transform_bounds(
            *self._grid.bounds, direction="INVERSE"
        )
        if west > east:  # across the line where longitudes start again
            west, east = -180.0, 180.0
        wide, high = (east - west) * _AROUND, (north - south) * _AROUND
        if not (np.isfinite(wide) and np.isfinite(high)):
            return None
        return shapely.box(west - wide, south - high, east + wide, north + high)

    def _hectares(
        self, shapes: NDArray[np.object_], pixels: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        assert self._area is not None
        down = np.nan_to_num(-shapely.get_y(shapely.centroid(shapes)))
        rows = np.clip(np.floor(down), 0, self._grid.height - 1).astype(np.int64)
        return np.asarray(pixels * self._area[rows])

    def _where(
        self, shapes: NDArray[np.object_], cut: NDArray[np.bool_], lost: NDArray[np.bool_]
    ) -> NDArray[np.object_]:
        west, south, east, north = shapely.bounds(shapes).T
        height, width = self._grid.height, self._grid.width
        apart = (west >= width) | (east <= 0) | (south >= 0) | (north <= -height)
        beyond = (west < -_SLACK) | (east > width + _SLACK)
        beyond |= (south < -height - _SLACK) | (north > _SLACK)
        place = np.full(len(shapes), INSIDE, dtype=object)
        place[beyond | cut] = PARTLY
        place[shapely.is_missing(shapes)] = NOWHERE
        place[apart | lost] = OUTSIDE
        return place


def _without_empty(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """None in place of polygons without area, and of those with a corner that is nowhere."""
    kept = shapes.copy()
    kept[~(shapely.area(shapes) > 0) | ~np.isfinite(shapely.bounds(shapes)).all(axis=1)] = None
    return kept


def _transformer(layer: Layer, crs: str) -> pyproj.Transformer:
    try:
        return pyproj.Transformer.from_crs(layer.crs, crs, always_xy=True)
    except (ProjError, CRSError) as error:
        raise ParcelError(
            f"{layer.path}: the CRS of layer {layer.name!r} cannot be turned into the map's: {error}. "
            "Reproject the layer first, for example with ogr2ogr -t_srs."
        ) from None


def _mend(shapes: NDArray[np.object_], wrong: NDArray[np.bool_]) -> NDArray[np.object_]:
    """Valid polygons in place of the ``wrong`` ones; empty where no area is left."""
    mended = shapes.copy()
    mended[wrong] = shapely.make_valid(shapes[wrong], method="structure", keep_collapsed=False)
    return mended
