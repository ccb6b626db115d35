"""From finished blocks to the two rasters people load: class codes and confidence.

Blocks are gathered one at a time into plain tiled GeoTIFFs beside the target, which then become
cloud-optimized ones. Pixels alone decide the bytes: how the grid was cut into blocks leaves no
trace.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import RasterError
from geoseg.feedback import Progress
from geoseg.grid import Grid, Window
from geoseg.io import files, geotiffs, rasters
from geoseg.legend import NODATA, Legend
from geoseg.product import style
from geoseg.product.style import read_legend

__all__ = ["mosaic", "read_legend"]

Part = tuple[Window, Path]
"""Where a block lies, and its file: uint8 GeoTIFF of the block's size, codes and confidence."""


def mosaic(
    parts: Sequence[Part], grid: Grid, legend: Legend, paths: Sequence[Path], progress: Progress
) -> None:
    """Write the class and the confidence raster, cloud-optimized, with their style files.

    ``paths`` are those of the class and the confidence raster and, where it is wanted, of the one
    with the percent of each class. Each part holds codes in band 1, confidence in percent in band 2
    and then the percent of each class, 255 for nodata in all. Pixels that no part covers become
    nodata. One part is in memory at a time. The class raster has
    the legend's colours, names (``.aux.xml``), QGIS style (``.qml``) and itself (``GEOSEG_LEGEND``).
    Raises ``RasterError`` for a damaged part, ``OutputError`` where there is no room.
    """
    layers = _layers(legend)[: len(paths)]
    with ExitStack() as stack:
        plain = [stack.enter_context(_temporary(path)) for path in paths]
        _gather(parts, grid, list(zip(plain, layers, strict=True)), progress)
        # The class raster last: where it is, the others are too.
        for source, path, layer in reversed(list(zip(plain, paths, layers, strict=True))):
            geotiffs.to_cog(source, path, layer.resampling)
    _write_side_files(legend, paths[0], paths[1])


@dataclass(frozen=True, slots=True)
class _Layer:
    """One raster made of the parts: which of their bands, and what it looks like."""

    bands: slice
    spec: geotiffs.RasterSpec
    resampling: Literal["mode", "average"]


def _layers(legend: Legend) -> list[_Layer]:
    """Class, confidence, probabilities: in this order in the parts' bands."""
    codes = geotiffs.RasterSpec(
        "uint8",
        nodata=NODATA,
        bands=("crop class",),
        colormap=legend.colormap,
        tags=((style.LEGEND_TAG, style.legend_tag(legend)),),
        compressed=False,
    )
    confidence = geotiffs.RasterSpec(
        "uint8", nodata=NODATA, bands=("confidence (percent)",), compressed=False
    )
    names = tuple(f"{entry.name} (percent)" for entry in legend)
    shares = geotiffs.RasterSpec("uint8", len(names), NODATA, names, compressed=False)
    return [
        _Layer(slice(0, 1), codes, "mode"),
        _Layer(slice(1, 2), confidence, "average"),
        _Layer(slice(2, None), shares, "average"),
    ]


def _gather(
    parts: Sequence[Part], grid: Grid, layers: Sequence[tuple[Path, _Layer]], progress: Progress
) -> None:
    """Copy the parts into plain rasters, one for each layer."""
    count = layers[-1][1].bands.start + layers[-1][1].spec.count
    with progress.start("mosaic", len(parts), "blocks") as step, ExitStack() as stack:
        targets = [
            (stack.enter_context(geotiffs.create(path, grid, layer.spec)), layer)
            for path, layer in layers
        ]
        for window, path in parts:
            values = _read_part(window, path, count)
            for target, layer in targets:
                target.write(values[layer.bands], window)
            step.advance()


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A name beside the target, on the same disk; removed at the end."""
    path = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:8]}.part.tif")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _read_part(window: Window, path: Path, count: int) -> NDArray[np.uint8]:
    """``uint8[count, height, width]`` of a block file, checked against its window."""
    info = rasters.describe(path)
    if (info.grid.height, info.grid.width, info.dtype) != (*window.shape, "uint8") or (
        info.count < count
    ):
        raise RasterError(
            f"{path}: {info.count} band(s) of {info.dtype}, {info.grid.width} x {info.grid.height} "
            f"pixels; this block is {count} bands of uint8, {window.width} x {window.height}. Delete "
            "the file and run again: the block is then predicted anew."
        )
    values, _ = rasters.read(path, range(1, count + 1), Window(0, 0, *window.shape))
    return values


def _write_side_files(legend: Legend, class_path: Path, confidence_path: Path) -> None:
    files.write_text(class_path.with_suffix(".qml"), style.raster_style(legend))
    files.write_text(_side_file(class_path), style.category_names(legend))
    # GDAL and QGIS keep statistics there: those of an earlier map would stretch this one wrongly.
    _side_file(confidence_path).unlink(missing_ok=True)


def _side_file(path: Path) -> Path:
    """Where GDAL looks for what the raster itself cannot hold."""
    return path.with_name(path.name + ".aux.xml")
