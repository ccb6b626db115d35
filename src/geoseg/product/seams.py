"""Whether the patches show in the map: class changes across their borders against those elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.io.raster import geotiffs, rasters
from geoseg.legend import NODATA


@dataclass(frozen=True, slots=True)
class SeamScore:
    """Pairs of neighbouring pixels, both with a class, and how many of them change it."""

    border_pairs: int
    """One pixel on each side of a border between patch cores."""
    border_changes: int
    other_pairs: int
    other_changes: int
    score: float | None
    """Rate of change across borders / rate elsewhere: 1 means no seam. None where it has no
    meaning: no pair across a border, or no change elsewhere."""
    chance: float | None
    """Share of all places of the lattice that score at least as much, its own included: 0 to 1,
    at least 1 / core. Small means that the score is no accident. None where ``score`` is."""


def seam_score(class_map: Path, core: int) -> SeamScore:
    """How much more often the class changes across the rows and columns at multiples of ``core``.

    ``class_map`` is a class raster (uint8, 255 for nodata); in memory are one strip of it and a
    count per pixel of its longest side. Raises ``RasterError`` where it cannot be read.

    ``chance`` is the p-value of a randomization test (Edgington, Randomization Tests, 1980): the
    same score with the borders moved by 1, 2, ... core - 1 pixels down and right, where no seam can
    be. Not a z-test of the two rates: neighbouring pairs change together, along the edge of a field,
    and as if they were independent it finds a seam (z > 1.64) at 20 to 34 % of the places where
    there is none, measured on maps of two areas. Still only a guide: a map of few patches has few
    pairs, and fields that repeat at multiples of the core look like patches.
    """
    if core < 1:
        raise ValueError(f"a patch core has at least one pixel on a side, not {core}")
    pairs, changes = _count_by_offset(class_map, core)
    scores = _scores(pairs, changes)
    defined = not np.isnan(scores[0]) and changes[1:].any()
    return SeamScore(
        border_pairs=int(pairs[0]),
        border_changes=int(changes[0]),
        other_pairs=int(pairs[1:].sum()),
        other_changes=int(changes[1:].sum()),
        score=float(scores[0]) if defined else None,
        chance=float(np.mean(scores[~np.isnan(scores)] >= scores[0])) if defined else None,
    )


def _scores(pairs: NDArray[np.int64], changes: NDArray[np.int64]) -> NDArray[np.float64]:
    """The score of the lattice at each offset; nan without pairs, infinite without change elsewhere."""
    # Products before the one division: equal scores are then equal to the last bit.
    own = changes.astype(np.float64) * (pairs.sum() - pairs)
    elsewhere = pairs.astype(np.float64) * (changes.sum() - changes)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores: NDArray[np.float64] = own / elsewhere
    return scores


def _count_by_offset(path: Path, core: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs and changes, ``int64[core]`` each, by the place of their second pixel: row (or column,
    for neighbours in a row) modulo ``core``. Shorter where no place of the raster is that far."""
    grid = rasters.describe(path).grid
    counts = np.zeros((2, min(core, max(grid.height, grid.width))), np.int64)
    above = np.full((1, grid.width), NODATA, np.uint8)
    for window in grid.windows(geotiffs.TILE):
        codes = rasters.read(path, [1], window)[0][0]
        # The last row of the strip before is kept: read again, it would cost a row of tiles.
        strip = np.concatenate([above, codes])
        _count_rows(counts, strip, window, core)
        _count_columns(counts, codes, core)
        above = codes[-1:]
    return counts[0], counts[1]


def _count_rows(
    counts: NDArray[np.int64], strip: NDArray[np.uint8], window: Window, core: int
) -> None:
    """Add the pairs of each row of ``window`` with the row above; ``strip`` has one more on top."""
    places = np.arange(window.row, window.row_stop) % core
    _add(counts, _pairs(strip[:-1], strip[1:], axis=1), places)


def _count_columns(counts: NDArray[np.int64], codes: NDArray[np.uint8], core: int) -> None:
    """Add the pairs of each column with the column to its left."""
    places = np.arange(1, codes.shape[1]) % core
    _add(counts, _pairs(codes[:, :-1], codes[:, 1:], axis=0), places)


def _pairs(first: NDArray[np.uint8], second: NDArray[np.uint8], axis: int) -> NDArray[np.int64]:
    """Pairs that both have a class, and those of them that differ, counted along ``axis``."""
    known = (first != NODATA) & (second != NODATA)
    changed = known & (first != second)
    return np.stack([np.count_nonzero(known, axis), np.count_nonzero(changed, axis)])


def _add(counts: NDArray[np.int64], fresh: NDArray[np.int64], places: NDArray[np.int64]) -> None:
    for total, numbers in zip(counts, fresh, strict=True):
        np.add.at(total, places, numbers)
