"""One block, from reading to receipt. The same function here, on a local cluster, on remote workers.

Idempotent: killed at any moment and run again, it writes the same bytes. The receipt is written
after the bytes are safe, so a block with a receipt is done and one without is not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.engine.job import Job, open_job
from geoseg.engine.stitch import decide, stitch
from geoseg.grid import Grid, Window
from geoseg.imagery.cube import read_cube
from geoseg.imagery.features import to_features
from geoseg.imagery.scenes import Scene
from geoseg.io import files, rasters
from geoseg.legend import NODATA
from geoseg.model.predictor import load_predictor
from geoseg.tiling import Block


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that a block's bytes are safe."""

    id: str
    fingerprint: str
    pixels: int
    """Pixels that got a class."""
    sha256: str
    """Of the block's file."""


def part_path(folder: Path, block: Block) -> Path:
    """Where a block's two bands (class code, confidence) go."""
    return folder / f"{block.id}.tif"


def read_receipt(job: Job, block: Block) -> Receipt | None:
    """The receipt of a finished block; None where there is none for this very job and file."""
    path = part_path(job.folder, block)
    content = files.read_json(path.with_suffix(".json"))
    if not isinstance(content, dict) or content.get("fingerprint") != job.fingerprint:
        return None
    if not path.is_file() or files.sha256(path) != content.get("sha256"):
        return None
    return Receipt(**content)


def predict_block(job_file: str, row: int, col: int) -> Receipt:
    """Predict the block in row ``row`` and column ``col`` of the job's plan.

    Raises ``RasterError`` for a damaged input, ``OutputError`` where the result has no room.
    """
    job, scenes = open_job(Path(job_file))
    block = job.plan.block_at(row, col)
    done = read_receipt(job, block)
    return done or _write_block(job, block, _predict(job, scenes, block), scenes[0].grid)


def _predict(job: Job, scenes: tuple[Scene, ...], block: Block) -> NDArray[np.uint8]:
    """Class code and confidence of the block's core, ``uint8[2, H, W]``."""
    torch.set_num_threads(job.threads)
    card, predictor = load_predictor(job.bundle, job.bundle_sha256, job.precision)
    cube = read_cube(scenes, block.extent)
    mapped = cube.mapped[block.core.within(block.extent)]
    if not mapped.any():
        return np.full((2, *block.core.shape), NODATA, dtype=np.uint8)
    features, _ = to_features(cube, card.normalization)
    probabilities = stitch(
        features, block.extent, block.core, job.plan.lattice, predictor.probabilities
    )
    return decide(probabilities, mapped, card.legend)


def _write_block(job: Job, block: Block, result: NDArray[np.uint8], grid: Grid) -> Receipt:
    """Bytes first, receipt second, each renamed into place whole."""
    path = part_path(job.folder, block)
    window = Window(0, 0, *block.core.shape)
    moved = grid.transform @ type(grid.transform).translation(block.core.col, block.core.row)
    spec = rasters.RasterSpec("uint8", 2, NODATA, ("class", "confidence"))
    with rasters.create(path, Grid(grid.crs, moved, *window.shape), spec) as target:
        target.write(result, window)
    mapped = int((result[0] != NODATA).sum())
    receipt = Receipt(block.id, job.fingerprint, mapped, files.sha256(path))
    files.write_json(path.with_suffix(".json"), asdict(receipt))
    return receipt
