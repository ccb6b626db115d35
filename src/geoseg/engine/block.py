"""One block, from reading to receipt. The same function here, on a local cluster, on remote workers.

Idempotent: killed at any moment and run again, it writes the same bytes. The receipt is written
after the bytes are safe, so a block with a receipt is done and one without is not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geoseg.engine.inputs import to_device
from geoseg.engine.job import Job
from geoseg.engine.stitch import decide, stitch
from geoseg.engine.worker_context import WorkerContext, worker_context_of
from geoseg.grid import Grid, Window
from geoseg.imagery.cube import Cube
from geoseg.io import files
from geoseg.io.raster import geotiffs
from geoseg.legend import NODATA
from geoseg.tiling import Block, Patch


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
    """Where a block's bands (class code, confidence, optional layers) go."""
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


def predict_block(
    job_file: str, row: int, col: int, concurrency: int = 1, clock: Clock | None = None
) -> Receipt:
    """Predict the block in row ``row`` and column ``col`` of the job's plan.

    For any number of threads of one process: ``concurrency`` of them compute, the others read or write.
    ``clock`` is for whoever wants to know what it cost. Raises ``RasterError`` for a damaged input,
    ``OutputError`` where the result has no room.
    """
    clock = clock or Clock()
    place = worker_context_of(Path(job_file), concurrency)
    job, block = place.job, place.job.plan.block_at(row, col)
    done = read_receipt(job, block)
    if done:
        return done
    receipt = _write_block(job, block, _predict(place, block, clock), place.scenes[0].grid)
    clock.lap(WRITE)
    return receipt


def _predict(place: WorkerContext, block: Block, clock: Clock) -> NDArray[np.uint8]:
    """Class code, confidence and what else the job wants of the block's core, ``uint8[N, H, W]``."""
    job, cube = place.job, place.read(block.extent)
    clock.bytes_read = cube.values.nbytes
    clock.lap(READ)
    mapped = cube.mapped[block.core.within(block.extent)]
    if not mapped.any():
        return np.full((job.bands, *block.core.shape), NODATA, dtype=np.uint8)
    patches = [p for p in job.plan.lattice.patches(block.core) if _is_mapped(cube, block, p)]
    with probabilities(place, block, patches, cube, clock) as found:
        result = decide(found, mapped, place.ensemble.legend, job.layers)
    clock.lap(PREDICT)
    return result


@contextmanager
def probabilities(
    place: WorkerContext,
    block: Block,
    patches: Sequence[Patch],
    cube: Cube,
    clock: Clock | None = None,
) -> Iterator[Tensor]:
    """Class probabilities ``float32[K, h, w]`` of the block's core, of ``patches`` alone.

    ``cube`` is what the block reads. The body has one of the networks at once that the
    worker context allows; ``clock`` hears how long it waited for that.
    """
    ensemble = place.ensemble
    raw = to_device(cube, ensemble.device)

    def forward(extents: Sequence[Window]) -> Tensor:
        if place.stopped.is_set():
            raise CancelledError
        return ensemble.probabilities([raw[extent.within(block.extent)] for extent in extents])

    with place.network:
        if clock:
            clock.lap(WAIT)
        yield stitch(block.core, place.job.plan.lattice, patches, forward, place.job.batch)


def _is_mapped(cube: Cube, block: Block, patch: Patch) -> bool:
    """Whether a patch is kept for any pixel with data: the others need no network."""
    kept = patch.kept.clip(block.core)
    rows, cols = kept.within(block.extent)
    return bool(cube.valid[:, rows, cols].any())


def _write_block(job: Job, block: Block, result: NDArray[np.uint8], grid: Grid) -> Receipt:
    """Bytes first, receipt second, each renamed into place whole."""
    path = part_path(job.folder, block)
    window = Window(0, 0, *block.core.shape)
    moved = grid.transform @ type(grid.transform).translation(block.core.col, block.core.row)
    spec = geotiffs.RasterSpec("uint8", len(result), NODATA, ("class", "confidence"), quick=True)
    with geotiffs.create(path, Grid(grid.crs, moved, *window.shape), spec) as target:
        target.write(result, window)
    mapped = int((result[0] != NODATA).sum())
    receipt = Receipt(block.id, job.fingerprint, mapped, files.sha256(path))
    files.write_json(path.with_suffix(".json"), asdict(receipt))
    return receipt


READ, WAIT, PREDICT, WRITE = "read", "wait", "predict", "write"
STAGES = (READ, WAIT, PREDICT, WRITE)
"""Of a block. ``wait``: it is read, and other blocks have the networks."""


@dataclass(frozen=True, slots=True)
class Spent:
    """The clock of a finished block, as it travels to whoever counts."""

    seconds: dict[str, float]
    bytes_read: int


@dataclass(slots=True)
class Clock:
    """Runs from its making; each ``lap`` gives what has passed since the last one to a stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    bytes_read: int = 0
    """Decoded pixels of all dates, margins included; what the files hold may be compressed."""
    _at: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str) -> None:
        """The stage is over."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._at
        self._at = now

    def spent(self) -> Spent:
        """What it shows, to the tenth of a millisecond."""
        seconds = {stage: round(value, 4) for stage, value in self.seconds.items()}
        return Spent(seconds, self.bytes_read)
