"""Where pixels are: a grid, and windows on it. Integers and six doubles; no files, no pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from affine import Affine

from geoseg.errors import GridMismatchError


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
    """CRS, affine transform and size of a raster. Two grids are equal exactly or not at all."""

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
        corners = [
            self.transform @ (col, row) for col in (0, self.width) for row in (0, self.height)
        ]
        x, y = zip(*corners, strict=True)
        return min(x), min(y), max(x), max(y)

    def differences(self, other: Self) -> list[str]:
        """What differs, one phrase per property; empty where the grids are equal."""
        pairs = [
            ("size", f"{self.width} x {self.height}", f"{other.width} x {other.height}"),
            ("transform", tuple(self.transform)[:6], tuple(other.transform)[:6]),
        ]
        found = [
            f"{name} {mine} against {theirs}" for name, mine, theirs in pairs if mine != theirs
        ]
        if not same_crs(self.crs, other.crs):
            tail = " (one name, two definitions)" if self.crs_name == other.crs_name else ""
            found.append(f"CRS {self.crs_name} against {other.crs_name}{tail}")
        return found

    def require(self, other: Self, mine: str, theirs: str) -> None:
        """Raise ``GridMismatchError`` naming both files unless the grids are equal."""
        found = self.differences(other)
        if found:
            raise GridMismatchError(
                f"{theirs} is not on the grid of {mine}: {'; '.join(found)} (of {theirs}). "
                "All rasters of a run share one grid exactly: resample them first, for example "
                "with gdalwarp -t_srs, -te and -ts."
            )


def same_crs(mine: str | None, theirs: str | None) -> bool:
    """Whether two texts are one CRS: formats and programs spell the same system differently."""
    if mine == theirs or mine is None or theirs is None:
        return mine == theirs
    from pyproj import CRS  # noqa: PLC0415

    return bool(CRS.from_user_input(mine) == CRS.from_user_input(theirs))
