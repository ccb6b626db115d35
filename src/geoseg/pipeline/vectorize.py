"""The step that turns the class raster into polygons, and the same for any class raster of geoseg's."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from geoseg.config import VectorsConfig
from geoseg.feedback import Progress
from geoseg.io.raster import rasters
from geoseg.pipeline.run import Record, Run
from geoseg.product.style import read_legend
from geoseg.product.vectors.polygons import Vectorized, vectorize


def vectorize_map(run: Run) -> Record:
    """Turn the class raster into polygons; the record says how their areas differ from its own."""
    with run.step("vectorize") as record:
        maps = run.folder.class_map, run.folder.confidence
        found = vectorize(
            maps,
            run.legend,
            run.polygon_files,
            run.progress,
            run.config.vectors,
            run_id(run.folder.class_map),
        )
        record.update(asdict(found), files=[path.name for path in run.polygon_files])
    return record


def run_id(class_map: Path) -> str:
    """The run that made a class raster, as the raster says; empty where it does not."""
    return rasters.tags(class_map).get("GEOSEG_RUN", "")


def vectorize_file(
    class_map: Path,
    confidence: Path | None,
    output: Path | None,
    config: VectorsConfig,
    progress: Progress,
) -> tuple[tuple[Path, ...], Vectorized]:
    """Polygons of any class raster of geoseg's; returns the files and what is in them.

    ``output`` says the format by its suffix; without it there is a file of each of the config's.
    """
    stem = class_map.stem.removesuffix("_class")
    confidence = confidence or class_map.with_name(f"{stem}_confidence.tif")
    beside = tuple(class_map.with_name(f"{stem}_crops.{suffix}") for suffix in config.formats)
    files = (output,) if output else beside
    legend = read_legend(class_map)
    maps = class_map, confidence
    return files, vectorize(maps, legend, files, progress, config, run_id(class_map))
