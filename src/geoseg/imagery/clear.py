"""How much of each date can be used: a regular sample of a season, for the report's timeline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from geoseg.grid import Grid, Window
from geoseg.imagery.cube import read_cube
from geoseg.imagery.scenes import Scene
from geoseg.io.raster.open_rasters import OpenRasters

SIDE = 256
"""Of a window in pixels: most files' tiles are a multiple of it, so a tile is decoded once."""

VALUES = 500_000_000
"""Numbers read at most, over all dates and bands (about 4 s); every pixel where they are fewer."""

LEAST = 4
"""Windows along each side, however many dates there are."""


@dataclass(frozen=True, slots=True)
class Clear:
    """Pixels with data in every band and no cloud."""

    shares: tuple[float, ...]
    """Of each scene's pixels, 0 to 1."""
    read: float
    """Share of the pixels that was looked at: 1 means that ``shares`` are counts, less that they
    are estimates from windows on a regular lattice."""


def clear_shares(scenes: Sequence[Scene], values: int = VALUES) -> Clear:
    """The clear share of each scene. Raises ``RasterError`` naming a damaged file.

    In memory is one window of one date.
    """
    grid = scenes[0].grid
    windows = list(_sample(grid, values // (len(scenes) * len(scenes[0].bands))))
    pixels = sum(window.size for window in windows)
    return Clear(
        tuple(_clear_pixels(scene, windows) / pixels for scene in scenes),
        pixels / grid.window.size,
    )


def _clear_pixels(scene: Scene, windows: Sequence[Window]) -> int:
    opened = OpenRasters()
    try:
        return sum(int(read_cube([scene], w, opened.read).valid.sum()) for w in windows)
    finally:
        opened.close()


def _sample(grid: Grid, pixels: int) -> Iterator[Window]:
    """Windows of the lattice of ``SIDE``: all of them, or as many evenly spread ones as fit."""
    down, across = (math.ceil(side / SIDE) for side in grid.window.shape)
    share = math.sqrt(min(1.0, pixels / grid.window.size))
    for row in _spread(down, share):
        for col in _spread(across, share):
            yield Window(row * SIDE, col * SIDE, SIDE, SIDE).clip(grid.window)


def _spread(count: int, share: float) -> list[int]:
    """Evenly spread numbers below ``count``: a ``share`` of them, at least ``LEAST``."""
    wanted = min(count, max(LEAST, int(count * share)))
    return [int(place) for place in np.floor((np.arange(wanted) + 0.5) * count / wanted)]
