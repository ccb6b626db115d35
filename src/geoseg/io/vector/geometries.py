"""Geometries of other people's files, from WKB to polygons."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import GeosegError

_COLLECTION = shapely.GeometryType.GEOMETRYCOLLECTION


def from_wkb(binary: Any, where: str, error: type[GeosegError]) -> NDArray[np.object_]:
    """Geometries without heights; None where there is none, or none at all (a ring of two points).

    Raises ``error`` for curves.
    """
    try:
        found = shapely.force_2d(shapely.from_wkb(binary, on_invalid="ignore"))
    except NotImplementedError:  # arcs
        raise error(
            f"{where} holds curves. Turn them into straight lines first: ogr2ogr -nlt "
            "CONVERT_TO_LINEAR new.gpkg old"
        ) from None
    return np.asarray(found, dtype=object)


def is_areal(shapes: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which are polygons or multipolygons."""
    kinds = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
    return np.isin(shapely.get_type_id(shapes), kinds)


def are_collections(shapes: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which are collections of geometries of several kinds."""
    return np.asarray(shapely.get_type_id(shapes) == _COLLECTION)


def areal_parts(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """The polygons of each collection as one; the collection itself where it has none."""
    found = shapes.copy()
    for mixed in np.flatnonzero(are_collections(shapes)):
        parts = np.atleast_1d(shapes[mixed])
        while not _single(parts):
            parts = shapely.get_parts(parts)
        areal = parts[is_areal(parts)]
        if areal.size:
            found[mixed] = shapely.multipolygons(areal)
    return found


def _single(parts: NDArray[np.object_]) -> bool:
    """Whether none has parts."""
    return bool((shapely.get_type_id(parts) <= shapely.GeometryType.POLYGON).all())
