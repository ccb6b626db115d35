"""How much of two maps is alike, block by block."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoseg.analysis.change.compare import open_pair
from geoseg.io.raster import geotiffs


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
        shape = pair.transitions.same.shape
        counts = np.zeros(shape[0] * shape[1], np.int64)
        for window in pair.grid.windows(geotiffs.TILE):
            counts += np.bincount(pair.read(window)[0], minlength=counts.size)
    pixels = counts.reshape(shape)
    return Agreement(int(pixels[:-1, :-1].sum()), int(pixels[pair.transitions.same].sum()))
