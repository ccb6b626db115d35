"""What a margin costs: a piece of the season mapped in patches and mapped whole, compared."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from geoseg.engine.ensemble import Ensemble, EnsembleSpec
from geoseg.engine.executors.local_cluster import cores
from geoseg.engine.inputs import to_device
from geoseg.engine.stitch import stitch
from geoseg.grid import Grid, Window
from geoseg.imagery.cube import read_cube
from geoseg.imagery.scenes import Scene
from geoseg.model.bundle import identify
from geoseg.model.context import TilingError
from geoseg.tiling import Lattice, Patch

SIDE, CORE = 768, 256
"""Side of the piece in pixels, and of the cores it is cut into: small, so that there are borders."""


MOST = 4
"""Patches at once at most: each takes its memory."""


def measure_tiling_error(
    bundle: Path, scenes: tuple[Scene, ...], margin: int
) -> TilingError | None:
    """Share of pixels in the middle of the grid whose class the lattice changes, in fp32 on the CPU.

    None where the piece has no data or is a single core.
    """
    piece = _middle(scenes[0].grid)
    cube = read_cube(scenes, piece)
    mapped = torch.from_numpy(cube.mapped)
    if not mapped.any() or max(piece.shape) <= CORE:
        return None
    ensemble = Ensemble.load(EnsembleSpec(((bundle, identify(bundle)),), "fp32", "cpu"))
    raw = to_device(cube, ensemble.device)
    whole = Window(0, 0, *piece.shape)
    lattice = Lattice(*piece.shape, CORE, margin, ensemble.stride)

    def forward(extents: Sequence[Window]) -> Tensor:
        return ensemble.probabilities([raw[extent.within(whole)] for extent in extents])

    def classes(patch: Patch) -> Tensor:
        return stitch(patch.core, lattice, [patch], forward).argmax(dim=0)

    patches = list(lattice.patches(whole))
    tiled = torch.empty(piece.shape, dtype=torch.int64)
    # One thread per network, as when mapping: several would spin wherever they wait for another.
    with ThreadPoolExecutor(
        min(cores(), MOST), "tiling-error", torch.set_num_threads, (1,)
    ) as pool:
        untiled = pool.submit(forward, [whole])
        for patch, found in zip(patches, pool.map(classes, patches), strict=True):
            tiled[patch.core.within(whole)] = found
    other = (tiled != untiled.result()[0].argmax(dim=0)) & mapped
    pixels = int(mapped.sum())
    return TilingError(core=CORE, margin=margin, pixels=pixels, share=int(other.sum()) / pixels)


def _middle(grid: Grid) -> Window:
    row, col = max(0, (grid.height - SIDE) // 2), max(0, (grid.width - SIDE) // 2)
    return Window(row, col, SIDE, SIDE).clip(grid.window)
