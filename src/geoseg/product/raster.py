"""From finished blocks to the rasters people load: class codes, confidence, optional layers.

Blocks are gathered, some at a time, into plain rasters beside the targets, which then become
cloud-optimized GeoTIFFs. Pixels alone decide the bytes: how the grid was cut into blocks leaves no
trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.config.products import Layer, band_slices
from geoseg.errors import RasterError
from geoseg.feedback import Progress
from geoseg.grid import Grid, Window
from geoseg.io import files
from geoseg.io.raster import geotiffs, rasters
from geoseg.io.raster.gdal import cores, small_cache
from geoseg.io.raster.scratch import Scratch, scratch
from geoseg.io.vector.ogr import write_dbf
from geoseg.legend import NODATA, Legend
from geoseg.product import style
from geoseg.product.areas import PixelCounts

Part = tuple[Window, Path]
"""Where a block lies, and its file: uint8 GeoTIFF of the block's size, codes and confidence."""

IN_MEMORY = 512 * 2**20
"""Bytes of blocks in memory at once, at most."""

AT_ONCE = 2
"""Rasters made cloud-optimized at once: part of that work uses a single core."""


@dataclass(frozen=True, slots=True)
class RasterOptions:
    """What the rasters are besides class and confidence, and how they are written."""

    layers: tuple[Layer, ...] = ()
    """What the parts hold behind class and confidence, in this order."""
    compression: geotiffs.Compression = "deflate"
    tags: tuple[tuple[str, str], ...] = ()
    """Metadata of every raster."""


@dataclass(frozen=True, slots=True)
class _Plane:
    """One raster made of the parts: which of their bands, and what it looks like."""

    bands: slice
    spec: geotiffs.RasterSpec
    resampling: Literal["mode", "average"]


def mosaic(
    parts: Sequence[Part],
    grid: Grid,
    legend: Legend,
    paths: Sequence[Path],
    progress: Progress,
    options: RasterOptions = RasterOptions(),
) -> None:
    """Write the class and the confidence raster and the optional ones, with their side files.

    ``paths``: class, confidence, then those of ``options.layers``. Parts do not overlap; each holds
    codes in band 1, confidence in percent in band 2 and then the layers, 255 for nodata in all.
    Pixels that no part covers become nodata. The class raster has the legend's colours, names and
    attribute table (``.aux.xml``, ``.vat.dbf``), QGIS style (``.qml``), SLD and itself
    (``GEOSEG_LEGEND``).
    Raises ``RasterError`` for a damaged part, ``OutputError`` where there is no room.
    """
    planes = _planes(legend, options)
    with small_cache(), ExitStack() as stack:
        plain = [
            stack.enter_context(scratch(path, grid, plane.spec))
            for path, plane in zip(paths, planes, strict=True)
        ]
        counts = _gather(parts, list(zip(plain, planes, strict=True)), legend, progress)
        # Entered first, renamed last: where the class raster is, the others are too.
        targets = [stack.enter_context(files.replacing(path)) for path in paths]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            ways = [plane.resampling for plane in planes]
            for _ in pool.map(Scratch.to_cog, plain, targets, ways, repeat(options.compression)):
                pass
    _write_side_files(legend, counts, paths)


def _planes(legend: Legend, options: RasterOptions) -> list[_Plane]:
    """The rasters, in the order of the parts' bands."""
    slices = band_slices(options.layers, len(legend))
    return [_plane(name, bands, legend, options) for name, bands in slices.items()]


def _plane(name: str, bands: slice, legend: Legend, options: RasterOptions) -> _Plane:
    if name == "class":
        tags = (*options.tags, (style.LEGEND_TAG, style.legend_tag(legend)))
        codes = geotiffs.RasterSpec("uint8", 1, NODATA, ("crop class",), legend.colormap, tags)
        return _Plane(bands, codes, "mode")
    each = [c.name for c in legend] if name == "probabilities" else [name]
    spec = geotiffs.RasterSpec(
        "uint8",
        len(each),
        NODATA,
        tuple(f"{title} (percent)" for title in each),
        None,
        options.tags,
    )
    return _Plane(bands, spec, "average")


def _gather(
    parts: Sequence[Part],
    targets: Sequence[tuple[Scratch, _Plane]],
    legend: Legend,
    progress: Progress,
) -> NDArray[np.int64]:
    """Copy the parts into plain rasters, some at a time; pixels of each class, ``int64[K]``."""
    count = targets[-1][1].bands.stop

    def copy(part: Part) -> NDArray[np.int64]:
        window, path = part
        values = _read_part(window, path, count)
        for target, plane in targets:
            target.write(values[plane.bands], window)
        counts = PixelCounts(None)
        counts.add(values[0], window.row)
        return counts.pixels[legend.codes]

    largest = max((window.size * count for window, _ in parts), default=1)
    threads = max(1, min(cores(), IN_MEMORY // largest))
    pixels = np.zeros(len(legend), np.int64)
    with (
        progress.start("mosaic", len(parts), "blocks") as step,
        ThreadPoolExecutor(threads) as pool,
    ):
        try:
            for counted in pool.map(copy, parts):
                pixels += counted
                step.advance()
        finally:
            pool.shutdown(cancel_futures=True)
    return pixels


def _read_part(window: Window, path: Path, count: int) -> NDArray[np.uint8]:
    """``uint8[count, height, width]`` of a block file, checked against its window."""
    with rasters.opened(path) as source:
        profile = (source.height, source.width, set(source.dtypes))
        if profile != (*window.shape, {"uint8"}) or source.count < count:
            raise RasterError(
                f"{path}: {source.count} band(s) of {source.dtypes[0]}, {source.width} x "
                f"{source.height} pixels; this block is {count} bands of uint8, {window.width} x "
                f"{window.height}. Delete the file and run again: the block is then predicted anew."
            )
        values: NDArray[np.uint8] = source.read(range(1, count + 1))
        return values


def _write_side_files(legend: Legend, counts: NDArray[np.int64], paths: Sequence[Path]) -> None:
    class_path, *others = paths
    table = style.attribute_table(legend, counts.tolist())
    names = {c.code: c.name for c in legend}
    files.write_text(class_path.with_suffix(".qml"), style.raster_style(legend))
    files.write_text(class_path.with_suffix(".sld"), style.raster_sld(legend))
    files.write_text(_side_file(class_path), style.category_names(names, table))
    write_dbf(class_path.with_name(class_path.name + ".vat.dbf"), table)
    # GDAL and QGIS keep statistics there: those of an earlier map would stretch this one wrongly.
    for path in others:
        _side_file(path).unlink(missing_ok=True)


def _side_file(path: Path) -> Path:
    """Where GDAL looks for what the raster itself cannot hold."""
    return path.with_name(path.name + ".aux.xml")
