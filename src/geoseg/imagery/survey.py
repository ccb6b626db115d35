"""What a season and its labels hold: read once, a strip at a time, before hours are spent on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.feedback import Progress
from geoseg.grid import Grid, Window
from geoseg.imagery.cube import read_cube
from geoseg.imagery.flags import Codes
from geoseg.imagery.inspect import strips
from geoseg.imagery.labels import Labels
from geoseg.imagery.scenes import Scene
from geoseg.io.raster.open_rasters import OpenRasters


@dataclass(frozen=True, slots=True)
class Survey:
    """Counts over a whole grid."""

    pixels: int
    """Of the grid."""
    valid: tuple[int, ...]
    """Valid pixels of each scene."""
    mapped: int
    """Pixels with data on at least one date: those that get a class."""
    labelled: tuple[int, ...] = ()
    """Labelled pixels of each class, by model index; empty without labels."""
    fields: tuple[int, ...] = ()
    """Fields of each class; zeros where the labels name none."""
    without_data: int = 0
    """Labelled pixels without data on any date: they can teach nothing."""
    codes: tuple[Codes, ...] = ()
    """The different values of each band over all dates, where they are few."""
    parts: tuple[int, ...] = ()
    """Labelled pixels with data of each part of the split; empty where none was given."""


Parts = Callable[[Window, NDArray[np.int32]], NDArray[np.uint8]]
"""The part of each pixel of a window, from the field ids there."""


class _ClassCounts:
    """Labelled pixels and fields per class, added up strip by strip."""

    def __init__(self, labels: Labels | None, classes: int, parts: Parts | None) -> None:
        self._labels, self._parts = labels, parts
        self.parts = np.zeros(256 if parts else 0, dtype=np.int64)
        self.pixels = np.zeros(classes if labels else 0, dtype=np.int64)
        self.fields: list[set[int]] = [set() for _ in self.pixels]
        self.without_data = 0

    def add(self, window: Window, mapped: NDArray[np.bool_]) -> None:
        """Count one strip."""
        if self._labels is None:
            return
        indices, ids = self._labels.read(window)
        self.pixels += np.bincount(indices[indices >= 0], minlength=len(self.pixels))
        self.without_data += int(((indices >= 0) & ~mapped).sum())
        for index, known in enumerate(self.fields):
            known.update(np.unique(ids[(indices == index) & (ids > 0)]).tolist())
        if self._parts:
            used = self._parts(window, ids)[(indices >= 0) & mapped]
            self.parts += np.bincount(used, minlength=len(self.parts))


def survey(
    scenes: Sequence[Scene],
    labels: Labels | None,
    classes: int,
    progress: Progress,
    parts: Parts | None = None,
) -> Survey:
    """Read every pixel of a season and of its labels and count.

    ``classes`` is the number of classes of the legend; ``parts`` is for labels that train.
    Raises ``RasterError`` for a damaged file, ``LabelError`` for a code outside the legend.
    """
    grid = scenes[0].grid
    valid = np.zeros(len(scenes), dtype=np.int64)
    counts = _ClassCounts(labels, classes, parts)
    codes = tuple(Codes() for _ in scenes[0].bands)
    mapped_pixels = 0
    with progress.start("read the season", grid.height, "rows") as step:
        for window in strips(grid, 8 * len(scenes[0].bands)):
            mapped = np.zeros(window.shape, dtype=bool)
            for number, scene in enumerate(scenes):
                # One date at a time: a strip of the whole season can be large.
                cube = read_cube([scene], window)
                present = cube.valid[0]
                for band, layer in zip(codes, cube.values[0], strict=True):
                    if not band.many:
                        band.add(layer[present])
                valid[number] += present.sum()
                mapped |= present
            mapped_pixels += int(mapped.sum())
            counts.add(window, mapped)
            step.advance(window.height)
    return Survey(
        pixels=grid.window.size,
        valid=tuple(valid.tolist()),
        mapped=mapped_pixels,
        labelled=tuple(counts.pixels.tolist()),
        fields=tuple(map(len, counts.fields)),
        without_data=counts.without_data,
        codes=codes,
        parts=tuple(counts.parts.tolist()),
    )


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
