"""Reading a window of a season: values and where they hold data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.imagery.scenes import Scene
from geoseg.io import rasters


@dataclass(frozen=True, slots=True)
class Cube:
    """A window of a season."""

    values: NDArray[Any]
    """``[T, C, H, W]`` in the files' own number type."""
    valid: NDArray[np.bool_]
    """``[T, H, W]``: the date has data in all bands here, and no cloud."""

    @property
    def mapped(self) -> NDArray[np.bool_]:
        """``[H, W]``: at least one date is valid, so the pixel gets a class."""
        return np.asarray(self.valid.any(axis=0))


def read_cube(scenes: Sequence[Scene], window: Window) -> Cube:
    """Read a window that lies on the scenes' grid. Raises ``RasterError`` naming a damaged file."""
    dates = [_read_scene(scene, window) for scene in scenes]
    return Cube(np.stack([values for values, _ in dates]), np.stack([valid for _, valid in dates]))


def _read_scene(scene: Scene, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Values ``[C, H, W]`` and validity ``[H, W]`` of one date."""
    parts, valid = [], np.ones(window.shape, dtype=bool)
    # Neighbouring bands of one file in one read: a tile is then decoded once, not once per band.
    for path, assets in groupby(scene.assets, key=lambda asset: asset.path):
        numbers = [asset.number for asset in assets]
        values, present = rasters.read(path, numbers, window, scene.nodata)
        parts.append(values)
        valid &= present
    if scene.mask:
        mask, present = rasters.read(scene.mask.path, [1], window)
        valid &= present & ~np.isin(mask[0], scene.mask.invalid)
    return np.concatenate(parts), valid
