"""From class raster to polygons, strip by strip; no field is cut where two strips meet.

Regions that reach the lower edge of a strip stay open until the next one shows whether they go on.
Only they, one strip and one batch are in memory. The file is the same, byte for byte, whatever the
height of the strips: regions are written in the order of their last pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from geoseg.config import VectorsConfig
from geoseg.feedback import Progress
from geoseg.grid import Grid, Window
from geoseg.io import geotiffs
from geoseg.io.polygons import PolygonWriter, create_polygons
from geoseg.legend import Legend
from geoseg.product.areas import SQUARE_METRES, check_codes, map_grid, read_strip
from geoseg.product.arcs import Arcs
from geoseg.product.guard import Vertices
from geoseg.product.measures import Ground, ground
from geoseg.product.regions import Outlined, Seam
from geoseg.product.simplify import simplify
from geoseg.product.smooth import smooth
from geoseg.product.style import polygon_style

LAYER = "crops"
"""Name of the layer in the file."""

STRIP = geotiffs.TILE
"""Rows read at a time: a row of tiles. It bounds the memory and changes no polygon."""

_PIXELS = 2**22
"""Pixels looked at at a time."""

_BATCH = 500_000
"""Points of polygons written at a time."""


@dataclass(frozen=True)
class Vectorized:
    """What was written."""

    polygons: int


def vectorize(
    class_path: Path,
    confidence_path: Path,
    legend: Legend,
    targets: Sequence[Path],
    progress: Progress,
    config: VectorsConfig | None = None,
    run: str = "",
) -> Vectorized:
    """Write the 4-connected regions of the class raster as polygons, into each of ``targets``.

    Layer ``crops``, a QGIS style in a GeoPackage; ``code``, ``crop`` (name), ``area_m2`` and
    ``area_ha`` (of the polygon; on the ellipsoid where the CRS is geographic), ``perimeter_m``,
    ``pixels``, ``confidence`` (mean, percent), ``confidence_p10`` (a tenth of the pixels are at most
    as certain), ``run``. Lengths and areas are null without CRS. Raises ``RasterError``,
    ``GridMismatchError``, ``OutputError``.
    """
    config = config or VectorsConfig()
    grid = map_grid(class_path, confidence_path)
    table = _Table(grid, ground(grid), legend, run)
    written = 0
    shaped = config.simplify > 0 or config.smooth > 0
    noted = Vertices(grid.height, grid.width, targets[0].parent) if shaped else None
    shapes = _Shapes(config, noted)
    with ExitStack() as stack:
        writers = [stack.enter_context(create_polygons(t, LAYER, grid.crs)) for t in targets]
        # An empty batch first: a map without classes has a layer too.
        table.append(writers, Outlined.none())
        closed = _closed(class_path, confidence_path, legend, shapes, progress)
        for batch in _batches(closed):
            table.append(writers, shapes.drawn(batch))
            written += len(batch)
        for writer in writers:
            writer.set_style("geoseg", polygon_style(legend, "code"))
    return Vectorized(written)


def _closed(
    class_path: Path, confidence_path: Path, legend: Legend, shapes: _Shapes, progress: Progress
) -> Iterator[Outlined]:
    """Complete regions in the order of their last pixels, strip by strip."""
    grid = map_grid(class_path, confidence_path)
    seam = Seam(grid.width, shapes.vertices)
    windows = list(grid.windows(STRIP))
    with progress.start("polygons", len(windows), "strips") as step:
        for window in windows:
            codes, confidence = read_strip(class_path, confidence_path, window)
            check_codes(np.unique(codes), legend, class_path)
            for part in _parts(window):
                rows = slice(part.row - window.row, part.row_stop - window.row)
                yield seam.add(codes[rows], confidence[rows], part.row)
            step.advance()
    yield seam.finish(grid.height)


def _parts(window: Window) -> Iterator[Window]:
    """A window in rows that hold no more than ``_PIXELS``, or one by one."""
    rows = max(1, _PIXELS // window.width)
    for row in range(window.row, window.row_stop, rows):
        yield Window(row, window.col, rows, window.width).clip(window)


def _batches(arriving: Iterator[Outlined]) -> Iterator[Outlined]:
    """The same regions, cut where the points counted from the first region on pass a multiple of
    ``_BATCH``: so the cuts do not depend on the strips."""
    kept, before = Outlined.none(), 0
    for more in arriving:
        kept = kept.followed_by(more)
        sizes = kept.rings.points()
        number = (before + np.cumsum(sizes) - sizes) // _BATCH
        cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist()]
        for start, stop in pairwise(cuts):
            yield kept.slice(start, stop)
        before += int(sizes[: cuts[-1]].sum())
        kept = kept.slice(cuts[-1], len(kept))
    if len(kept):
        yield kept


@dataclass(frozen=True)
class _Shapes:
    """How outlines are drawn."""

    config: VectorsConfig
    vertices: Vertices | None

    def drawn(self, batch: Outlined) -> Outlined:
        """The regions with their outlines simplified and smoothed."""
        if self.vertices is None or not len(batch):
            return batch
        arcs = Arcs.of(batch.rings)
        stays = simplify(arcs, self.config.simplify, self.vertices)
        return replace(batch, rings=smooth(arcs, stays, self.config.smooth, self.vertices))


@dataclass(frozen=True)
class _Table:
    """The columns of the layer."""

    grid: Grid
    ground: Ground | None
    legend: Legend
    run: str

    def append(self, writers: Sequence[PolygonWriter], batch: Outlined) -> None:
        """Write a batch of regions."""
        outlines, columns = batch.rings.polygons(self.grid), self._columns(batch)
        for writer in writers:
            writer.append(outlines, columns)

    def _columns(self, batch: Outlined) -> dict[str, Any]:
        regions, rings = batch.regions, batch.rings
        unknown = np.full(len(batch), np.nan)
        area = self.ground.areas(rings) if self.ground else unknown
        perimeter = self.ground.perimeters(rings) if self.ground else unknown
        names = np.full(256, "", dtype=object)
        names[self.legend.codes] = self.legend.names
        run = pa.array([self.run or None], pa.string())
        return {
            "code": regions.code.astype(np.int32),
            "crop": pa.array(names, pa.string()).take(pa.array(regions.code)),
            "area_m2": np.round(area, 2),
            "area_ha": np.round(area / SQUARE_METRES, 6),
            "perimeter_m": np.round(perimeter, 2),
            "pixels": regions.pixels,
            "confidence": np.round(batch.confidence.means(len(batch)), 2),
            "confidence_p10": batch.confidence.percentiles(len(batch), 10).astype(np.int32),
            "run": run.take(pa.array(np.zeros(len(batch), np.int8))),
        }
