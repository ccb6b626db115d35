"""Which device and number format a run uses, found where its blocks will be predicted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from geoseg.config import ImageryConfig
from geoseg.engine import accelerator
from geoseg.engine.ensemble import Ensemble, EnsembleSpec
from geoseg.engine.inputs import to_device
from geoseg.errors import GeosegError
from geoseg.grid import Grid, Window
from geoseg.imagery.cube import Cube, read_cube
from geoseg.imagery.scenes import select
from geoseg.model.context import Precision
from geoseg.model.precision import native

SAMPLES, SIDE = 4, 256
"""Patches compared, and their side in pixels."""


@dataclass(frozen=True, slots=True)
class PrecisionRequest:
    """What the config asks for."""

    imagery: ImageryConfig
    bundles: tuple[tuple[Path, str], ...]
    precision: Precision | Literal["auto"]
    agreement: float
    flips: bool = False


@dataclass(frozen=True, slots=True)
class PrecisionDecision:
    """What the machine gives."""

    precision: Precision
    device: Literal["cpu", "cuda"]
    agreement: float | None = None
    """Share of pixels with the same class in bf16 as in fp32; None where they were not compared."""
    device_memory: int | None = None
    """Free bytes of the GPU; None on a CPU."""


def choose(wish: PrecisionRequest) -> PrecisionDecision | GeosegError:
    """Device and number format of this process; a user's mistake is an answer, as of a block.

    ``auto`` takes bf16 where the device computes it natively and, on patches of the run's own
    imagery, it gives at least ``wish.agreement`` of the pixels the class that fp32 gives them.
    """
    device, free = accelerator.device(), accelerator.device_memory()
    if wish.precision != "auto":
        return PrecisionDecision(wish.precision, device, device_memory=free)
    if native(torch.device(device)) == "fp32":
        return PrecisionDecision("fp32", device, device_memory=free)
    try:
        same = _agreement(wish, device)
    except GeosegError as error:
        return error
    precision: Precision = "bf16" if same is None or same >= wish.agreement else "fp32"
    return PrecisionDecision(precision, device, same, free)


def _agreement(wish: PrecisionRequest, device: Literal["cpu", "cuda"]) -> float | None:
    """Share of mapped pixels with one class in both formats; None where the patches have no data."""
    torch.set_num_threads(1)
    formats: tuple[Precision, Precision] = ("fp32", "bf16")
    both = [
        Ensemble.load(EnsembleSpec(wish.bundles, precision, device, wish.flips))
        for precision in formats
    ]
    same = total = 0
    for cube in _samples(wish.imagery):
        raw = to_device(cube, both[0].device)
        first, second = (e.probabilities([raw])[0].argmax(dim=0).cpu().numpy() for e in both)
        same += int((first == second)[cube.mapped].sum())
        total += int(cube.mapped.sum())
    return same / total if total else None


def _samples(imagery: ImageryConfig) -> Iterator[Cube]:
    """Patches spread over the grid, those with some data."""
    scenes = select(imagery)
    found = 0
    for window in _spread(scenes[0].grid):
        cube = read_cube(scenes, window)
        if cube.mapped.any():
            found += 1
            yield cube
        if found == SAMPLES:
            return


def _spread(grid: Grid) -> Iterator[Window]:
    """Windows on the diagonal and beside it, from the middle outwards."""
    for part in (0.5, 0.25, 0.75, 0.1, 0.9):
        for other in (part, 1 - part):
            # On multiples of the side: a window then lies in one tile of most files.
            row, col = (
                int(p * n) // SIDE * SIDE for p, n in ((part, grid.height), (other, grid.width))
            )
            yield Window(row, col, SIDE, SIDE).clip(grid.window)
