"""Writes a synthetic season as files, block by block: images, cloud masks, truth and labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from geoseg.feedback import Progress, Step
from geoseg.grid import Window
from geoseg.io.raster import geotiffs
from geoseg.legend import NODATA
from geoseg.synthetic.labels import write_labels
from geoseg.synthetic.phenology import BANDS, LEGEND
from geoseg.synthetic.scene import ground, image
from geoseg.synthetic.sky import OUTSIDE
from geoseg.synthetic.spec import SceneSpec

_OPEN_DATES = 24
"""Dates written side by side: each keeps two files open, and the ground is made once for all."""


@dataclass(frozen=True)
class SyntheticScene:
    """Where the files of a synthetic season are."""

    folder: Path
    days: tuple[date, ...]
    images: tuple[Path, ...]
    """One image a date, in order: bands blue, green, red, nir, swir, uint16 x 10000, 0 = nodata."""
    clouds: tuple[Path, ...]
    """One mask a date, in order: 0 clear, 1 cloud, 2 shadow, 255 outside the swath."""
    labels: Path
    """Polygons of the fields whose crop is given."""
    truth: Path
    """Crop of every pixel; training never reads it."""
    labelled_fields: int


def write_scene(
    folder: Path, spec: SceneSpec, progress: Progress, block: int = 512
) -> SyntheticScene:
    """Write a synthetic season into ``folder`` and say where everything is.

    ``imagery/DATE.tif``, ``clouds/DATE.tif``, ``labels.gpkg`` and ``truth.tif`` on one grid. Memory is
    that of a block of ``block`` pixels a side, whatever the size of the scene; the pixels do not
    depend on it. Files appear only when they are whole. Raises ``OutputError``.
    """
    days = spec.days()
    names = [f"{day.isoformat()}.tif" for day in days]
    images = tuple(folder / "imagery" / name for name in names)
    clouds = tuple(folder / "clouds" / name for name in names)
    truth, labels = folder / "truth.tif", folder / "labels.gpkg"
    blocks = tuple(_blocks(spec, block))
    with progress.start("synth", len(blocks) * len(days), "images of blocks") as step:
        for first in range(0, len(days), _OPEN_DATES):
            numbers = range(first, min(first + _OPEN_DATES, len(days)))
            with ExitStack() as stack:
                dates = [_open_date(stack, spec, i, images[i], clouds[i]) for i in numbers]
                map_ = _open_truth(stack, spec, truth) if first == 0 else None
                for window in blocks:
                    _write_block(spec, window, dates, map_, step)
    count = write_labels(labels, spec)
    progress.say(f"synth: {len(days)} dates and {count} labelled fields in {folder}")
    return SyntheticScene(folder, days, images, clouds, labels, truth, count)


def _blocks(spec: SceneSpec, side: int) -> Iterator[Window]:
    for row in range(0, spec.height, side):
        for col in range(0, spec.width, side):
            yield Window(row, col, side, side).clip(spec.grid.window)


@dataclass(frozen=True)
class _Date:
    """The open files of one date."""

    index: int
    image: geotiffs.RasterWriter
    clouds: geotiffs.RasterWriter


def _open_date(stack: ExitStack, spec: SceneSpec, index: int, values: Path, clouds: Path) -> _Date:
    image_spec = geotiffs.RasterSpec("uint16", count=len(BANDS), nodata=0, bands=BANDS)
    mask_spec = geotiffs.RasterSpec("uint8", nodata=OUTSIDE, bands=("clouds",))
    return _Date(
        index,
        stack.enter_context(geotiffs.create(values, spec.grid, image_spec)),
        stack.enter_context(geotiffs.create(clouds, spec.grid, mask_spec)),
    )


def _open_truth(stack: ExitStack, spec: SceneSpec, path: Path) -> geotiffs.RasterWriter:
    classes = ", ".join(f"{entry.code} {entry.name}" for entry in LEGEND)
    truth_spec = geotiffs.RasterSpec(
        "uint8",
        nodata=NODATA,
        bands=("crop",),
        colormap=LEGEND.colormap,
        tags=(("classes", classes),),
    )
    return stack.enter_context(geotiffs.create(path, spec.grid, truth_spec))


def _write_block(
    spec: SceneSpec,
    window: Window,
    dates: list[_Date],
    truth: geotiffs.RasterWriter | None,
    step: Step,
) -> None:
    """One block of every open file; the ground is made once for all dates."""
    place = ground(spec, window)
    if truth is not None:
        truth.write(place.truth, window)
    for entry in dates:
        picture, over = image(spec, place, entry.index)
        entry.image.write(picture, window)
        entry.clouds.write(over.mask, window)
        step.advance()
