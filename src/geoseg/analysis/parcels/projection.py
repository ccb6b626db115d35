"""Other people's polygons on a grid: mended, reprojected, in pixel coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import ParcelError
from geoseg.grid import Grid
from geoseg.io.vector.geometries import Reprojector, invalid, mend, without_empty
from geoseg.io.vector.parcel_layers import Layer
from geoseg.product.areas import pixel_area

INSIDE, PARTLY, OUTSIDE, NOWHERE = "inside", "partly outside", "outside", "no geometry"
"""Where a parcel lies in regard to the map."""

_SLACK = 1e-6
"""Pixels by which a parcel may leave the grid and count as inside: reprojection's rounding."""


@dataclass(frozen=True)
class ProjectedParcels:
    """Polygons on a grid, one array entry per parcel."""

    shapes: NDArray[np.object_]
    """Valid polygons in (column, -row); None where there is nothing to lay on the map."""
    mended: NDArray[np.bool_]
    """The geometry was not valid (a ring crosses itself, and the like)."""
    location: NDArray[np.object_]
    """``INSIDE`` and so on."""
    pixels: NDArray[np.float64]
    """Area in pixels, the part outside the map too."""
    hectares: NDArray[np.float64]
    """Area by the measure of ``areas.pixel_area``, at the row of the parcel's centroid; NaN for a
    parcel that reaches far away from the map."""


class ParcelProjector:
    """Projects the polygons of a layer onto a grid."""

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
        where = f"{layer.path}: layer {layer.name!r}"
        self._reprojector = Reprojector(layer.crs, grid, where, "the map's", ParcelError)

    def project(self, geometry: NDArray[np.object_]) -> ProjectedParcels:
        """Polygons and multipolygons, or None, as read from the layer."""
        there = ~(shapely.is_missing(geometry) | shapely.is_empty(geometry))
        mended = there & ~shapely.is_valid(geometry)
        whole = without_empty(mend(geometry, mended))
        reprojected = self._reprojector.reproject(whole)
        shapes = np.asarray(shapely.transform(reprojected.shapes, self._to_pixels), dtype=object)
        shapes = without_empty(mend(shapes, invalid(shapes)))
        pixels = np.nan_to_num(shapely.area(shapes))
        hectares = np.where(reprojected.cut, np.nan, self._hectares(shapes, pixels))
        lost = shapely.is_missing(shapes) & ~shapely.is_missing(whole)
        location = self._locate(shapes, reprojected.cut, lost)
        return ProjectedParcels(shapes, mended, location, pixels, hectares)

    def _to_pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = points.T
        a, b, c, d, e, f = tuple(self._to_pixel)[:6]
        return np.stack([a * x + b * y + c, -(d * x + e * y + f)], axis=1)

    def _hectares(
        self, shapes: NDArray[np.object_], pixels: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        assert self._area is not None
        down = np.nan_to_num(-shapely.get_y(shapely.centroid(shapes)))
        rows = np.clip(np.floor(down), 0, self._grid.height - 1).astype(np.int64)
        return np.asarray(pixels * self._area[rows])

    def _locate(
        self, shapes: NDArray[np.object_], cut: NDArray[np.bool_], lost: NDArray[np.bool_]
    ) -> NDArray[np.object_]:
        west, south, east, north = shapely.bounds(shapes).T
        height, width = self._grid.height, self._grid.width
        apart = (west >= width) | (east <= 0) | (south >= 0) | (north <= -height)
        beyond = (west < -_SLACK) | (east > width + _SLACK)
        beyond |= (south < -height - _SLACK) | (north > _SLACK)
        location = np.full(len(shapes), INSIDE, dtype=object)
        location[beyond | cut] = PARTLY
        location[shapely.is_missing(shapes)] = NOWHERE
        location[apart | lost] = OUTSIDE
        return location
