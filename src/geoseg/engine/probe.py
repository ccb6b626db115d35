"""One pixel through the engine, on the path of its block: what went in, and what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.engine.block import probabilities
from geoseg.engine.inputs import preprocess, to_device
from geoseg.engine.job import Job
from geoseg.engine.stitch import decide
from geoseg.engine.worker_context import worker_context_of
from geoseg.grid import Window
from geoseg.imagery.cube import read_cube
from geoseg.imagery.scenes import Asset, Mask, Scene
from geoseg.io.raster import rasters
from geoseg.legend import NODATA
from geoseg.model.bundle import ModelCard
from geoseg.tiling import Block, Lattice, Patch


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the networks make of a pixel."""

    probabilities: NDArray[np.float32] | None
    """``[K]``; None where no date is valid, so that no network is asked."""
    layers: NDArray[np.uint8]
    """``[bands]``: class code, confidence, optional layers, as a block's file holds them."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What one date shows of a pixel."""

    scene: Scene
    values: NDArray[Any]
    """``[C]`` in the files' number type."""
    inputs: NDArray[np.float32]
    """``[networks, C]``: what each network is given."""
    valid: bool
    reasons: tuple[str, ...]
    """Why it is not valid."""


def block_at(job: Job, row: int, col: int) -> Block:
    """The block that writes the pixel."""
    return job.plan.block_at(row // job.block, col // job.block)


def patches_at(lattice: Lattice, row: int, col: int) -> tuple[Patch, ...]:
    """The patches whose predictions make the pixel, row by row: one, where nothing is mixed."""
    pixel = Window(row, col, 1, 1)
    side = lattice.core
    core = Window(row // side * side, col // side * side, side, side).clip(lattice.window)
    return tuple(p for p in lattice.patches(core) if p.kept.clip(pixel) == pixel)


def predict_pixel(job_file: str, row: int, col: int) -> Prediction:
    """The pixel as its block is predicted, without the other patches of that block.

    On a CPU the same numbers, bit for bit: there patches go through the network one at a time.
    Raises ``RasterError``, ``ChangedInputError`` or ``ModelError``, as a block does.
    """
    place = worker_context_of(Path(job_file), 1)
    pixel, patches = Window(row, col, 1, 1), patches_at(place.job.plan.lattice, row, col)
    block = Block(row, col, pixel, _span([patch.extent for patch in patches]))
    cube = place.read(block.extent)
    mapped = cube.mapped[pixel.within(block.extent)]
    if not mapped.any():
        return Prediction(None, np.full(place.job.bands, NODATA, dtype=np.uint8))
    with probabilities(place, block, patches, cube) as found:
        layers = decide(found, mapped, place.ensemble.legend, place.job.layers)
        return Prediction(found[:, 0, 0].cpu().numpy(), layers[:, 0, 0])


def _span(windows: Sequence[Window]) -> Window:
    """From the first window's corner to the last one's."""
    first, last = windows[0], windows[-1]
    return Window(first.row, first.col, last.row_stop - first.row, last.col_stop - first.col)


def sights(
    job: Job, scenes: Sequence[Scene], cards: Sequence[ModelCard], row: int, col: int
) -> tuple[Sight, ...]:
    """The pixel on every date; ``cards`` are those of the job's networks. Raises ``RasterError``."""
    pixel = Window(row, col, 1, 1)
    cube = read_cube(scenes, pixel)
    raw, precision = to_device(cube, torch.device("cpu")), job.pixels.precision
    inputs = [preprocess(raw, card.normalization, 1, precision).float().numpy() for card in cards]
    by_date = np.stack(inputs).reshape(len(cards), *cube.values.shape[:2])
    return tuple(
        Sight(
            scene,
            cube.values[number, :, 0, 0],
            by_date[:, number],
            valid := bool(cube.valid[number, 0, 0]),
            () if valid else tuple(_reasons(scene, pixel)),
        )
        for number, scene in enumerate(scenes)
    )


def _reasons(scene: Scene, pixel: Window) -> Iterator[str]:
    """Why a date is not valid, in the order in which ``read_cube`` asks."""
    for path, assets in groupby(scene.assets, key=lambda asset: asset.path):
        yield from _missing(path, list(assets), scene.nodata, pixel)
    if scene.mask:
        yield from _masked(scene.mask, pixel)


def _missing(
    path: Path, assets: Sequence[Asset], nodata: float | None, pixel: Window
) -> Iterator[str]:
    numbers = [asset.number for asset in assets]
    values, present = rasters.read(path, numbers, pixel, nodata)
    if present.all():
        return
    there = rasters.has_numbers(path, numbers, pixel, nodata)
    found = [
        f"nodata ({value}) in {asset.band}"
        for asset, value, known in zip(assets, values[:, 0, 0], there[:, 0, 0], strict=True)
        if not known
    ]
    yield from found or [f"no data by the mask of {path.name}"]


def _masked(mask: Mask, pixel: Window) -> Iterator[str]:
    values, present = rasters.read(mask.path, [1], pixel, None)
    value = values[0, 0, 0]
    if not present.all():
        yield f"no data in the mask {mask.path.name}"
    elif value in mask.invalid:
        yield f"masked with {value} in {mask.path.name}"
