"""From cube to network input. The one path for training and for mapping, so that both see alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.imagery.cube import Cube
from geoseg.normalization import Normalization


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
