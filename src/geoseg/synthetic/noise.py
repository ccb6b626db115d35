"""Noise that is a pure function of (key, row, column): no generator, no state, any order.

Every random number of the synthetic scene is a hash of integer coordinates, so a window can be
computed alone and equals the same window cut from a larger one. Array code here uses only integer
arithmetic, table look-ups and ``+ - * /``: those are exact or correctly rounded whatever the shape
of the array, while ``exp`` or ``sin`` may differ in the last bit between vector and scalar loops.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from geoseg.grid import Window

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def mix(value: int) -> int:
    """SplitMix64's finalizer on one integer (Steele, Lea and Flood, OOPSLA 2014): 64 bits out."""
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * _MIX_1) & _MASK
    value = ((value ^ (value >> 27)) * _MIX_2) & _MASK
    return value ^ (value >> 31)


def key(*parts: int) -> int:
    """One 64-bit key from any integers, negative ones included; their order matters."""
    state = 0
    for part in parts:
        state = mix((state + part * _MIX_2) & _MASK)
    return state


def uniform(*parts: int) -> float:
    """A number in [0, 1) from integers."""
    return (key(*parts) >> 11) * 2.0**-53


def normal(*parts: int) -> float:
    """A standard normal number from integers, cut at about 4.2 standard deviations."""
    return float(_normal_table()[key(*parts) >> 48])


def hashes(stream: int, window: Window, step: int = 1, part: int = 0) -> NDArray[np.uint64]:
    """64 random bits per pixel, ``uint64[H, W]``.

    ``step`` counters are reserved for each pixel, of which ``part`` (0 to step - 1) is hashed.
    Columns count along a Weyl sequence and each row starts at a hashed place of its own.
    """
    rows = np.arange(window.row, window.row_stop, dtype=np.int64).astype(np.uint64)
    rows = _mixed(rows * np.uint64(_MIX_2) + np.uint64(stream))
    cols = np.arange(window.col, window.col_stop, dtype=np.int64).astype(np.uint64)
    cols = (cols * np.uint64(step) + np.uint64(part + 1)) * np.uint64(_GOLDEN)
    return _mixed(rows[:, None] + cols[None, :])


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finalizer, in place."""
    for shift, factor in ((30, _MIX_1), (27, _MIX_2)):
        value ^= value >> np.uint64(shift)
        value *= np.uint64(factor)
    value ^= value >> np.uint64(31)
    return value


def normals(stream: int, window: Window, count: int) -> NDArray[np.float32]:
    """``count`` independent standard normal fields, ``float32[count, H, W]``.

    Sixteen bits each, through a table of the normal quantile function: four from one hash.
    """
    out = np.empty((count, *window.shape), dtype=np.float32)
    table, step = _normal_table(), -(-count // 4)
    for part in range(step):
        bits = hashes(stream, window, step, part).view(np.uint16).reshape(*window.shape, 4)
        for lane in range(min(4, count - 4 * part)):
            np.take(table, bits[..., lane], out=out[4 * part + lane])
    return out


@lru_cache(maxsize=1)
def _normal_table() -> NDArray[np.float32]:
    table: NDArray[np.float32] = ndtri((np.arange(65536) + 0.5) / 65536).astype(np.float32)
    return table


def smooth(
    stream: int, window: Window, scale: float, octaves: int, shift: tuple[float, float] = (0, 0)
) -> NDArray[np.float32]:
    """Fractal value noise, ``float32[H, W]``, mean 0, standard deviation about 1.

    ``scale`` is the size of the coarsest lattice cell in pixels; every octave halves it and weighs
    0.55 of the one before. ``shift`` (rows, columns) moves the pattern down and right. Lattice
    values are weighed by the cubic B-spline, whose product over rows and columns is nearly round,
    so that the lattice does not show (Unser, Splines, IEEE Signal Processing Magazine 16, 1999).
    """
    total = np.zeros(window.shape, dtype=np.float32)
    weights = [0.55**octave for octave in range(octaves)]
    # The variance of one octave: 1/12 of a uniform lattice value, times the integral of the squared
    # B-spline, 151 / 315, in each direction.
    norm = (sum(w * w for w in weights) / 12 * (151 / 315) ** 2) ** -0.5
    for octave, weight in enumerate(weights):
        total += np.float32(weight * norm) * _value_noise(
            key(stream, octave), window, scale / 2**octave, shift
        )
    return total


def _value_noise(
    stream: int, window: Window, cell: float, shift: tuple[float, float]
) -> NDArray[np.float32]:
    row0, row_weights = _spline_steps(window.row, window.height, cell, shift[0])
    col0, col_weights = _spline_steps(window.col, window.width, cell, shift[1])
    lattice = Window(
        int(row0[0]), int(col0[0]), int(row0[-1] - row0[0]) + 4, int(col0[-1] - col0[0]) + 4
    )
    bits = hashes(stream, lattice) >> np.uint64(40)
    values = bits.astype(np.float32) * np.float32(2.0**-24) - np.float32(0.5)
    left, top = col0 - col0[0], row0 - row0[0]
    across = np.zeros((lattice.height, window.width), dtype=np.float32)
    for step, weight in enumerate(col_weights):
        across += values[:, left + step] * weight[None, :]
    out = np.zeros(window.shape, dtype=np.float32)
    for step, weight in enumerate(row_weights):
        out += across[top + step] * weight[:, None]
    return out


def _spline_steps(
    start: int, count: int, cell: float, shift: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """First of the four lattice places around each pixel centre, and their weights ``[4, count]``."""
    place = (np.arange(start, start + count) + 0.5 - shift) / cell
    below = np.floor(place)
    t = place - below
    u = 1 - t
    inner = [3 * v * v * v - 6 * v * v + 4 for v in (t, u)]
    weights = np.array([u * u * u, inner[0], inner[1], t * t * t]) / 6
    return below.astype(np.int64) - 1, weights.astype(np.float32)
