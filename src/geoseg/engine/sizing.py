"""How much memory a worker process needs, told before it starts; the formula is in docs/prediction.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from geoseg.errors import MemoryLimitError
from geoseg.imagery.scenes import Scene
from geoseg.io.raster import rasters
from geoseg.model.footprint import Footprint
from geoseg.tiling import VISIT_COLUMN_WIDTH, Lattice

PROCESS = 850 * 2**20
"""Bytes of a process with torch, segmentation-models-pytorch and rasterio loaded (measured: 750 MiB)."""

PAYS = 1024
"""Side of a block in pixels beyond which nothing is gained but the time a lost block costs."""

CACHE_MOST, CACHE_LEAST = 2 * 2**30, 64 * 2**20
"""Bounds of the cache of decoded tiles, in bytes."""

BATCH_MOST = 16
"""Patches that go through a GPU together at most."""


@dataclass(frozen=True, slots=True)
class Imagery:
    """What a pixel of the season costs, and how its files are tiled."""

    dates: int
    channels: int
    bytes_per_pixel: int
    """Of all dates and bands, as they are in the files."""
    tile: tuple[int, int]
    """Height and width of the largest of the files' tiles."""

    @classmethod
    def of(cls, scenes: tuple[Scene, ...]) -> Imagery:
        """Opens one file per band of the first scene; the other dates are like it."""
        infos = {path: rasters.describe(path) for path in scenes[0].files}
        bands = [np.dtype(infos[asset.path].dtype).itemsize for asset in scenes[0].assets]
        height, width = zip(*(info.tile for info in infos.values()), strict=True)
        return cls(
            len(scenes),
            len(scenes) * len(bands),
            len(scenes) * sum(bands),
            (max(height), max(width)),
        )


@dataclass(frozen=True, slots=True)
class MemoryModel:
    """What the blocks of a run ask of a process."""

    imagery: Imagery
    lattice: Lattice
    classes: int
    footprint: Footprint
    """Of one network: members of an ensemble take turns."""
    members: int
    threads: int
    """Blocks under way at once in a process."""
    concurrency: int
    """Networks that compute at once."""

    def bytes(self, block: int, cache: int) -> int:
        """Peak memory of a worker process on a CPU."""
        return (
            PROCESS
            + self.members * self.footprint.constant
            + cache
            + self.threads * self._read(block)
            + self.concurrency * (self.patch_bytes + self._decided(block))
        )

    def _read(self, block: int) -> int:
        """A block as it was read: its values, one date twice, and where each date is valid."""
        side = block + 2 * (self.lattice.margin + (self.lattice.core if self.lattice.blend else 0))
        pixels = min(side, self.lattice.height) * min(side, self.lattice.width)
        of = self.imagery
        return pixels * (of.bytes_per_pixel + of.bytes_per_pixel // of.dates + of.dates + 2)

    @property
    def patch_bytes(self) -> int:
        """A patch in the network: input, activations, probabilities and their softmax."""
        side = self.lattice.core + 2 * self.lattice.margin + self.lattice.stride
        pixels = min(side, self.lattice.height + self.lattice.stride) * min(
            side, self.lattice.width + self.lattice.stride
        )
        activations = self.footprint.peak(pixels) - self.footprint.constant
        return activations + pixels * 8 * self.classes

    def _decided(self, block: int) -> int:
        """A block's probabilities, and class and confidence as numbers of several widths."""
        pixels = min(block, self.lattice.height) * min(block, self.lattice.width)
        return pixels * (8 * self.classes + 24)

    def ideal_cache(self, block: int) -> int:
        """Bytes with which each tile of a strip is decoded once: those of one row of blocks."""
        tall, wide = self.imagery.tile
        height = min(block + 2 * tall, -(-self.lattice.height // tall) * tall)
        width = min(VISIT_COLUMN_WIDTH, -(-self.lattice.width // wide) * wide)
        # A fifth more: for the tiles beside the strip, and because the next row of blocks begins
        # before the last tiles of this one are read.
        size = int(1.2 * height * width * self.imagery.bytes_per_pixel)
        return min(max(size, CACHE_LEAST), CACHE_MOST)


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What fits."""

    block: int
    cache: int
    needs: int
    """Bytes, by the formula."""


def block_that_pays(core: int) -> int:
    """Side in pixels of the blocks that ``auto`` takes where memory allows."""
    return max(core, PAYS // core * core)


def fit(load: MemoryModel, block: int | Literal["auto"], limit: int | None) -> MemoryPlan:
    """The block, and the cache of decoded tiles, that fit ``limit`` bytes.

    ``auto`` starts from the block that pays and takes smaller ones, down to one core; a smaller cache
    (tiles are then decoded again) comes before a smaller block. Raises ``MemoryLimitError``.
    """
    core = load.lattice.core
    blocks = range(block_that_pays(core), 0, -core) if block == "auto" else (block,)
    sizes = [
        MemoryPlan(side, cache, load.bytes(side, cache)) for side, cache in _pairs(load, blocks)
    ]
    for size in sizes:
        if limit is None or size.needs <= limit:
            return size
    least = sizes[-1]
    raise MemoryLimitError(
        f"predict.block: {least.block} px of {load.imagery.channels} channels and {load.classes} "
        f"classes, {load.concurrency} at once with patches of {core} px, need {_gigabytes(least.needs)}; "
        f"a worker process may use {_gigabytes(limit or 0)}. Choose a smaller predict.core (and "
        "block), fewer cluster.concurrency, or raise predict.memory"
    )


def _pairs(load: MemoryModel, blocks: range | tuple[int, ...]) -> Iterator[tuple[int, int]]:
    for side in blocks:
        ideal = load.ideal_cache(side)
        for cache in (ideal, max(ideal // 2, CACHE_LEAST), CACHE_LEAST):
            yield side, cache


def batch(load: MemoryModel, free: int | None) -> int:
    """Patches that go through the network together: 1 on a CPU, on a GPU what its memory holds."""
    if free is None:
        return 1
    fitting = int(free * 0.7) // (load.concurrency * load.patch_bytes)
    return max(1, min(BATCH_MOST, fitting))


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
