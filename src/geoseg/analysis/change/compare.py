"""Two maps of one grid: the transition matrix and the change raster, block by block."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.analysis.change.style import change_names, change_style
from geoseg.analysis.change.transitions import Transitions
from geoseg.errors import RasterError
from geoseg.feedback import Progress
from geoseg.grid import Window
from geoseg.io import files
from geoseg.io.raster import geotiffs
from geoseg.legend import show
from geoseg.product.areas import pixel_area
from geoseg.product.crop_map import CropMap

_HEIGHT, _WIDTH = geotiffs.TILE, 8 * geotiffs.TILE
"""Pixels looked at at once."""


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
    files.write_text(target.with_suffix(".qml"), change_style(transitions))
    files.write_text(target.with_name(target.name + ".aux.xml"), change_names(transitions))
    return matrix


def _fill(pair: MapPair, raster: geotiffs.RasterWriter, progress: Progress) -> Matrix:
    """Write all windows, and count."""
    shape = pair.transitions.values.shape
    values, size = pair.transitions.values.ravel(), pair.transitions.values.size
    area = pixel_area(pair.grid)
    pixels, hectares = np.zeros((2, size), np.int64), np.zeros((2, size))
    windows = list(pair.grid.windows(_HEIGHT, _WIDTH))
    with progress.start("change", len(windows), "windows") as step:
        for window in windows:
            found, counts = pair.read(window)
            shown = np.where(counts, values[found], pair.transitions.uncertain)
            raster.write(shown.astype(pair.transitions.dtype).reshape(window.shape), window)
            for row, chosen in enumerate((counts, ~counts)):
                pixels[row] += np.bincount(found[chosen], minlength=size)
                if area is not None:
                    ground = np.repeat(area[window.row : window.row_stop], window.width)
                    hectares[row] += np.bincount(found[chosen], ground[chosen], size)
            step.advance()
    count, doubt = (layer.reshape(shape) for layer in pixels)
    areas = hectares.reshape(2, *shape)
    return Matrix(
        pair.transitions,
        count,
        doubt,
        None if area is None else areas[0],
        None if area is None else areas[1],
    )
