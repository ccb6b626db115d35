"""Reading a window of a season: values, where they hold data, and the features a network takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.imagery.scenes import Scene
from geoseg.io.raster import rasters
from geoseg.io.raster.open_rasters import Read
from geoseg.normalization import Normalization


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


def read_cube(scenes: Sequence[Scene], window: Window, read: Read = rasters.read) -> Cube:
    """Read a window that lies on the scenes' grid. Raises ``RasterError`` naming a damaged file.

    ``read`` is for a caller that keeps the files open between windows.
    """
    values, valid = _read_scene(scenes[0], window, read)
    all_values = np.empty((len(scenes), *values.shape), dtype=values.dtype)
    all_valid = np.empty((len(scenes), *valid.shape), dtype=bool)
    for number, scene in enumerate(scenes):
        if number:
            values, valid = _read_scene(scene, window, read)
        if not np.can_cast(values.dtype, all_values.dtype):
            all_values = all_values.astype(np.result_type(values, all_values))
        all_values[number], all_valid[number] = values, valid
    return Cube(all_values, all_valid)


def _read_scene(scene: Scene, window: Window, read: Read) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Values ``[C, H, W]`` and validity ``[H, W]`` of one date."""
    parts, valid = [], np.ones(window.shape, dtype=bool)
    # Neighbouring bands of one file in one read: a tile is then decoded once, not once per band.
    for path, assets in groupby(scene.assets, key=lambda asset: asset.path):
        numbers = [asset.number for asset in assets]
        values, present = read(path, numbers, window, scene.nodata)
        parts.append(values)
        valid &= present
    if scene.mask:
        mask, present = read(scene.mask.path, [1], window, None)
        valid &= present
        for code in scene.mask.invalid:  # a few comparisons; np.isin takes a hundred times as long
            valid &= mask[0] != code
    return parts[0] if len(parts) == 1 else np.concatenate(parts), valid


def to_features(
    cube: Cube, normalization: Normalization
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Features ``float32[T * C, H, W]`` and where a pixel is to be mapped, ``bool[H, W]``.

    Channels run date by date, band by band. A date without data at a pixel is 0 there, which after
    normalization is the training mean: neutral, and the same wherever the pixel lies in a patch.
    """
    dates, bands, height, width = cube.values.shape
    features = normalization.apply(cube.values.reshape(dates * bands, height, width))
    by_date = features.reshape(dates, bands, height, width)
    # where, not a product: an invalid float may be NaN, and NaN times 0 is NaN.
    np.copyto(by_date, np.float32(0), where=~cube.valid[:, np.newaxis])
    return features, cube.mapped
