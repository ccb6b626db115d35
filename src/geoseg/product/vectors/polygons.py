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
from geoseg.grid import Grid
from geoseg.io.vector.polygons import PolygonWriter, create_polygons
from geoseg.legend import Legend
from geoseg.product.areas import SQUARE_METRES
from geoseg.product.crop_map import map_grid
from geoseg.product.style import polygon_style
from geoseg.product.vectors.arcs import Arcs
from geoseg.product.vectors.generalize import simplify, smooth
from geoseg.product.vectors.measures import AreaBalance, ClassBalance, Floats, Ground, ground
from geoseg.product.vectors.regions import OpenRegions, RegionTable
from geoseg.product.vectors.strips import MapStrips
from geoseg.product.vectors.vertex_index import VertexIndex

LAYER = "crops"
"""Name of the layer in the file."""

_BATCH = 150_000
"""Points of polygons written at a time."""


@dataclass(frozen=True)
class Vectorized:
    """What was written."""

    polygons: int
    classes: tuple[ClassBalance, ...]
    """Areas of polygons beside those of the raster, in the legend's order."""


def vectorize(
    maps: tuple[Path, Path],
    legend: Legend,
    targets: Sequence[Path],
    progress: Progress,
    config: VectorsConfig | None = None,
    run: str = "",
) -> Vectorized:
    """Write the 4-connected regions of a class raster as polygons, into each of ``targets``.

    ``maps`` are the class raster and its confidence. Layer ``crops``, with a QGIS style in a GeoPackage;
    ``code``, ``crop`` (name), ``area_m2`` and ``area_ha`` (of the polygon; on the ellipsoid where the
    CRS is geographic), ``perimeter_m``, ``pixels``, ``confidence`` (mean, percent),
    ``confidence_p10`` (a tenth of the pixels are at most as certain), ``run``. Lengths and areas are
    null without CRS. Raises ``RasterError``, ``GridMismatchError``, ``OutputError``.
    """
    config = config or VectorsConfig()
    grid = map_grid(*maps)
    with ExitStack() as stack:
        writers = [stack.enter_context(create_polygons(t, LAYER, grid.crs)) for t in targets]
        work = _Work(grid, legend, config, run, targets[0].parent)
        strips = MapStrips(*maps, grid, legend).merged(config, targets[0].parent, progress)
        # An empty batch first: a map without classes has a layer too.
        work.write(writers, RegionTable.none())
        for batch in _batches(work.closed(strips, progress)):
            work.write(writers, batch)
        for writer in writers:
            writer.set_style(polygon_style(legend, "code"))
    classes = work.balance.table(legend, strips.merged_regions)
    return Vectorized(sum(row.polygons for row in classes), classes)


def _batches(arriving: Iterator[RegionTable]) -> Iterator[RegionTable]:
    """The same regions, cut where the points counted from the first region on pass a multiple of
    ``_BATCH``: so the cuts do not depend on the strips."""
    kept, before = RegionTable.none(), 0
    for more in arriving:
        kept = kept.concat(more)
        sizes = kept.rings.points()
        number = (before + np.cumsum(sizes) - sizes) // _BATCH
        cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist()]
        for start, stop in pairwise(cuts):
            yield kept.slice(start, stop)
        before += int(sizes[: cuts[-1]].sum())
        kept = kept.slice(cuts[-1], len(kept))
    if len(kept):
        yield kept


class _Work:
    """One map on its way into the files."""

    def __init__(
        self, grid: Grid, legend: Legend, config: VectorsConfig, run: str, folder: Path
    ) -> None:
        self._grid, self._legend, self._config = grid, legend, config
        self._run = pa.array([run or None], pa.string())
        self._ground = ground(grid)
        self._unit = self._ground or Ground.of_pixels(grid)
        self.balance = AreaBalance(self._unit, known=self._ground is not None)
        shaped = config.simplify > 0 or config.smooth > 0
        self._vertex_index = VertexIndex(grid.height, grid.width, folder) if shaped else None

    def closed(self, strips: MapStrips, progress: Progress) -> Iterator[RegionTable]:
        """Complete regions in the order of their last pixels, strip by strip."""
        open_regions = OpenRegions(self._grid.width, self._vertex_index)
        with progress.start("polygons", len(strips.windows), "strips") as step:
            for window in strips.windows:
                codes, shown, confidence = strips.read(window)
                self.balance.add_strip(codes, shown, window.row)
                yield open_regions.add(shown, confidence, window.row)
                step.advance()
        yield open_regions.finish(self._grid.height)

    def write(self, writers: Sequence[PolygonWriter], batch: RegionTable) -> None:
        """Shape a batch of regions, write it and count it."""
        drawn = self._drawn(batch)
        area = self._unit.areas(drawn.rings)
        self.balance.add_polygons(drawn.regions.code, area)
        outlines, columns = drawn.rings.polygons(self._grid), self._columns(drawn, area)
        for writer in writers:
            writer.append(outlines, columns)

    def _drawn(self, batch: RegionTable) -> RegionTable:
        """The regions with their outlines simplified and smoothed."""
        if self._vertex_index is None or not len(batch):
            return batch
        arcs = Arcs.of(batch.rings.framed(self._grid))
        stays = simplify(arcs, self._config.simplify, self._vertex_index)
        return replace(batch, rings=smooth(arcs, stays, self._config.smooth, self._vertex_index))

    def _columns(self, batch: RegionTable, area: Floats) -> dict[str, Any]:
        regions, count = batch.regions, len(batch)
        perimeter = self._unit.perimeters(batch.rings)
        if self._ground is None:
            area, perimeter = np.full((2, count), np.nan)
        names = np.full(256, "", dtype=object)
        names[self._legend.codes] = self._legend.names
        return {
            "code": regions.code.astype(np.int32),
            "crop": pa.array(names, pa.string()).take(pa.array(regions.code)),
            "area_m2": np.round(area, 2),
            "area_ha": np.round(area / SQUARE_METRES, 6),
            "perimeter_m": np.round(perimeter, 2),
            "pixels": regions.pixels,
            "confidence": np.round(batch.confidence.means(count), 2),
            "confidence_p10": batch.confidence.percentiles(count, 10).astype(np.int32),
            "run": self._run.take(pa.array(np.zeros(count, np.int8))),
        }
