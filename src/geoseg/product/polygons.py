"""From class raster to polygons, strip by strip; no field is cut where two strips meet.

Regions that reach the lower edge of a strip stay open until the next one shows whether they go on.
Only they, one strip and one batch are in memory. The file is the same, byte for byte, whatever the
height of the strips: regions are written in the order of their last pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from geoseg.feedback import Progress
from geoseg.grid import Grid
from geoseg.io import geotiffs
from geoseg.io.vectors import PolygonWriter, create_polygons
from geoseg.legend import Legend
from geoseg.product.areas import check_codes, map_grid, pixel_area, read_strip
from geoseg.product.outlines import trace
from geoseg.product.regions import Seam, Traced, no_regions
from geoseg.product.style import polygon_style

LAYER = "crops"
"""Name of the layer in the GeoPackage."""

STRIP = geotiffs.TILE
"""Rows read at a time: a row of tiles. It bounds the memory and changes no polygon."""

_BATCH = 500_000
"""Corners of polygons written at a time."""


def vectorize(
    class_path: Path,
    confidence_path: Path,
    legend: Legend,
    target: Path,
    progress: Progress,
) -> int:
    """Write the 4-connected regions of the class raster as polygons; returns how many there are.

    GeoPackage layer ``crops``: ``code``, ``crop`` (name), ``area_ha`` (hectares, null without CRS),
    ``pixels``, ``confidence`` (mean, percent), with a QGIS style. Raises ``RasterError``,
    ``GridMismatchError``, ``OutputError``.
    """
    grid = map_grid(class_path, confidence_path)
    written = 0
    with create_polygons(target, LAYER, grid.crs) as writer:
        # An empty batch first: a map without classes has a layer too.
        _append(writer, no_regions(), grid, legend)
        for batch in _batches(_closed(class_path, confidence_path, legend, progress)):
            _append(writer, batch, grid, legend)
            written += len(batch)
        writer.set_style("geoseg", polygon_style(legend, "code"))
    return written


def _closed(
    class_path: Path, confidence_path: Path, legend: Legend, progress: Progress
) -> Iterator[Traced]:
    """Complete regions in the order of their last pixels, strip by strip."""
    grid = map_grid(class_path, confidence_path)
    areas = pixel_area(grid)
    hectares = np.full(grid.height, np.nan) if areas is None else areas
    seam = Seam(grid.width)
    windows = list(grid.windows(STRIP))
    with progress.start("polygons", len(windows), "strips") as step:
        for window in windows:
            codes, confidence = read_strip(class_path, confidence_path, window)
            check_codes(np.unique(codes), legend, class_path)
            here = hectares[window.row : window.row_stop]
            yield seam.add(codes, confidence, here, window.row)
            step.advance()
    yield seam.finish(grid.height)


def _batches(arriving: Iterator[Traced]) -> Iterator[Traced]:
    """The same regions, cut where the corners counted from the first region on pass a multiple of
    ``_BATCH``: so the cuts do not depend on the strips."""
    kept, before = no_regions(), 0
    for more in arriving:
        kept = kept.followed_by(more)
        sizes = np.bincount(kept.corners.owner, minlength=len(kept))
        number = (before + np.cumsum(sizes) - sizes) // _BATCH
        cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist()]
        for start, stop in pairwise(cuts):
            yield kept.pick(np.arange(start, stop))
        before += int(sizes[: cuts[-1]].sum())
        kept = kept.pick(np.arange(cuts[-1], len(kept)))
    if len(kept):
        yield kept


def _append(writer: PolygonWriter, batch: Traced, grid: Grid, legend: Legend) -> None:
    names = {c.code: c.name for c in legend}
    regions = batch.regions
    writer.append(
        trace(batch.corners, grid),
        {
            "code": regions.code.astype(np.int32),
            "crop": np.array([names[code] for code in regions.code.tolist()], dtype=object),
            "area_ha": np.round(regions.hectares, 6),
            "pixels": regions.pixels,
            "confidence": np.round(regions.confidence / np.maximum(regions.pixels, 1), 2),
        },
    )
