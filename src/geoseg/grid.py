"""Where pixels are: a grid, and windows on it. Integers and six doubles; no files, no pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from affine import Affine

from geoseg.errors import GridMismatchError

SAME = 1e-6
"""Pixels that no corner of two grids may be apart, that they count as the same: programs compute one
pixel size in several ways, and the last digits differ."""

_UNEVEN = 0.3819660112501051
"""Part of a step that keys are shifted by: the golden section, of which no round number is a multiple."""


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A rectangle of pixels: ``rows [row, row + height)``, ``columns [col, col + width)``."""

    row: int
    col: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 0 or self.width < 0:
            raise ValueError(f"a window cannot have a negative side: {self}")

    @property
    def row_stop(self) -> int:
        """First row below the window."""
        return self.row + self.height

    @property
    def col_stop(self) -> int:
        """First column right of the window."""
        return self.col + self.width

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)``."""
        return self.height, self.width

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    def expand(self, margin: int) -> Window:
        """The window grown by ``margin`` pixels on each side (it may leave the grid)."""
        return Window(
            self.row - margin, self.col - margin, self.height + 2 * margin, self.width + 2 * margin
        )

    def clip(self, other: Window) -> Window:
        """The part inside ``other``; empty (a side of 0) where they do not meet."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        return Window(
            row,
            col,
            max(0, min(self.row_stop, other.row_stop) - row),
            max(0, min(self.col_stop, other.col_stop) - col),
        )

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Row and column slices of this window in an array that holds exactly ``outer``."""
        if self.clip(outer) != self:
            raise ValueError(f"{self} is not inside {outer}")
        row, col = self.row - outer.row, self.col - outer.col
        return slice(row, row + self.height), slice(col, col + self.width)


@dataclass(frozen=True, slots=True)
class Grid:
    """CRS, affine transform and size of a raster. Whether two are the same, ``differences`` says."""

    crs: str | None
    """WKT of the coordinate reference system as the raster gives it; None where it has none."""
    transform: Affine
    """Pixel (column, row) to map coordinates."""
    height: int
    width: int

    @property
    def window(self) -> Window:
        """The window that covers the whole grid."""
        return Window(0, 0, self.height, self.width)

    def windows(self, height: int, width: int | None = None) -> Iterator[Window]:
        """Windows of at most ``height`` x ``width`` pixels (full rows where no width is given).

        They cover the grid once, row by row from the first.
        """
        across = width or self.width
        for row in range(0, self.height, height):
            for col in range(0, self.width, across):
                yield Window(row, col, height, across).clip(self.window)

    @property
    def crs_name(self) -> str:
        """The CRS as people call it: authority code and name, ``none`` where there is none."""
        if self.crs is None:
            return "none"
        from pyproj import CRS  # noqa: PLC0415

        parsed = CRS.from_user_input(self.crs)
        code = parsed.to_authority()
        return f"{':'.join(code)} {parsed.name}" if code else str(parsed.name)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north of the four corners, in map coordinates."""
        x, y = zip(*(self.transform @ corner for corner in self._corners), strict=True)
        return min(x), min(y), max(x), max(y)

    def differences(self, other: Self) -> list[str]:
        """What differs, one phrase per property; empty where the grids are the same."""
        found = []
        if (self.width, self.height) != (other.width, other.height):
            found.append(
                f"size {self.width} x {self.height} against {other.width} x {other.height}"
            )
        apart = self._apart(other)
        if not apart <= SAME:  # what is not a number is not the same
            mine, theirs = (tuple(grid.transform)[:6] for grid in (self, other))
            found.append(f"transform {mine} against {theirs}, up to {apart:.3g} pixels apart")
        if not same_crs(self.crs, other.crs):
            tail = " (one name, two definitions)" if self.crs_name == other.crs_name else ""
            found.append(f"CRS {self.crs_name} against {other.crs_name}{tail}")
        return found

    def _apart(self, other: Self) -> float:
        """The farthest that a corner of this grid and the same one of the other are apart, in pixels
        of this grid along its rows or columns."""
        mine, theirs = tuple(self.transform)[:6], tuple(other.transform)[:6]
        a, b, _, d, e, _ = mine
        if mine == theirs or a * e == b * d:
            return 0.0 if mine == theirs else math.inf
        to_pixels = ~Affine(a, b, 0, d, e, 0)
        # Subtracted first: in large coordinates the difference would drown.
        shift = Affine(*(there - here for here, there in zip(mine, theirs, strict=True)))
        moved = [to_pixels @ (shift @ corner) for corner in self._corners]
        return float(max(abs(way) for corner in moved for way in corner))

    @property
    def _corners(self) -> list[tuple[int, int]]:
        return [(col, row) for col in (0, self.width) for row in (0, self.height)]

    @property
    def cells(self) -> tuple[int, ...]:
        """Where the corners are in steps of at most ``SAME`` pixels: for a key, which has no tolerance.

        Grids with one key are the same, and those that differ by rounding alone have one, unless a
        corner lies where two steps meet: no round number does.
        """
        a, b, _, d, e, _ = tuple(self.transform)[:6]
        side = min(math.hypot(a, d), math.hypot(b, e)) or 1.0
        step = 2.0 ** math.floor(
            math.log2(SAME * side)
        )  # the same where the sides' last digits differ
        corners = [self.transform @ corner for corner in self._corners]
        return tuple(math.floor(way / step + _UNEVEN) for corner in corners for way in corner)

    def require(self, other: Self, mine: str, theirs: str) -> None:
        """Raise ``GridMismatchError`` naming both files unless the grids are equal."""
        found = self.differences(other)
        if found:
            raise GridMismatchError(
                f"{theirs} is not on the grid of {mine}: {'; '.join(found)} (of {theirs}). "
                f"All rasters of a run share one grid, to {SAME:g} of a pixel: resample them first, for "
                "example with gdalwarp -t_srs, -te and -ts."
            )


def same_crs(mine: str | None, theirs: str | None) -> bool:
    """Whether two texts are one CRS: formats and programs spell the same system differently."""
    if mine == theirs or mine is None or theirs is None:
        return mine == theirs
    from pyproj import CRS  # noqa: PLC0415

    return bool(CRS.from_user_input(mine) == CRS.from_user_input(theirs))
