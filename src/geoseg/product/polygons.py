"""From class raster to polygons, strip by strip; no field is cut where two strips meet.

Regions that reach the lower edge of a strip stay open until the next one shows whether they go on.
Only they and one strip are in memory. The file is the same whatever the height of the strips: regions
are written in the order of their last pixels, in batches of a fixed size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.feedback import Progress
from geoseg.grid import Grid
from geoseg.io import rasters
from geoseg.io.vectors import PolygonWriter, create_polygons
from geoseg.legend import Legend
from geoseg.product.areas import check_codes, map_grid, pixel_area, read_strip, strips
from geoseg.product.regions import Regions, find_regions, link
from geoseg.product.style import polygon_style

LAYER = "crops"
"""Name of the layer in the GeoPackage."""

_BATCH = 20_000
"""Polygons written at a time."""


def vectorize(
    class_path: Path,
    confidence_path: Path,
    legend: Legend,
    target: Path,
    progress: Progress,
    rows: int = rasters.TILE,
) -> int:
    """Write the 4-connected regions of the class raster as polygons; returns how many there are.

    GeoPackage layer ``crops``: ``code``, ``crop`` (name), ``area_ha`` (hectares, null without CRS),
    ``pixels``, ``confidence`` (mean, percent), with a QGIS style. ``rows`` is the height of a strip:
    it bounds the memory and changes nothing else. Raises ``RasterError``, ``GridMismatchError``,
    ``OutputError``.
    """
    grid = map_grid(class_path, confidence_path)
    written = 0
    with create_polygons(target, LAYER, grid.crs) as writer:
        batches = _batches(_closed(class_path, confidence_path, grid, legend, rows, progress))
        for batch in batches:
            _append(writer, batch, grid, legend)
            written += len(batch)
        if not written:
            _append(writer, _NONE, grid, legend)
        writer.set_style("geoseg", polygon_style(legend, "code"))
    return written


_NONE = find_regions(
    np.full((1, 1), 255, np.uint8), np.zeros((1, 1), np.uint8), np.zeros(1), 0
)[0]
"""No region: what is open above the first strip."""


def _closed(
    class_path: Path,
    confidence_path: Path,
    grid: Grid,
    legend: Legend,
    rows: int,
    progress: Progress,
) -> Iterator[Regions]:
    """Regions that are complete, in the order of their last pixels."""
    areas = pixel_area(grid)
    hectares = np.full(grid.height, np.nan) if areas is None else areas
    seam = _Seam(grid.width)
    windows = list(strips(grid, rows))
    with progress.start("polygons", len(windows), "strips") as step:
        for window in windows:
            codes, confidence = read_strip(class_path, confidence_path, window)
            check_codes(np.unique(codes), legend, class_path)
            here = hectares[window.row : window.row_stop]
            regions, places = find_regions(codes, confidence, here, window.row)
            yield seam.close(regions, codes, places)
            step.advance()
    yield seam.finish()


class _Seam:
    """The lower edge of what has been read: its codes, and the regions that reach it."""

    def __init__(self, width: int) -> None:
        self._codes = np.full(width, 255, np.uint8)
        self._places = np.full(width, -1, np.int64)
        self._open = _NONE

    def close(
        self, regions: Regions, codes: NDArray[np.uint8], places: NDArray[np.int32]
    ) -> Regions:
        """Join the next strip's regions to the open ones; returns those that end above its edge."""
        before = len(self._open)
        meet = (codes[0] == self._codes) & (self._places >= 0)
        groups = link(self._places[meet], places[0][meet] + before, before + len(regions))
        joined = self._open.followed_by(regions).joined(groups)

        bottom = places[-1].astype(np.int64)
        bottom[bottom >= 0] = groups[bottom[bottom >= 0] + before]
        reaches = np.zeros(len(joined), dtype=bool)
        reaches[bottom[bottom >= 0]] = True
        renumber = np.cumsum(reaches) - 1
        self._open = joined.take(reaches)
        self._codes = codes[-1]
        self._places = np.where(bottom >= 0, renumber[bottom], -1)
        return _in_order(joined.take(~reaches))

    def finish(self) -> Regions:
        """What is still open at the lower edge of the map."""
        return _in_order(self._open)


def _in_order(regions: Regions) -> Regions:
    """Sorted by last pixel, outlines traced: one part per region."""
    order = np.argsort(regions.last)
    return Regions(
        regions.code[order],
        regions.pixels[order],
        regions.confidence[order],
        regions.hectares[order],
        regions.last[order],
        regions.outlines()[order],
        np.arange(len(order)),
    )


def _batches(regions: Iterator[Regions]) -> Iterator[Regions]:
    """The same regions, ``_BATCH`` at a time."""
    kept = _NONE
    for more in regions:
        kept = kept.followed_by(more)
        while len(kept) >= _BATCH:
            first = np.arange(len(kept)) < _BATCH
            yield kept.take(first)
            kept = kept.take(~first)
    if len(kept):
        yield kept


def _append(writer: PolygonWriter, regions: Regions, grid: Grid, legend: Legend) -> None:
    names = {c.code: c.name for c in legend}
    writer.append(
        _on_map(regions.parts, grid),
        {
            "code": regions.code.astype(np.int32),
            "crop": np.array([names[code] for code in regions.code.tolist()], dtype=object),
            "area_ha": np.round(regions.hectares, 6),
            "pixels": regions.pixels,
            "confidence": np.round(regions.confidence / np.maximum(regions.pixels, 1), 2),
        },
    )


def _on_map(outlines: NDArray[np.object_], grid: Grid) -> NDArray[np.object_]:
    """Outlines in pixel coordinates moved into the CRS, corner for corner."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        col, row = points[:, 0], points[:, 1]
        return np.stack([a * col + b * row + c, d * col + e * row + f], axis=1)

    return np.asarray(shapely.transform(outlines, move))
