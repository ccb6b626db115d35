"""What people read on a terminal: a raster, a run's input, scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geoseg.feedback import Progress
from geoseg.grid import Grid
from geoseg.imagery.inspect import Inspection, inspect_raster
from geoseg.imagery.labels import open_labels
from geoseg.imagery.scenes import select
from geoseg.io import configs
from geoseg.tiling import Lattice, Plan

CONFIGS = {".yaml", ".yml"}


def describe(path: Path, progress: Progress) -> Iterator[str]:
    """Lines about a raster or, for a ``.yaml`` file, about a run's whole input."""
    if path.suffix.lower() in CONFIGS:
        return _run_lines(path)
    return _raster_lines(inspect_raster(path, progress))


def _raster_lines(found: Inspection) -> Iterator[str]:
    info = found.info
    yield f"{info.path}"
    yield f"  format      {info.driver}, {info.count} band(s) of {info.dtype}"
    yield from _grid_lines(info.grid)
    yield f"  nodata      {'none' if info.nodata is None else f'{info.nodata:g}'}"
    if found.bands:
        yield f"  valid       {found.valid_share:.2%} of the pixels"
        yield "  band                      lowest      highest         mean"
    for band in found.bands:
        if band.count:
            yield f"    {band.name[:20]:<20} {band.low:>11.5g} {band.high:>12.5g} {band.mean:>12.5g}"
        else:
            yield f"    {band.name[:20]:<20}  no valid pixel"
    for note in found.notes:
        yield f"  note: {note}"


def _grid_lines(grid: Grid) -> Iterator[str]:
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    yield f"  size        {grid.width} x {grid.height} pixels"
    yield f"  CRS         {crs_name(grid)}"
    yield f"  transform   {a:g}, {b:g}, {c:.10g}, {d:g}, {e:g}, {f:.10g}"


def crs_name(grid: Grid) -> str:
    """A CRS as people call it: authority code and name."""
    from pyproj import CRS  # noqa: PLC0415

    if grid.crs is None:
        return "none"
    crs = CRS.from_wkt(grid.crs)
    code = crs.to_authority()
    return f"{':'.join(code)} {crs.name}" if code else crs.name


def _run_lines(path: Path) -> Iterator[str]:
    """Scenes, grid, labels and blocks of a run; every check the run makes before it starts."""
    config = configs.load(path)
    scenes = select(config.imagery)
    grid = scenes[0].grid
    yield f"{path}: {config.title or config.name}"
    yield from _grid_lines(grid)
    yield f"  bands       {', '.join(scenes[0].bands)}"
    yield f"  dates       {len(scenes)}"
    for scene in scenes:
        names = ", ".join(file.name for file in scene.files[:3])
        more = f" and {len(scene.files) - 3} more" if len(scene.files) > 3 else ""
        yield f"    {scene.id:<14} {names}{more}"
    if config.labels and config.legend:
        labels = open_labels(config.labels, grid, config.make_legend())
        yield f"  labels      {labels.path}"
    stride = 2**config.model.depth
    p = config.predict
    plan = Plan(Lattice(grid.height, grid.width, p.core, p.margin, stride), p.block)
    yield f"  blocks      {len(plan)} of {p.block} px, cores of {p.core} px, margin {p.margin} px"


def score_lines(scores: dict[str, Any]) -> Iterator[str]:
    """The unseen score, its classes, and the baseline beside it."""
    unseen = scores.get("unseen")
    if not unseen:
        yield "no score: the config names no truth and holds no labels back"
        return
    yield f"{unseen['pixels']} unseen pixels ({unseen['source']})"
    for line in headline(scores):
        yield f"  {line}"
    yield f"  {'class':<24} {'pixels':>10} {'IoU':>7} {'precision':>10} {'recall':>7}"
    for entry in unseen["classes"]:
        figures = [entry[key] for key in ("iou", "precision", "recall")]
        shown = ["    -" if value is None else f"{value:.3f}" for value in figures]
        yield (
            f"  {entry['name'][:24]:<24} {entry['pixels']:>10} {shown[0]:>7} {shown[1]:>10} "
            f"{shown[2]:>7}"
        )


def headline(scores: dict[str, Any]) -> Iterator[str]:
    """One line per method: overall accuracy and mean IoU on unseen pixels."""
    rows = [("this map", scores.get("unseen")), ("random forest", scores.get("random_forest"))]
    for name, row in rows:
        if row:
            yield (
                f"{name:<14} overall accuracy {row['overall_accuracy']:.3f}, "
                f"mean IoU {row['mean_iou']:.3f}"
            )
