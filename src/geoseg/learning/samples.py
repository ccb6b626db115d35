"""Training samples: squares of imagery with known pixels, cut once into memory-mapped files.

Values stay in the files' own number type and are turned into features by ``imagery.features`` each
time they are used, so training sees what mapping sees. Memory holds one sample at a time; labels of
the training and of the validation part lie in separate files and never meet.

Samples lie on a lattice of cells that cover the grid once. A sample is its cell and what surrounds
it, moved inwards at the grid's border; only a grid smaller than a sample leaves a part of it empty
(invalid, unknown). Validation counts a pixel in its own cell only, so each counts once.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config import TrainConfig
from geoseg.errors import LabelError, OutputError
from geoseg.feedback import Progress
from geoseg.grid import Grid, Window
from geoseg.imagery.cube import Cube, read_cube
from geoseg.imagery.labels import Labels
from geoseg.imagery.scenes import Scene
from geoseg.io.files import make_folder
from geoseg.learning.split import STEP, Part, Split
from geoseg.legend import UNKNOWN


@dataclass(frozen=True)
class Source:
    """Where samples come from."""

    scenes: tuple[Scene, ...]
    labels: Labels
    split: Split
    classes: int

    @property
    def grid(self) -> Grid:
        """The grid of the scenes, and so of the labels."""
        return self.scenes[0].grid

    def targets(self, window: Window) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Model indices and ``Part`` of each pixel; where the part is ``UNUSED``, so is the index."""
        known, fields = self.labels.read(window)
        parts = self.split.parts(window, fields)
        parts[known == UNKNOWN] = Part.UNUSED
        return known, parts


@dataclass(frozen=True)
class Cells:
    """The lattice of cells and samples. Integers only."""

    grid: Grid
    side: int
    """Side of a sample in pixels."""
    step: int
    """Side of a cell in pixels, at most ``side``."""

    @classmethod
    def of(cls, grid: Grid, config: TrainConfig) -> Cells:
        """The lattice that a config asks for."""
        return cls(grid, config.patch, max(1, round(config.patch * (1 - config.overlap))))

    @property
    def across(self) -> int:
        """Cells in a row of cells."""
        return -(-self.grid.width // self.step)

    def cell(self, number: int) -> Window:
        """Cell ``number``, counted row by row, cut at the grid's border."""
        row, col = divmod(number, self.across)
        return Window(row * self.step, col * self.step, self.step, self.step).clip(self.grid.window)

    def extent(self, number: int) -> Window:
        """The sample around cell ``number``; beyond the grid only where the grid is smaller."""
        row, col = divmod(number, self.across)
        return Window(
            self._start(row, self.grid.height),
            self._start(col, self.grid.width),
            self.side,
            self.side,
        )

    def _start(self, place: int, length: int) -> int:
        around = place * self.step - (self.side - self.step) // 2
        return max(0, min(around, length - self.side))


@dataclass(frozen=True)
class Samples:
    """Samples on disk, as memory maps. N samples of S pixels a side."""

    values: NDArray[Any]
    """``[N, T, C, S, S]`` in the files' number type."""
    valid: NDArray[np.bool_]
    """``[N, T, S, S]``"""
    train: NDArray[np.int16]
    """``[N, S, S]`` model indices of the training part, ``UNKNOWN`` elsewhere."""
    validation: NDArray[np.int16]
    """``[N, S, S]`` model indices of the validation part in the sample's cell."""
    windows: tuple[Window, ...]
    """Where each sample lies on the grid."""
    pixels: NDArray[np.int64]
    """``[parts, K]`` labelled pixels of the whole grid per ``Part`` and class."""

    def __len__(self) -> int:
        return len(self.values)

    def cube(self, number: int) -> Cube:
        """Values and validity of one sample."""
        return Cube(self.values[number], self.valid[number])

    def holding(self, part: Part) -> list[int]:
        """Samples with at least one known pixel of the training or of the validation part."""
        targets = self.train if part is Part.TRAIN else self.validation
        return [number for number in range(len(self)) if (targets[number] != UNKNOWN).any()]


@dataclass(frozen=True)
class Drawn:
    """Which samples are to be cut."""

    source: Source
    cells: Cells
    numbers: list[int]
    """Of the cells, in grid order."""
    pixels: NDArray[np.int64]
    """See ``Samples.pixels``."""


def draw(source: Source, config: TrainConfig) -> Drawn:
    """Read the labels once to find the samples; no pixel of the imagery is read.

    Raises ``LabelError`` where the training or the validation part is empty.
    """
    cells = Cells.of(source.grid, config)
    candidates, pixels = _survey(source, cells)
    for part in (Part.TRAIN, Part.VALIDATION):
        require_part(part, pixels)
    return Drawn(source, cells, _draw(candidates, config), pixels)


def cut(drawn: Drawn, folder: Path, progress: Progress) -> Samples:
    """Cut each sample into the files of ``folder``.

    Raises ``LabelError`` where a part has no data, ``OutputError`` where the samples do not fit the
    disk, ``RasterError`` for a damaged file.
    """
    source, cells, numbers = drawn.source, drawn.cells, drawn.numbers
    windows = tuple(cells.extent(number) for number in numbers)
    samples = _allocate(source, windows, drawn.pixels, make_folder(folder))
    with progress.start("samples", len(numbers), "samples") as step:
        for place, number in enumerate(numbers):
            _fill(samples, place, source, cells.cell(number))
            step.advance()
    for part in (Part.TRAIN, Part.VALIDATION):
        require_data(part, len(samples.holding(part)))
    return samples


def require_data(part: Part, found: int) -> None:
    """``LabelError`` where none (``found``) of the labels of a part has data on any date."""
    if not found:
        raise LabelError(
            f"every labelled pixel of the {part.name.lower()} part lies where no date has data; "
            "check imagery.nodata and the masks, or change 'split'"
        )


def _survey(
    source: Source, cells: Cells
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]:
    """Cells that hold training and validation labels, and the pixels per part and class."""
    found: dict[Part, list[NDArray[np.int64]]] = {Part.TRAIN: [], Part.VALIDATION: []}
    pixels = np.zeros((len(Part), source.classes), dtype=np.int64)
    side = max(1, STEP // cells.step) * cells.step
    for window in source.grid.windows(side, side):
        known, parts = source.targets(window)
        labelled = known != UNKNOWN
        np.add.at(pixels, (parts[labelled], known[labelled]), 1)
        for part, numbers in found.items():
            rows, cols = np.nonzero(parts == part)
            row, col = (rows + window.row) // cells.step, (cols + window.col) // cells.step
            numbers.append(np.unique(row * cells.across + col))
    train, validation = (np.unique(np.concatenate(numbers)) for numbers in found.values())
    return (train, validation), pixels


_REMEDIES = {
    Part.TRAIN: "lower split.validation, split.test or split.buffer",
    Part.VALIDATION: "raise split.validation or lower split.buffer",
    Part.TEST: "raise split.test (0: the map gets no score) or lower split.buffer",
}


def require_part(part: Part, pixels: NDArray[np.int64]) -> None:
    """``LabelError`` where a part has no label; ``pixels`` as in ``Samples``."""
    if not pixels[part].any():
        raise LabelError(
            f"no labelled pixel is left for {part.name.lower()}: {_REMEDIES[part]}, take a smaller "
            "split.tile, or add labels"
        )


def _draw(numbers: tuple[NDArray[np.int64], NDArray[np.int64]], config: TrainConfig) -> list[int]:
    """At most ``max_samples`` cells in grid order, of both parts as far as the number allows."""
    random = np.random.default_rng(config.seed)
    train, validation = (random.permutation(group) for group in numbers)
    both = np.concatenate([train[:1], validation[:1], random.permutation(np.union1d(*numbers))])
    _, first = np.unique(both, return_index=True)
    return sorted(both[np.sort(first)][: config.max_samples].tolist())


def _allocate(
    source: Source, windows: tuple[Window, ...], pixels: NDArray[np.int64], folder: Path
) -> Samples:
    """Files of the right size. The number type is known from a read of one pixel."""
    side, scenes = windows[0].height, source.scenes
    probe = read_cube(scenes, Window(0, 0, 1, 1)).values
    shape, flat = (len(windows), *probe.shape[:2], side, side), (len(windows), side, side)
    needed = np.prod(shape) * probe.itemsize + np.prod(flat) * (len(scenes) + 4)
    free = shutil.disk_usage(folder).free
    # A full disk kills a process that writes to a memory map without a word.
    if needed > free:
        raise OutputError(
            f"{folder}: {len(windows)} training samples take {needed / 1e9:.1f} GB, the disk has "
            f"{free / 1e9:.1f} GB free; lower train.max_samples or choose another --output"
        )

    def allocate(name: str, dtype: Any, shape: tuple[int, ...]) -> Any:
        return np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape)

    return Samples(
        allocate("values", probe.dtype, shape),
        allocate("valid", np.bool_, (len(windows), len(scenes), side, side)),
        allocate("train", np.int16, flat),
        allocate("validation", np.int16, flat),
        windows,
        pixels,
    )


def _fill(samples: Samples, place: int, source: Source, cell: Window) -> None:
    """Write one sample."""
    extent = samples.windows[place]
    inside = extent.clip(source.grid.window)
    cube = read_cube(source.scenes, inside)
    known, parts = source.targets(inside)
    known[~cube.mapped] = UNKNOWN
    own = np.zeros(inside.shape, dtype=bool)
    own[cell.within(inside)] = True
    at = inside.within(extent)
    samples.values[place][(..., *at)] = cube.values
    samples.valid[place][(..., *at)] = cube.valid
    for target, used in (
        (samples.train, parts == Part.TRAIN),
        (samples.validation, (parts == Part.VALIDATION) & own),
    ):
        target[place] = UNKNOWN
        target[place][at] = np.where(used, known, UNKNOWN)


def numbers_in_turn(total: int, most: int) -> Iterator[int]:
    """At most ``most`` of the numbers 0 to ``total - 1``, evenly spread."""
    yield from np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(int)).tolist()
