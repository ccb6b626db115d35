"""From patches to a block: each pixel from the core of its one patch, then a class and a confidence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ModelError
from geoseg.grid import Window
from geoseg.legend import NODATA, Legend
from geoseg.tiling import Lattice

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""``float32[N, C, h, w]`` to class probabilities ``float32[N, K, h, w]``."""


def stitch(
    features: NDArray[np.float32], extent: Window, core: Window, lattice: Lattice, forward: Forward
) -> NDArray[np.float32]:
    """Probabilities ``float32[K, h, w]`` of ``core`` from features ``float32[C, H, W]`` of ``extent``.

    ``extent`` is ``core`` with the lattice's margin, clipped at the grid's border. Patches go through
    the network one at a time: a batch would group them by block, and some kernels round otherwise
    for another batch size, which would let the block size into the map.
    """
    result: NDArray[np.float32] | None = None
    for patch in lattice.patches(core):
        rows, cols = patch.extent.within(extent)
        probabilities = forward(features[np.newaxis, :, rows, cols])[0]
        if result is None:
            result = np.empty((len(probabilities), *core.shape), dtype=np.float32)
        rows, cols = patch.core.within(patch.extent)
        target = patch.core.within(core)
        result[:, *target] = probabilities[:, rows, cols]
    if result is None:
        raise ValueError(f"{core} holds no patch core")
    return result


def decide(
    probabilities: NDArray[np.float32], mapped: NDArray[np.bool_], legend: Legend
) -> NDArray[np.uint8]:
    """Class code and confidence, ``uint8[2, H, W]``, from ``float32[K, H, W]``.

    Confidence is the winner's probability in percent, rounded down, so that 100 means certain;
    both are ``NODATA`` where ``mapped`` is false. Ties go to the class first in the legend. Raises
    ``ModelError`` where a mapped pixel's probabilities are no numbers: that is no class.
    """
    winner = probabilities.argmax(axis=0)
    share = np.take_along_axis(probabilities, winner[np.newaxis], axis=0)[0]
    if np.isnan(share[mapped]).any():
        raise ModelError(
            "the network gives no number for some pixels; its weights or its normalization are "
            "damaged, or the imagery holds values far beyond what it was trained on"
        )
    result = np.stack([legend.to_codes(winner), (share * 100).astype(np.uint8)])
    result[:, ~mapped] = NODATA
    return result
