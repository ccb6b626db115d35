"""Borders between regions, read strip by strip: whole numbers and array operations.

Every lattice point where a border turns or where borders meet is a vertex. Around a vertex its borders
part the pixels into corners of one region each; a region's outline comes in along one side of a corner
and leaves along the other, the region on its left: that is a half edge, one step of one ring, which
knows the next: the neighbouring vertex along the border. Neighbours in a row follow each other in raster
order, those in a column after one stable sort. Since a vertex belongs to the map and not to the strip it
was read in, outlines grow from strip to strip and nothing has to be merged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import NODATA

Ints = NDArray[np.int64]
Whole = NDArray[np.int32]
Kind = TypeVar("Kind", bound=np.generic)

# Directions and quadrants go round counter-clockwise as one sees the raster: up, left, down, right.
# Quadrant q lies between directions q and q + 1: upper left, lower left, lower right, upper right.
_DOWN = 2


def _turns() -> tuple[NDArray[np.int8], NDArray[np.int8], NDArray[np.int8]]:
    """By the borders at a vertex (bits of directions) and one of them: the next one clockwise, the
    next one counter-clockwise, and one quadrant of each region (one or two) that it does not touch."""
    after, before = np.zeros((16, 4), np.int8), np.zeros((16, 4), np.int8)
    apart = np.zeros((16, 4, 2), np.int8)
    for borders in range(1, 16):
        for edge in range(4):
            there = [(edge + turn) % 4 for turn in range(1, 5) if borders >> (edge + turn) % 4 & 1]
            after[borders, edge], before[borders, edge] = there[-2:][0], there[0]
            # Counter-clockwise of each border lies one region; the first one's touches this border
            # and so does the last one's, which lies clockwise of it.
            others = there[:-2] or there[:1]
            apart[borders, edge] = others[0], others[-1]
    return after, before, apart


_AFTER, _BEFORE, _APART = _turns()


@dataclass(frozen=True)
class HalfEdges:
    """``n`` half edges in raster order of their vertices."""

    owner: Whole
    """Number of the region."""
    x: Whole
    """Column of the lattice point: left edge of the pixel of that column."""
    y: Whole
    next: Whole
    """Place in the table of the next half edge of the ring; -1 where it is not read yet."""
    degree: NDArray[np.uint8]
    """Borders that meet here, 2 to 4."""
    apart: NDArray[np.uint32]
    """Where more than two borders meet: codes of the regions here that the border does not touch along
    which the outline leaves (high bytes), or comes in (low bytes); two each, equal if there is one."""

    def __len__(self) -> int:
        return len(self.owner)

    def take(self, chosen: NDArray[np.generic] | slice, owner: Whole, following: Whole) -> Self:
        """The half edges at ``chosen`` (indices or a mask) with new owners and successors."""
        x, y = self.x[chosen], self.y[chosen]
        return type(self)(owner, x, y, following, self.degree[chosen], self.apart[chosen])

    def concat(self, other: Self) -> Self:
        """Both tables; owners and successors are taken as they are."""
        return type(self)(
            np.concatenate([self.owner, other.owner]),
            np.concatenate([self.x, other.x]),
            np.concatenate([self.y, other.y]),
            np.concatenate([self.next, other.next]),
            np.concatenate([self.degree, other.degree]),
            np.concatenate([self.apart, other.apart]),
        )

    @classmethod
    def none(cls) -> Self:
        """An empty table."""
        empty = np.array([], np.int32)
        return cls(empty, empty, empty, empty, empty.astype(np.uint8), empty.astype(np.uint32))


@dataclass(frozen=True)
class Hanging:
    """Vertical borders that go on below what has been read, by column."""

    x: Whole
    out: Whole
    """The half edge that leaves downwards, -1 for nodata: its successor is to be found."""
    into: Whole
    """The half edge to be entered from below, -1 for nodata."""

    @classmethod
    def none(cls) -> Self:
        """None hang."""
        empty = np.array([], np.int32)
        return cls(empty, empty, empty)

    def renumbered(self, number: Whole) -> Self:
        """The same under the new numbers of their half edges."""
        padded = np.append(number, np.int32(-1))
        return replace(self, out=padded[self.out], into=padded[self.into])


@dataclass(frozen=True)
class Strip:
    """A strip under the row above it, nodata to its left and right."""

    codes: NDArray[np.uint8]
    """``[1 + height, width + 2]``."""
    places: Whole
    """Region of each pixel, -1 for none; of the same shape."""
    row: int
    """Row of the map of the second line."""

    @classmethod
    def below(
        cls,
        above: tuple[NDArray[np.uint8], Whole],
        here: tuple[NDArray[np.uint8], Whole],
        row: int,
    ) -> Self:
        """Codes and places of the row ``above`` ``[width]`` and of the strip ``[height, width]``."""
        shape = here[0].shape[0] + 1, here[0].shape[1] + 2
        codes, places = np.full(shape, NODATA, np.uint8), np.full(shape, -1, np.int32)
        codes[0, 1:-1], places[0, 1:-1] = above
        codes[1:, 1:-1], places[1:, 1:-1] = here
        return cls(codes, places, row)

    def vertices(self) -> tuple[Ints, Ints, NDArray[np.uint8]]:
        """Column and line (in the strip) of each vertex in raster order, and its borders as bits."""
        beside, above = self.codes[:, 1:] != self.codes[:, :-1], self.codes[1:] != self.codes[:-1]
        sides = (beside[:-1], above[:, :-1], beside[1:], above[:, 1:])
        # Elsewhere a lattice point lies inside a region or on a straight border.
        corner = np.flatnonzero((sides[0] | sides[2]) & (sides[1] | sides[3]))
        y, x = np.divmod(corner, beside.shape[1])
        borders = np.zeros(len(corner), np.uint8)
        for direction, side in enumerate(sides):
            borders |= side[y, x].view(np.uint8) << np.uint8(direction)
        return x, y, borders

    def around(self, values: NDArray[Kind], x: Ints, y: Ints) -> NDArray[Kind]:
        """``values`` (of the strip's shape) in the quadrants of each point, ``[n, 4]``."""
        width = self.codes.shape[1]
        corner = y * width + x
        flat = values.ravel()
        return np.stack([flat[corner + step] for step in (0, width, width + 1, 1)], axis=1)


def find_half_edges(
    strip: Strip,
    vertices: tuple[Ints, Ints, NDArray[np.uint8]],
    before: HalfEdges,
    hanging: Hanging,
) -> tuple[HalfEdges, Hanging]:
    """HalfEdges at the strip's ``vertices``, put behind those found ``before``.

    Also returns what hangs from the strip's lower edge. Where two pixels of a region touch at a point
    only, there are two half edges of it, each going around its pixel; ``rings`` sorts that out.
    """
    x, y, borders = vertices
    places = strip.around(strip.places, x, y)
    leaves = (borders[:, np.newaxis] >> np.arange(4, dtype=np.uint8) & 1).astype(bool)
    number = np.flatnonzero(leaves & (places >= 0))
    vertex, direction = number >> 2, number & 3
    degree = np.bitwise_count(borders)[vertex]
    half_edges = HalfEdges(
        places.ravel()[number],
        x[vertex].astype(np.int32),
        (y[vertex] + strip.row).astype(np.int32),
        np.full(len(number), -1, np.int32),
        degree,
        np.zeros(len(number), np.uint32),
    )
    meet = np.flatnonzero(degree > 2)
    at, edge = vertex[meet], direction[meet]
    codes = strip.around(strip.codes, x[at], y[at]).astype(np.uint32)
    half_edges.apart[meet] = _apart(codes, borders[at], edge)

    slot = np.full((len(x), 4), -1, np.int32)
    slot.ravel()[number] = np.arange(len(before), len(before) + len(number), dtype=np.int32)
    table = before.concat(half_edges)
    return table, _connect(table.next, _Vertices(x.astype(np.int32), borders, slot), hanging)


def _apart(codes: NDArray[np.uint32], borders: NDArray[np.uint8], edge: Ints) -> NDArray[np.uint32]:
    """``HalfEdges.apart`` of the half edges that leave along ``edge``, codes ``[n, 4]`` being around."""
    packed = np.zeros(len(edge), np.uint32)
    for side in (edge, _BEFORE[borders, edge]):
        for quadrant in _APART[borders, side].T:
            packed = packed << np.uint32(8) | codes[np.arange(len(edge)), quadrant]
    return packed


@dataclass(frozen=True)
class _Vertices:
    """Vertices of a strip, those first from which borders hang into it."""

    x: Whole
    borders: NDArray[np.uint8]
    slot: Whole
    """``[n, 4]``: the half edge that leaves in each direction, -1 for none."""


def _connect(following: Whole, fresh: _Vertices, hanging: Hanging) -> Hanging:
    """Set the successors of all half edges whose next vertex is known; what still hangs is returned."""
    above = len(hanging.x)
    x = np.concatenate([hanging.x, fresh.x])
    borders = np.concatenate([np.full(above, 1 << _DOWN, np.uint8), fresh.borders])
    slot = np.concatenate([np.full((above, 4), -1, np.int32), fresh.slot])
    into = np.take_along_axis(slot, _AFTER[borders].astype(np.int64), axis=1)
    slot[:above, _DOWN], into[:above, _DOWN] = hanging.out, hanging.into

    # 16-bit keys are sorted in linear time.
    order = np.argsort(x.astype(np.uint16) if x.max(initial=0) < 2**16 else x, kind="stable")
    goes_on = (borders[order] >> _DOWN & 1).astype(bool)
    same = np.append(x[order[1:]] == x[order[:-1]], False)
    met = np.flatnonzero(goes_on & same)
    upper, lower = order[met], order[met + 1]
    beside = np.flatnonzero(borders >> 3 & 1)
    for here, there, direction in (
        (lower, upper, 0),
        (beside + 1, beside, 1),
        (upper, lower, 2),
        (beside, beside + 1, 3),
    ):
        leaving = slot[here, direction]
        kept = leaving >= 0
        following[leaving[kept]] = into[there[kept], (direction + 2) % 4]
    still = order[goes_on & ~same]
    return Hanging(x[still], slot[still, _DOWN], into[still, _DOWN])
