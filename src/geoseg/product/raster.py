"""From finished blocks to the two rasters people load: class codes and confidence.

Blocks are gathered one at a time into plain tiled GeoTIFFs beside the target, which then become
cloud-optimized ones. Pixels alone decide the bytes: how the grid was cut into blocks leaves no
trace.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import RasterError
from geoseg.feedback import Progress
from geoseg.grid import Grid, Window
from geoseg.io import files, rasters
from geoseg.legend import NODATA, Legend
from geoseg.product import style
from geoseg.product.style import read_legend

__all__ = ["mosaic", "read_legend"]

Part = tuple[Window, Path]
"""Where a block lies, and its file: uint8 GeoTIFF of the block's size, codes and confidence."""


def mosaic(
    parts: Iterable[Part],
    grid: Grid,
    legend: Legend,
    class_path: Path,
    confidence_path: Path,
    progress: Progress,
) -> None:
    """Write the class and the confidence raster, cloud-optimized, with their style files.

    Each part holds codes in band 1 and confidence in percent in band 2, 255 for nodata in both.
    Pixels that no part covers become nodata. One part is in memory at a time. The class raster has
    the legend's colours, names (``.aux.xml``), QGIS style (``.qml``) and itself (``GEOSEG_LEGEND``).
    Raises ``RasterError`` for a damaged part, ``OutputError`` where there is no room.
    """
    ordered = list(parts)
    with _temporary(class_path) as codes, _temporary(confidence_path) as confidence:
        with progress.start("mosaic", len(ordered), "blocks") as step, ExitStack() as stack:
            class_raster = stack.enter_context(rasters.create(codes, grid, _class_spec(legend)))
            percent = stack.enter_context(rasters.create(confidence, grid, _CONFIDENCE))
            for window, path in ordered:
                values = _read_part(window, path)
                class_raster.write(values[0], window)
                percent.write(values[1], window)
                step.advance()
        rasters.to_cog(confidence, confidence_path, "average")
        rasters.to_cog(codes, class_path, "mode")
    _write_side_files(legend, class_path, confidence_path)


_CONFIDENCE = rasters.RasterSpec("uint8", nodata=NODATA, bands=("confidence (percent)",))


def _class_spec(legend: Legend) -> rasters.RasterSpec:
    return rasters.RasterSpec(
        "uint8",
        nodata=NODATA,
        bands=("crop class",),
        colormap=legend.colormap,
        tags=((style.LEGEND_TAG, style.legend_tag(legend)),),
    )


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A name beside the target, on the same disk; removed at the end."""
    path = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:8]}.tif")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _read_part(window: Window, path: Path) -> NDArray[np.uint8]:
    """``uint8[2, height, width]`` of a block file, checked against its window."""
    info = rasters.describe(path)
    if (info.grid.height, info.grid.width, info.count, info.dtype) != (*window.shape, 2, "uint8"):
        raise RasterError(
            f"{path}: {info.count} band(s) of {info.dtype}, {info.grid.width} x {info.grid.height} "
            f"pixels; this block is 2 bands of uint8, {window.width} x {window.height}. Delete the "
            "file and run again: the block is then predicted anew."
        )
    values, _ = rasters.read(path, [1, 2], Window(0, 0, *window.shape))
    return values


def _write_side_files(legend: Legend, class_path: Path, confidence_path: Path) -> None:
    files.write_text(class_path.with_suffix(".qml"), style.raster_style(legend))
    files.write_text(_side_file(class_path), style.category_names(legend))
    # GDAL and QGIS keep statistics there: those of an earlier map would stretch this one wrongly.
    _side_file(confidence_path).unlink(missing_ok=True)


def _side_file(path: Path) -> Path:
    """Where GDAL looks for what the raster itself cannot hold."""
    return path.with_name(path.name + ".aux.xml")
