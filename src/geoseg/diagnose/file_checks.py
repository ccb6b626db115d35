"""What each file of a run holds at one pixel, and whether that is what the networks give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.diagnose.location import PixelLocation, centre
from geoseg.engine.block import part_path
from geoseg.engine.job import Job
from geoseg.engine.probe import block_at
from geoseg.errors import RasterError
from geoseg.grid import Grid, Window
from geoseg.io.raster import rasters
from geoseg.io.vector.label_polygons import attributes_at
from geoseg.legend import NODATA
from geoseg.pipeline.run import RunFolder
from geoseg.product.vectors.polygons import LAYER

ABSENT = "not there yet"


@dataclass(frozen=True, slots=True)
class FileCheck:
    """One file at one pixel."""

    file: str
    """What kind of file."""
    path: str
    values: list[int]
    """Of its bands: class code, confidence, percents; of a polygon: the class code."""
    agrees: bool | None
    """None where there is nothing to compare."""
    note: str = ""
    """Why there are no values."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Bands of a raster that hold some of a prediction's layers."""

    file: str
    path: Path
    pixel: Window
    shape: tuple[int, int]
    layers: slice


def check_rasters(
    job: Job, folder: RunFolder, place: PixelLocation, expected: Sequence[int] | None
) -> Iterator[FileCheck]:
    """The block's file and the rasters; ``expected``: a prediction's layers, None where unknown."""
    # On a GPU percents depend a little on which patches are computed together.
    slack = 1 if job.pixels.device == "cuda" else 0
    for source in _sources(job, folder, place):
        values, note = _read(source)
        agrees = None
        if expected is not None and note != ABSENT:
            first = source.layers.start
            slacks = [0 if layer == 0 else slack for layer in range(first, source.layers.stop)]
            agrees = _close(values, expected[source.layers], slacks)
        yield FileCheck(source.file, str(source.path), values, agrees, note)


def _sources(job: Job, folder: RunFolder, place: PixelLocation) -> Iterator[_Source]:
    block = block_at(job, place.row, place.col)
    inner = Window(place.row - block.core.row, place.col - block.core.col, 1, 1)
    pixel, whole = Window(place.row, place.col, 1, 1), (job.height, job.width)
    part = part_path(job.folder, block)
    yield _Source("block file", part, inner, block.core.shape, slice(0, job.bands))
    for layer, bands in job.slices.items():
        kind = layer if layer == "probabilities" else f"{layer} raster"
        yield _Source(kind, folder.layer(layer), pixel, whole, bands)


def _read(source: _Source) -> tuple[list[int], str]:
    """The pixel's value in each band, or why there is none."""
    if not source.path.is_file():
        return [], ABSENT
    count = source.layers.stop - source.layers.start
    try:
        info = rasters.describe(source.path)
        if (info.grid.window.shape, info.count) != (source.shape, count):
            return [], "not of this run: it has other bands or another size"
        values, _ = rasters.read(source.path, range(1, count + 1), source.pixel)
    except RasterError as error:
        return [], str(error)
    return values[:, 0, 0].tolist(), ""


def _close(values: Sequence[int], expected: Sequence[int], slacks: Sequence[int]) -> bool:
    return len(values) == len(expected) and all(
        abs(mine - theirs) <= slack
        for mine, theirs, slack in zip(values, expected, slacks, strict=True)
    )


def check_polygon(
    folder: RunFolder, grid: Grid, place: PixelLocation, expected: Sequence[int] | None
) -> tuple[FileCheck, list[dict[str, Any]]]:
    """The polygon layer, and the attributes of what lies at the pixel's centre: one polygon at most.

    Raises ``OutputError`` where the layer cannot be read.
    """
    path = folder.polygons
    if not path.is_file():
        return FileCheck("polygons", str(path), [], None, ABSENT), []
    found = attributes_at(path, LAYER, *centre(grid, place.row, place.col))
    codes = [int(row["code"]) for row in found]
    agrees = None
    if expected is not None:
        agrees = codes == [code for code in expected[:1] if code != NODATA]
    return FileCheck(
        "polygons", str(path), codes, agrees, "" if found else "no polygon here"
    ), found
