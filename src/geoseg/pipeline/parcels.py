"""Parcels against a map: as a step of a run, and for any class raster of geoseg's."""

from __future__ import annotations

from pathlib import Path

from geoseg.analysis.parcels.check import ParcelRequest, check_parcels, require_parcels
from geoseg.analysis.parcels.placing import Placer
from geoseg.analysis.parcels.summary import summary_lines
from geoseg.analysis.parcels.verdicts import Limits
from geoseg.feedback import Progress
from geoseg.io import files
from geoseg.pipeline.run import Record, Run

__all__ = [
    "Limits",
    "ParcelRequest",
    "check_file",
    "check_run",
    "default_confidence",
    "require_run",
]


def check_run(run: Run) -> Record:
    """The config's parcels against the run's map; an empty record where it names none."""
    request = _request(run)
    if request is None:
        # What an earlier config asked for is no part of this run.
        (run.folder.work / "parcels.json").unlink(missing_ok=True)
        return {}
    with run.step("parcels") as record:
        record["parcels"] = check_parcels(request, run.folder.parcels, run.progress)
    return record


def require_run(run: Run) -> None:
    """``ParcelError`` where the config's parcels cannot be used: told before the map is made."""
    request = _request(run)
    if request is not None:
        layer, _ = require_parcels(request, run.legend)
        Placer(layer, run.scenes[0].grid, str(run.scenes[0].files[0]))


def _request(run: Run) -> ParcelRequest | None:
    section = run.config.parcels
    if section is None:
        return None
    return ParcelRequest(
        run.folder.class_map,
        run.folder.confidence,
        section.file,
        section.layer,
        section.declared,
        section.mapping,
        Limits(section.above, section.share, section.mapped),
    )


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
