"""Two maps of one grid: the transition matrix and the change raster, block by block.

Classes are matched by name; codes and order of the two maps may differ. The value of a pair depends
on the two legends alone, never on what is found, so that change rasters can be compared.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import RasterError
from geoseg.feedback import Progress
from geoseg.grid import Window
from geoseg.io import files
from geoseg.io.raster import geotiffs
from geoseg.legend import NODATA, Legend, show
from geoseg.product import style
from geoseg.product.areas import PixelCounts, pixel_area
from geoseg.product.crop_map import CropMap

_HEIGHT, _WIDTH = geotiffs.TILE, 8 * geotiffs.TILE
"""Pixels looked at at once."""


UNCHANGED = 0
"""Value of pixels whose class is the same in both maps."""

_SAME, _DOUBT = "#e4e2dc", "#a9a4a0"


@dataclass(frozen=True)
class Transitions:
    """All pairs of a class before (row ``i`` of ``n``) and a class after (column ``j`` of ``m``).

    Value ``1 + i * m + j`` is a change from ``i`` to ``j``, 0 no change, ``1 + n * m`` a change that
    one of the maps is not sure of. uint8 with nodata 255 where that fits, else uint16 with 65535.
    """

    before: Legend
    after: Legend

    @property
    def uncertain(self) -> int:
        """Value of changes that one of the maps is not sure of."""
        return 1 + len(self.before) * len(self.after)

    @property
    def dtype(self) -> str:
        """Type of the change raster."""
        return "uint8" if self.uncertain < NODATA else "uint16"

    @property
    def nodata(self) -> int:
        """Value of pixels that one of the maps has no class for."""
        return int(np.iinfo(self.dtype).max)

    @cached_property
    def same(self) -> NDArray[np.bool_]:
        """``bool[n + 1, m + 1]``: the two names are one. The last row and column are nodata."""
        names = np.array([*self.after.names, ""], dtype=object)
        rows = [names == name for name in self.before.names]
        return np.array([*rows, np.zeros(len(names), dtype=bool)])

    @cached_property
    def values(self) -> NDArray[np.int64]:
        """``int64[n + 1, m + 1]``: value of each pair in the raster."""
        n, m = len(self.before), len(self.after)
        table = np.full((n + 1, m + 1), self.nodata, dtype=np.int64)
        table[:n, :m] = 1 + np.arange(n * m).reshape(n, m)
        table[self.same] = UNCHANGED
        return table

    def name(self, i: int, j: int) -> str:
        """``maize -> wheat``."""
        return f"{self.before.names[i]} -> {self.after.names[j]}"

    def entries(self) -> Iterator[style.PaletteEntry]:
        """Every value with its name and colour, in the order of values. A change has the colour of
        what it led to."""
        yield style.PaletteEntry(UNCHANGED, "unchanged", _SAME)
        for i in range(len(self.before)):
            for j, entry in enumerate(self.after):
                if not self.same[i, j]:
                    yield style.PaletteEntry(int(self.values[i, j]), self.name(i, j), entry.color)
        yield style.PaletteEntry(self.uncertain, "change not certain", _DOUBT)

    @property
    def colormap(self) -> dict[int, tuple[int, int, int, int]]:
        """Value to RGBA; nodata is transparent."""
        table = {
            e.value: (int(e.color[1:3], 16), int(e.color[3:5], 16), int(e.color[5:], 16), 255)
            for e in self.entries()
        }
        return {**table, self.nodata: (0, 0, 0, 0)}


@dataclass(frozen=True)
class Matrix:
    """Pixels of each pair of classes, ``[n + 1, m + 1]``; the last row and column are nodata."""

    transitions: Transitions
    pixels: NDArray[np.int64]
    """Pairs that count: all that are unchanged or nodata, and changes that are certain."""
    uncertain: NDArray[np.int64]
    """Changes that one of the maps is not sure of. With ``pixels`` every pixel is there once."""
    hectares: NDArray[np.float64] | None
    """Of ``pixels``; None where the maps have no CRS."""
    uncertain_hectares: NDArray[np.float64] | None


class MapPair:
    """Two maps of one grid, and how sure both must be for a change to count."""

    def __init__(self, before: CropMap, after: CropMap, above: float | None) -> None:
        """``above``: least confidence of both maps in percent; None where every change counts.

        Raises ``GridMismatchError`` unless the grids are equal, ``RasterError`` where the legends
        have no name in common.
        """
        before.grid.require(after.grid, str(before.path), str(after.path))
        if not set(before.legend.names) & set(after.legend.names):
            raise RasterError(
                f"{after.path} has no class name of {before.path}: {_shown(after, before)} "
                f"against {', '.join(before.legend.names)}. Classes are matched by name: compare maps "
                "of the same kind, written in the same language."
            )
        self.before, self.after, self._above = before, after, above
        self.grid = before.grid
        self.transitions = Transitions(before.legend, after.legend)

    def read(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Each pixel's pair ``i * (m + 1) + j``, row by row, and where it counts."""
        columns = len(self.transitions.after) + 1
        pair = self.before.indices(window) * columns + self.after.indices(window)
        counts = np.ones(len(pair), dtype=bool)
        if self._above is not None:
            sure = (self.before.confidences(window) >= self._above) & (
                self.after.confidences(window) >= self._above
            )
            counts = sure | ~self._changed[pair]
        return pair, counts

    @cached_property
    def _changed(self) -> NDArray[np.bool_]:
        """Which pairs are a change."""
        changed = ~self.transitions.same
        changed[-1, :] = changed[:, -1] = False
        return changed.ravel()


def _shown(these: CropMap, those: CropMap) -> str:
    names = those.legend.names
    return ", ".join(show(name, names, quote=False) for name in these.legend.names)


@contextmanager
def open_pair(
    before: Path, after: Path, confidences: tuple[Path, Path] | None, above: float | None
) -> Iterator[MapPair]:
    """Two class rasters, with their confidence where ``above`` asks for it."""
    first, second = confidences if above is not None and confidences else (None, None)
    with ExitStack() as stack:
        maps = [
            stack.enter_context(closing(CropMap(path, confidence)))
            for path, confidence in ((before, first), (after, second))
        ]
        yield MapPair(maps[0], maps[1], above)


def write_change(pair: MapPair, target: Path, progress: Progress) -> Matrix:
    """Write the change raster, a cloud-optimized GeoTIFF with its styles; returns the matrix.

    Values are those of ``Transitions``. Raises ``RasterError``, ``OutputError``.
    """
    transitions = pair.transitions
    spec = geotiffs.RasterSpec(
        transitions.dtype,
        nodata=transitions.nodata,
        bands=("change of class",),
        colormap=transitions.colormap,
    )
    plain = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:8]}.part.tif")
    try:
        with geotiffs.create(plain, pair.grid, spec) as raster:
            matrix = _fill(pair, raster, progress)
        geotiffs.to_cog(plain, target, "mode")
    finally:
        plain.unlink(missing_ok=True)
    files.write_text(target.with_suffix(".qml"), style.paletted_style(transitions.entries()))
    names = {entry.value: entry.name for entry in transitions.entries()}
    files.write_text(target.with_name(target.name + ".aux.xml"), style.category_names(names))
    return matrix


def _fill(pair: MapPair, raster: geotiffs.RasterWriter, progress: Progress) -> Matrix:
    """Write all windows, and count."""
    transitions = pair.transitions
    values, size = transitions.values.ravel(), transitions.values.size
    counts = PixelCounts(pixel_area(pair.grid), 2 * size)
    windows = list(pair.grid.windows(_HEIGHT, _WIDTH))
    with progress.start("change", len(windows), "windows") as step:
        for window in windows:
            pairs, certain = (each.reshape(window.shape) for each in pair.read(window))
            shown = np.where(certain, values[pairs], transitions.uncertain)
            raster.write(shown.astype(transitions.dtype), window)
            counts.add(pairs + size * ~certain, window.row)
            step.advance()
    shape = 2, *transitions.values.shape
    area = (None, None) if counts.area is None else counts.area.reshape(shape)
    return Matrix(transitions, *counts.pixels.reshape(shape), *area)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Pixels that both maps have a class for."""

    both: int
    same: int
    """Of those, with the class of the same name."""

    @property
    def share(self) -> float | None:
        """0 to 1; None where no pixel has a class on both."""
        return self.same / self.both if self.both else None


def agreement(before: Path, after: Path) -> Agreement:
    """Compare two class rasters of one grid.

    Raises ``GridMismatchError`` where the grids differ, ``RasterError`` where the legends have no
    name in common or a raster is none of geoseg's.
    """
    with open_pair(before, after, None, None) as pair:
        same = pair.transitions.same
        counts = PixelCounts(None, same.size)
        for window in pair.grid.windows(geotiffs.TILE):
            counts.add(pair.read(window)[0].reshape(window.shape), window.row)
    pixels = counts.pixels.reshape(same.shape)
    return Agreement(int(pixels[:-1, :-1].sum()), int(pixels[same].sum()))
