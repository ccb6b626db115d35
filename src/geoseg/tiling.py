"""The one lattice of patches for a whole grid, and the blocks of work on it. Integers only.

A patch is what the network sees; its core is what is kept. Cores are squares of ``core`` pixels
laid from the grid's origin and cut at its far border, so each pixel belongs to exactly one core. A patch
is its core grown by ``margin`` and clipped at the grid's border. Core and margin are multiples of
the network's output stride, so patch origins are too: a convolutional network then samples the same
phase in every patch, and moving a block border moves no prediction.

With ``blend`` a prediction is kept for as many pixels beyond its core, and neighbours are mixed
there; without, each pixel comes from the one patch whose core holds it.

A block is a rectangle of whole cores: the unit of work, of retry and of one receipt. Since the
lattice does not depend on the blocks, neither does the map.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from geoseg.errors import ConfigError
from geoseg.grid import Window

VISIT_COLUMN_WIDTH = 4096
"""Width in pixels of the columns in which blocks are visited."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One square the network sees, in grid coordinates."""

    core: Window
    """The square of the lattice that the patch stands for."""
    kept: Window
    """The pixels whose prediction is kept: the core, grown by the lattice's ``blend``."""
    extent: Window
    """What is read: the core and its margin, clipped at the grid's border."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """The patches of a grid."""

    height: int
    width: int
    core: int
    """Side of a patch core in pixels, a multiple of ``stride``."""
    margin: int
    """Context on each side of the core in pixels, a multiple of ``stride``; it is cropped."""
    stride: int = 32
    """Output stride of the network: the side of the square its coarsest layer sees as one."""
    blend: int = 0
    """Pixels on each side of a core's border where neighbouring patches are mixed; 0: none are."""

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a grid needs at least one pixel, not {self.width} x {self.height}")
        for key, value, least in (("core", self.core, self.stride), ("margin", self.margin, 0)):
            if value < least or value % self.stride:
                raise ConfigError(
                    f"predict.{key}: {value} is not a multiple of the network's stride "
                    f"{self.stride} (at least {least}); the nearest is "
                    f"{max(least, round(value / self.stride) * self.stride)}"
                )
        if not 0 <= self.blend <= min(self.margin, self.core // 2):
            raise ConfigError(
                f"predict.blend: patches of core {self.core} with margin {self.margin} cannot be "
                f"mixed over {self.blend} pixels; a larger predict.core leaves room"
            )

    @property
    def window(self) -> Window:
        """The whole grid."""
        return Window(0, 0, self.height, self.width)

    def patches(self, window: Window) -> Iterator[Patch]:
        """The patches that are kept somewhere in ``window``, row by row.

        ``window`` must start on the lattice and end on it or on the grid's border.
        """
        around = window.expand(self.core if self.blend else 0).clip(self.window)
        for row in range(around.row, around.row_stop, self.core):
            for col in range(around.col, around.col_stop, self.core):
                yield self._patch(row, col)

    def _patch(self, row: int, col: int) -> Patch:
        core = Window(row, col, self.core, self.core).clip(self.window)
        kept, extent = (core.expand(n).clip(self.window) for n in (self.blend, self.margin))
        return Patch(core, kept, extent)

    def around(self, window: Window) -> Window:
        """What the patches of ``window`` see together."""
        return window.expand(self.margin + (self.core if self.blend else 0)).clip(self.window)


@dataclass(frozen=True, slots=True)
class Block:
    """The unit of work: cores of neighbouring patches, read once with the margin, written once."""

    row: int
    """Row of the block among the blocks."""
    col: int
    core: Window
    """What the block writes."""
    extent: Window
    """What the block reads: all that its patches see."""

    @property
    def id(self) -> str:
        """Name of the block in files and messages, e.g. ``r0003_c0012``."""
        return block_id(self.row, self.col)


def block_id(row: int, col: int) -> str:
    """Name of the block in that row and column of the blocks."""
    return f"r{row:04d}_c{col:04d}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All blocks of a grid: the lattice, cut into squares of ``block`` pixels."""

    lattice: Lattice
    block: int
    """Side of a block in pixels, a multiple of the lattice's core."""

    def __post_init__(self) -> None:
        core = self.lattice.core
        if self.block < core or self.block % core:
            raise ConfigError(
                f"predict.block: {self.block} is not a multiple of predict.core ({core}); the "
                f"nearest is {max(core, round(self.block / core) * core)}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        return -(-self.lattice.height // self.block), -(-self.lattice.width // self.block)

    def __len__(self) -> int:
        rows, cols = self.shape
        return rows * cols

    def __iter__(self) -> Iterator[Block]:
        """The blocks, each next to the one before: what both read is then still in memory.

        Column by column of ``VISIT_COLUMN_WIDTH`` pixels, in each to and fro from the top down. The
        columns bound what must be remembered from one row of blocks to the next, however wide the
        grid is.
        """
        rows, cols = self.shape
        across = max(1, VISIT_COLUMN_WIDTH // self.block)
        for first in range(0, cols, across):
            strip = range(first, min(first + across, cols))
            for row in range(rows):
                for col in strip if row % 2 == 0 else reversed(strip):
                    yield self.block_at(row, col)

    def block_at(self, row: int, col: int) -> Block:
        """The block in row ``row`` and column ``col`` of the blocks."""
        rows, cols = self.shape
        if not (0 <= row < rows and 0 <= col < cols):
            raise IndexError(f"block ({row}, {col}) is outside {rows} x {cols} blocks")
        core = Window(row * self.block, col * self.block, self.block, self.block)
        core = core.clip(self.lattice.window)
        return Block(row, col, core, self.lattice.around(core))
