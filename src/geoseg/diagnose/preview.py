"""What people read on a terminal of a raster, or of a run's input."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import ConfinedError, GeosegError, RasterError
from geoseg.feedback import Progress
from geoseg.grid import Grid
from geoseg.imagery.flags import beside, flagged, named
from geoseg.imagery.inspect import Inspection, crs_notes, flag_note, inspect_raster
from geoseg.imagery.labels import left_out_lines
from geoseg.imagery.scenes import Scene
from geoseg.imagery.survey import Survey, survey
from geoseg.io import configs
from geoseg.io.raster import rasters
from geoseg.io.vector.vector_files import layers
from geoseg.legend import Legend
from geoseg.pipeline.checks import (
    plan_blocks,
    require_counts,
    require_input,
    require_labels,
    require_room,
)
from geoseg.pipeline.run import Run, RunFolder

if TYPE_CHECKING:
    from geoseg.imagery.labels import Labels
    from geoseg.learning.split import Split


from collections.abc import Sequence

from pyproj import CRS
from pyproj.exceptions import CRSError

from geoseg.io.vector.vector_files import Column, LayerInfo

CONFIGS = {".yaml", ".yml"}


def describe(path: Path, progress: Progress) -> Iterator[str]:
    """Lines about a raster or a vector file or, for a ``.yaml`` file, about a run's whole input."""
    if path.suffix.lower() in CONFIGS:
        return _run_lines(path, progress)
    try:
        return _raster_lines(inspect_raster(path, progress))
    except (RasterError, ConfinedError):
        found = layers(path)
        if not found:
            raise
        return vector_lines(path, found)


def _raster_lines(found: Inspection) -> Iterator[str]:
    info = found.info
    yield f"{info.path}"
    if not found.bands:
        yield f"  format      {info.driver}"
    else:
        yield f"  format      {info.driver}, {info.count} band(s) of {info.dtype}"
        yield from _grid_lines(info.grid)
        yield f"  nodata      {'none' if info.nodata is None else f'{info.nodata:g}'}"
        yield f"  valid       {_share(found.valid_share)} of the pixels"
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
    yield f"  CRS         {grid.crs_name}"
    yield f"  transform   {a:g}, {b:g}, {c:.10g}, {d:g}, {e:g}, {f:.10g}"


def _run_lines(path: Path, progress: Progress) -> Iterator[str]:
    """Scenes, grid, labels and blocks of a run; every check the run makes before it starts.

    What the counts explain is checked last, when they are told.
    """
    config = configs.load(path)
    run = Run(config, RunFolder.at(None, config.name), progress)
    scenes, legend = run.scenes, run.legend
    scheduler = os.environ.get("GEOSEG_SCHEDULER", "")
    labels = require_input(run, scheduler)
    require_room(run, scheduler)
    blocks = _blocks(run)
    split, refusal = _split(run, labels)
    counts = survey(scenes, labels, len(legend), progress, split.parts if split else None)
    yield f"{path}: {config.title or config.name}"
    yield from _grid_lines(scenes[0].grid)
    yield from _scene_lines(scenes, counts)
    if labels:
        yield from _label_lines(labels.path, legend, counts)
    yield f"  blocks      {blocks}"
    if labels:
        yield from (f"  note: {line}" for line in left_out_lines(labels.path, labels.left_out))
    for note in _run_notes(scenes, legend, counts):
        yield f"  note: {note}"
    if refusal and _unfinished(run, counts):
        yield f"  note: a run would end before it trains: {refusal}"
        return
    if refusal:
        raise refusal
    require_counts(run, counts)


def _unfinished(run: Run, counts: Survey) -> bool:
    """Whether labelling has not come far enough for any split: that is told, and is no mistake."""
    return run.config.split.by == "field" and max(counts.fields) < 2


def _split(run: Run, labels: Labels | None) -> tuple[Split | None, GeosegError | None]:
    """The split of the labels, or why there is none."""
    if labels is None:
        return None, None
    try:
        return require_labels(run, labels), None
    except GeosegError as error:
        return None, error


def _blocks(run: Run) -> str:
    """The lattice as the config gives it; what is left open is decided with the model at hand."""
    wanted, plan = run.config.predict, plan_blocks(run)
    known = run.config.model.named or wanted.margin != "auto"
    margin = f"{plan.lattice.margin} px" if known else "as the model needs"
    return f"{len(plan)} of {plan.block} px, cores of {wanted.core} px, margin {margin}"


def _scene_lines(scenes: tuple[Scene, ...], counts: Survey) -> Iterator[str]:
    """The dates and how much of each can be used."""
    bands = scenes[0].bands
    yield f"  bands       {len(bands)}: {', '.join(bands)}"
    yield f"  dates       {len(scenes)}; usable pixels (data in every band, no cloud) and files:"
    for scene, valid in zip(scenes, counts.valid, strict=True):
        names = ", ".join(file.name for file in scene.files[:3])
        more = f" and {len(scene.files) - 3} more" if len(scene.files) > 3 else ""
        yield f"    {scene.id:<14} {_share(valid / counts.pixels):>8}  {names}{more}"
    yield f"  mapped      {_share(counts.mapped / counts.pixels)} of the pixels: usable on some date"


def _label_lines(path: Path, legend: Legend, counts: Survey) -> Iterator[str]:
    """Labelled pixels, and fields where the labels tell them, per class."""
    total = sum(counts.labelled)
    yield f"  labels      {path}: {total} pixels, {_share(total / counts.pixels)} of the area"
    yield f"    {'code':<5} {'class':<24} {'pixels':>10} {'fields':>8}"
    for entry, pixels, fields in zip(legend, counts.labelled, counts.fields, strict=True):
        yield f"    {entry.code:<5} {entry.name[:24]:<24} {pixels:>10} {fields or '-':>8}"


def _run_notes(scenes: tuple[Scene, ...], legend: Legend, counts: Survey) -> Iterator[str]:
    """What the figures mean for the run."""
    yield from crs_notes(scenes[0].grid)
    empty = [s.id for s, valid in zip(scenes, counts.valid, strict=True) if not valid]
    if not counts.mapped:
        yield "no date has a usable pixel: there is nothing to map; check nodata and masks"
    elif empty:
        yield (
            f"no usable pixel on {', '.join(empty)}: nothing can be learnt from it; list the other "
            "days in 'imagery.dates' to leave it out"
        )
    bare = [e.name for e, pixels in zip(legend, counts.labelled, strict=False) if not pixels]
    if bare:
        yield f"no label of {', '.join(bare)}: the model cannot learn it, take it out of 'legend'"
    if counts.without_data:
        yield f"{counts.without_data} labelled pixels have no data on any date and are not used"
    for name, why in flagged(list(scenes[0].bands), list(counts.codes)).items():
        yield flag_note(name, why)
    if not any(scene.mask for scene in scenes):
        yield from _unused_masks(scenes)


def _unused_masks(scenes: tuple[Scene, ...]) -> Iterator[str]:
    """Bands and files, not read, that look like masks."""
    remedy = (
        "name them with 'imagery.masks' (folder, pattern, and the values not to use as 'invalid'), "
        "or with 'mask' under 'imagery.scenes'"
    )
    first = scenes[0]
    for path in dict.fromkeys(asset.path for asset in first.assets):
        read = {asset.number for asset in first.assets if asset.path == path}
        left = [band for n, band in enumerate(rasters.describe(path).bands, 1) if n not in read]
        bands = ", ".join(band for band in left if named(band))
        if bands:
            yield (
                f"{path.name} has {bands}, by name of quality, which masks nothing: to use it, take "
                f"it out into files of its own (gdal_translate -b) and {remedy}"
            )
    files = beside({path for scene in scenes for path in scene.files})
    if files:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        yield (
            f"{files[0].name}{more} beside the imagery, by name of quality, masks nothing: to use "
            f"such files, {remedy}"
        )


def _share(part: float) -> str:
    """Per cent; what is neither nothing nor all never looks so."""
    if 0 < part < 1:
        part = min(max(part, 0.0001), 0.9999)
    return f"{part:.2%}"


def vector_lines(path: Path, layers: Sequence[LayerInfo]) -> Iterator[str]:
    """Its layers one by one."""
    yield f"{path}: a vector file of {len(layers)} layer(s), no raster"
    for layer in layers:
        yield f"  layer       {layer.name}"
        yield f"  rows        {layer.rows}"
        yield f"  geometry    {layer.geometry}"
        yield f"  CRS         {_crs_name(layer.crs)}"
        yield f"  columns     {len(layer.columns)}; the first values of each:"
        yield from (_column_line(column) for column in layer.columns)


def _column_line(column: Column) -> str:
    shown = (value if len(value) <= 24 else f"{value[:23]}…" for value in column.values)
    return f"    {column.name[:20]:<20} {column.kind[:14]:<14} {', '.join(shown)}".rstrip()


def _crs_name(crs: str | None) -> str:
    if not crs:
        return "none"
    try:
        parsed = CRS.from_user_input(crs)
    except CRSError:
        return crs
    code = parsed.to_authority()
    return f"{':'.join(code)} {parsed.name}" if code else str(parsed.name)
