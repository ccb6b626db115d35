"""Parcels against a map: as a step of a run, and for any class raster of geoseg's."""

from __future__ import annotations

from pathlib import Path

from geoseg.feedback import Progress
from geoseg.io import files
from geoseg.operations.run import Record, Run
from geoseg.product.parcel_summary import summary_lines
from geoseg.product.parcels import ParcelRequest, check_parcels
from geoseg.product.verdicts import Limits

__all__ = ["Limits", "ParcelRequest", "check_file", "check_run", "default_confidence"]


def check_run(run: Run) -> Record:
    """The config's parcels against the run's map; an empty record where it names none."""
    section = run.config.parcels
    if section is None:
        return {}
    with run.step("parcels") as record:
        request = ParcelRequest(
            run.folder.class_map,
            run.folder.confidence,
            section.file,
            section.layer,
            section.declared,
            section.mapping,
            Limits(section.above, section.share, section.mapped),
        )
        record["parcels"] = check_parcels(request, run.folder.parcels, run.progress)
    return record


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
