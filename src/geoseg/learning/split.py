"""Which labels train, which choose the best epoch, and which are held back for the score.

Neighbouring pixels look alike, so a split by pixel would score memory. The units here are squares of
the grid or whole fields. One pass over the labels counts the pixels per unit and class, and a seeded
stratified draw deals the units out, so that a class in three units or more is in every part. After
that, the parts of any window are known from the window alone, and windows agree where they overlap.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.config import SplitConfig
from geoseg.errors import ConfigError, LabelError
from geoseg.grid import Grid, Window

STEP = 1024
"""Side of the windows in which a whole grid is walked through, in pixels."""


class Part(IntEnum):
    """What a labelled pixel is used for."""

    UNUSED = 0
    TRAIN = 1
    VALIDATION = 2
    TEST = 3


class LabelSource(Protocol):
    """What the split needs of labels; ``geoseg.imagery.labels.Labels`` is one."""

    def read(self, window: Window) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
        """Model indices (``UNKNOWN`` where there is no label) and field ids (0: none)."""


class Split(Protocol):
    """The part of every labelled pixel of a grid."""

    def parts(self, window: Window, fields: NDArray[np.int32]) -> NDArray[np.uint8]:
        """``Part`` of each pixel of a window, whether it is labelled or not.

        ``fields`` are the field ids of the window, ``int32[height, width]``.
        """


@dataclass(frozen=True)
class SquareSplit:
    """Squares of the grid; near a square of another part, nothing is used."""

    block: int
    buffer: int
    table: NDArray[np.uint8]
    """Part of each square, with a frame of ``UNUSED`` around the grid; squares without a label are
    ``UNUSED`` and keep no distance."""

    def parts(self, window: Window, fields: NDArray[np.int32]) -> NDArray[np.uint8]:
        """See ``Split.parts``; ``fields`` are not looked at."""
        rows = self._reach(window.row, window.row_stop)
        cols = self._reach(window.col, window.col_stop)
        own = self.table[np.ix_(rows[1], cols[1])]
        clash = np.zeros(own.shape, dtype=bool)
        # The buffer is no wider than a square, so the squares within it are the own one and those
        # ``buffer`` pixels up, down, left, right and across.
        for near_rows in rows:
            for near_cols in cols:
                other = self.table[np.ix_(near_rows, near_cols)]
                clash |= (other != Part.UNUSED) & (other != own)
        own[clash] = Part.UNUSED
        return own

    def _reach(self, start: int, stop: int) -> tuple[NDArray[np.int64], ...]:
        """Table index of each pixel's square, and of the squares a buffer before and behind."""
        pixels = np.arange(start, stop)
        return tuple((pixels + by) // self.block + 1 for by in (-self.buffer, 0, self.buffer))


@dataclass(frozen=True)
class FieldSplit:
    """Whole fields; labels outside every field are not used."""

    ids: NDArray[np.int64]
    """Ids of the labelled fields, ascending."""
    table: NDArray[np.uint8]
    """Part of each."""

    def parts(self, window: Window, fields: NDArray[np.int32]) -> NDArray[np.uint8]:
        """See ``Split.parts``."""
        place = np.minimum(np.searchsorted(self.ids, fields), len(self.ids) - 1)
        found = self.ids[place] == fields
        return np.where(found, self.table[place], np.uint8(Part.UNUSED))


def plan_split(labels: LabelSource, grid: Grid, classes: int, config: SplitConfig) -> Split:
    """Deal the labelled squares or fields out to the parts. Reads every label once.

    The result depends on the labels and the config alone. Raises ``ConfigError`` for shares or a
    buffer that leave nothing to train on, ``LabelError`` where there is nothing to deal out.
    """
    _check(config)
    across = -(-grid.width // config.tile)
    units, counts = _census(labels, grid, classes, across, config)
    drawn = draw_parts(counts, config)
    if config.by == "field":
        return FieldSplit(units, drawn)
    table = np.zeros((-(-grid.height // config.tile) + 2, across + 2), dtype=np.uint8)
    table[units // across + 1, units % across + 1] = drawn
    return SquareSplit(config.tile, config.buffer, table)


def _check(config: SplitConfig) -> None:
    if config.validation + config.test >= 1:
        raise ConfigError(
            f"split: validation {config.validation} and test {config.test} add up to 1 or "
            "more and leave nothing to train on; lower one of them"
        )
    if config.by == "tile" and config.buffer > config.tile:
        raise ConfigError(
            f"split.buffer: {config.buffer} is wider than split.tile ({config.tile}) and leaves "
            "no label between two parts; lower it, or take larger blocks"
        )


def _census(
    labels: LabelSource, grid: Grid, classes: int, across: int, config: SplitConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Units that hold labels, ascending ``int64[U]``, and their pixels per class ``int64[U, K]``."""
    pixels_of: Counter[int] = Counter()
    for window in grid.windows(STEP, STEP):
        known, fields = labels.read(window)
        rows, cols = np.nonzero(known >= 0)
        if config.by == "field":
            unit = fields[rows, cols].astype(np.int64)
        else:
            unit = (rows + window.row) // config.tile * across + (cols + window.col) // config.tile
        keys, pixels = np.unique(unit * classes + known[rows, cols], return_counts=True)
        pixels_of.update(dict(zip(keys.tolist(), pixels.tolist(), strict=True)))
    if config.by == "field":
        # Id 0 means outside every field.
        pixels_of = Counter({key: pixels for key, pixels in pixels_of.items() if key >= classes})
    return _as_table(pixels_of, classes, config)


def _as_table(
    pixels_of: Counter[int], classes: int, config: SplitConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if not pixels_of:
        what = "labelled pixel in a field" if config.by == "field" else "labelled pixel"
        raise LabelError(
            f"labels: no {what} on the grid. Check that 'labels.file' lies over the imagery and "
            "that 'labels.ignore' does not name every class"
            + ("; for split.by 'field', check 'labels.fields'." if config.by == "field" else ".")
        )
    keys = np.array(sorted(pixels_of), dtype=np.int64)
    units, place = np.unique(keys // classes, return_inverse=True)
    counts = np.zeros((len(units), classes), dtype=np.int64)
    counts[place, keys % classes] = [pixels_of[int(key)] for key in keys]
    return units, counts


def draw_parts(counts: NDArray[np.int64], config: SplitConfig) -> NDArray[np.uint8]:
    """Part of each unit, ``uint8[U]``, from its pixels per class ``int64[U, K]``.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011) with pixels as
    weights: classes from rare to common, each unit to the part that lacks most of its rarest class,
    measured against the part's share. Units of one class come in an order drawn by the seed.
    """
    shares = np.array([1 - config.validation - config.test, config.validation, config.test])
    totals = counts.sum(axis=0)
    rarest = np.where(counts > 0, totals, np.iinfo(np.int64).max).argmin(axis=1)
    order = np.random.default_rng(config.seed).permutation(len(counts))
    order = order[np.lexsort((rarest[order], totals[rarest[order]]))]
    wanted = shares[:, np.newaxis] * np.maximum(totals, 1)
    have = np.zeros(wanted.shape)
    parts = np.zeros(len(counts), dtype=np.uint8)
    open_parts = np.flatnonzero(shares)
    for unit in order:
        filled = have[open_parts, rarest[unit]] / wanted[open_parts, rarest[unit]]
        part = open_parts[filled.argmin()]
        have[part] += counts[unit]
        parts[unit] = part + 1  # parts are numbered from Part.TRAIN
    return parts
