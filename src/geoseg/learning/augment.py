"""Changes to a training sample that leave its labels true."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SYMMETRIES = 8
"""Rotations by quarter turns, each also mirrored."""


def orient[Number: np.generic](array: NDArray[Number], symmetry: int) -> NDArray[Number]:
    """One of the square's 8 symmetries, over the last two axes. A view: nothing is copied."""
    turned = np.rot90(array, symmetry % 4, axes=(-2, -1))
    return turned.swapaxes(-2, -1) if symmetry >= 4 else turned


def drop_dates(
    valid: NDArray[np.bool_], chance: float, random: np.random.Generator
) -> NDArray[np.bool_]:
    """Blank whole dates of ``valid`` (``bool[T, h, w]``), each with ``chance``; a new array.

    A clouded date looks like that to the network. One date with data always stays: without any,
    there would be nothing to learn from.
    """
    dropped = random.random(len(valid)) < chance
    usable = np.flatnonzero(valid.any(axis=(1, 2)))
    if len(usable) and dropped[usable].all():
        dropped[random.choice(usable)] = False
    return valid & ~dropped[:, np.newaxis, np.newaxis]
