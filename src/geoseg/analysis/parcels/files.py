"""Parcels against any class raster of geoseg's, into a file beside it."""

from __future__ import annotations

from pathlib import Path

from geoseg.analysis.parcels.check import ParcelRequest, check_parcels
from geoseg.analysis.parcels.summary import summary_lines
from geoseg.feedback import Progress
from geoseg.io import files


def check_file(
    request: ParcelRequest, target: Path | None, progress: Progress
) -> tuple[Path, tuple[str, ...]]:
    """Parcels against any map; returns where they are, and the summary in lines.

    The summary is also beside the table, as ``*.summary.json``.
    """
    target = target or default_target(request.class_map)
    found = check_parcels(request, target, progress)
    files.write_json(target.with_suffix(".summary.json"), found)
    return target, tuple(summary_lines(found))


def default_target(class_map: Path) -> Path:
    """``x_parcels.gpkg`` beside ``x_class.tif``."""
    return class_map.with_name(f"{class_map.stem.removesuffix('_class')}_parcels.gpkg")


def default_confidence(class_map: Path) -> Path:
    """``x_confidence.tif`` beside ``x_class.tif``."""
    return class_map.with_name(f"{class_map.stem.removesuffix('_class')}_confidence.tif")
