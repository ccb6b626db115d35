"""Where the vertices of a map's borders are: what keeps simplified borders from crossing.

A corner ``b`` between ``a`` and ``c`` may be cut off if the triangle ``abc`` holds no other vertex of any
border: an edge that crossed ``ac`` would have to end inside the triangle, or to cross ``ab`` or ``bc``.
Vertices are taken from the raster as it is, before anything was simplified. They are more than those
that are left, so the answer is safe; and it depends on the raster alone, not on what was simplified
before: each border can be treated for itself, from both of its sides, in any order.

One bit per lattice point, in a file without a name: 15 MB for a Sentinel-2 tile.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.product.vectors.half_edges import Ints

Floats = NDArray[np.float64]
Triangles = tuple[Floats, Floats]
"""x and y of three points, ``[n, 3]`` each."""

_CHUNK = 2**20
_NEAR = 1e-9
"""Fractions with denominators below a million that are nearer to a whole number are one."""


class VertexIndex:
    """Lattice points where a border turns or borders meet, counted by row."""

    def __init__(self, height: int, width: int, folder: Path) -> None:
        """For a map of this size; the bits are kept in a file in ``folder`` that goes by itself."""
        self._words = width // 64 + 1
        self._bits = _file(folder, (height + 1, self._words), np.uint64)
        self._before = _file(folder, (height + 1, self._words), np.uint32)

    def add(self, x: Ints, y: Ints, row: int, rows: int) -> None:
        """Note the vertices of lattice rows ``row`` to ``row + rows - 1``; ``y`` counts from ``row``."""
        rows = min(rows, len(self._bits) - row)
        flags = np.zeros((rows, self._words * 64), bool)
        flags[y, x] = True
        bits = np.packbits(flags, axis=1, bitorder="little").view(np.uint64)
        count = np.cumsum(np.bitwise_count(bits), axis=1, dtype=np.uint32)
        self._bits[row : row + rows] = bits
        self._before[row : row + rows, 1:] = count[:, :-1]

    def inside(self, triangles: Triangles) -> Ints:
        """How many vertices each closed triangle holds."""
        x, y = triangles
        top = np.ceil(y.min(axis=1) - _NEAR).astype(np.int64)
        rows = np.floor(y.max(axis=1) + _NEAR).astype(np.int64) - top + 1
        owner = np.repeat(np.arange(len(x)), rows)
        line = np.arange(len(owner)) - np.repeat(np.cumsum(rows) - rows, rows) + top[owner]
        low, high = _span(x[owner], y[owner], line.astype(np.float64))
        first = np.ceil(low - _NEAR).astype(np.int64)
        last = np.floor(high + _NEAR).astype(np.int64)
        counts = self._up_to(line, np.maximum(last + 1, first)) - self._up_to(line, first)
        return np.bincount(owner, counts, len(x)).astype(np.int64)

    def _up_to(self, row: Ints, x: Ints) -> Ints:
        """Vertices of a row that lie left of column ``x``."""
        word, bit = x >> 6, (x & 63).astype(np.uint64)
        beyond = word == self._words
        word = word - beyond
        mask = (np.uint64(1) << bit) - np.uint64(1)
        mask[beyond] = ~np.uint64(0)
        here = np.bitwise_count(self._bits[row, word] & mask)
        return np.asarray(self._before[row, word] + here.astype(np.int64))


def _file(folder: Path, shape: tuple[int, int], kind: type[np.generic]) -> NDArray[np.generic]:
    with tempfile.TemporaryFile(dir=folder) as file:
        size = shape[0] * shape[1] * np.dtype(kind).itemsize
        # Space that turns out not to be there when a page is written would end the process.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:  # macOS
            for begin in range(0, size, _CHUNK):
                file.write(bytes(min(_CHUNK, size - begin)))
            file.flush()
        return np.memmap(file, kind, "r+", shape=shape)


def _span(x: Floats, y: Floats, line: Floats) -> tuple[Floats, Floats]:
    """Where a horizontal line enters and leaves the triangles it crosses."""
    low, high = np.full(len(line), np.inf), np.full(len(line), -np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        rise = y[:, j] - y[:, i]
        flat = rise == 0
        at = x[:, i] + (line - y[:, i]) * (x[:, j] - x[:, i]) / np.where(flat, 1, rise)
        meets = (line >= np.minimum(y[:, i], y[:, j])) & (line <= np.maximum(y[:, i], y[:, j]))
        other = np.where(flat, x[:, j], at)
        np.minimum(low, np.minimum(at, other), out=low, where=meets)
        np.maximum(high, np.maximum(at, other), out=high, where=meets)
    return low, high


def holds(triangles: Triangles, x: Floats, y: Floats) -> NDArray[np.bool_]:
    """Whether each closed triangle holds a point; coordinates are whole or halves."""
    tx, ty = triangles
    sides = [
        (tx[:, j] - tx[:, i]) * (y - ty[:, i]) - (ty[:, j] - ty[:, i]) * (x - tx[:, i])
        for i, j in ((0, 1), (1, 2), (2, 0))
    ]
    least, most = np.minimum.reduce(sides), np.maximum.reduce(sides)
    return np.asarray((least >= 0) | (most <= 0))
