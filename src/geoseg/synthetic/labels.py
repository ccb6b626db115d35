"""The labels of a synthetic scene: polygons of the fields whose crop somebody knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import shapely

from geoseg.io.vector import polygons
from geoseg.synthetic.geometry import HalfPlane, Polygon, area, clip
from geoseg.synthetic.parcels import Field, farm_fields, farms
from geoseg.synthetic.phenology import LEGEND
from geoseg.synthetic.spec import SceneSpec

LAYER = "fields"

_BATCH = 5000
"""Polygons written at a time."""

_SMALLEST = 25.0
"""Least area of a label in square pixels: the rest of a field that the scene's edge cuts away."""


def write_labels(path: Path, spec: SceneSpec) -> int:
    """Write the labelled fields as a GeoPackage and return how many there are.

    Layer ``fields``, columns ``field_id`` (int64) and ``crop`` (a class name). Every pixel whose centre
    lies in a polygon has that crop in the truth. Memory does not grow with the scene.
    """
    count = 0
    with polygons.create_polygons(path, LAYER, spec.grid.crs) as writer:
        for batch in _batches(spec):
            count += len(batch)
            _append(writer, batch, spec)
        if not count:
            _append(writer, [], spec)
    return count


Label = tuple[Field, Polygon]
"""A field and the part of it inside the scene, in pixel coordinates."""


def labels(spec: SceneSpec) -> Iterator[Label]:
    """The labelled fields, each once, cut to what is on the grid and seen on any date."""
    borders = (
        HalfPlane(1, 0, 0),
        HalfPlane(0, 1, 0),
        HalfPlane(-1, 0, spec.width),
        HalfPlane(0, -1, spec.height),
        spec.seen,
    )
    for farm in farms(spec, spec.grid.window):
        for plot in farm_fields(spec, *farm):
            polygon = plot.outline if plot.labelled else ()
            for border in borders:
                polygon = clip(polygon, border)
            if polygon and area(polygon) >= _SMALLEST:
                yield plot, polygon


def _batches(spec: SceneSpec) -> Iterator[list[Label]]:
    batch: list[Label] = []
    for label in labels(spec):
        batch.append(label)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _append(writer: polygons.PolygonWriter, batch: list[Label], spec: SceneSpec) -> None:
    left, top, side = spec.grid.transform.c, spec.grid.transform.f, spec.pixel
    rings = [[(left + side * x, top - side * y) for x, y in polygon] for _, polygon in batch]
    names = [LEGEND.by_code(plot.crop).name for plot, _ in batch]
    writer.append(
        np.array([shapely.Polygon(ring) for ring in rings], dtype=object),
        {
            "field_id": np.array([plot.field_id for plot, _ in batch], dtype=np.int64),
            "crop": np.array(names, dtype=object),
        },
    )
