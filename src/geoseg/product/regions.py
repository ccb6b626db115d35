"""Regions: the 4-connected areas of one class, found strip by strip and joined where strips meet.

A strip is cut into horizontal runs of one class; runs that touch from row to row are linked, and the
connected components of that graph are its regions. Counting runs instead of pixels keeps all of it
in a few array operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import NODATA
from geoseg.product.outlines import Corners, Ints, find_corners, link


@dataclass(frozen=True)
class Regions:
    """``n`` regions: what is counted of them."""

    code: NDArray[np.uint8]
    pixels: Ints
    confidence: Ints
    """Sum of the pixels' percents."""
    hectares: NDArray[np.float64]
    """NaN where the map has no CRS."""
    last: Ints
    """Index of the last pixel in raster order: regions are complete, and written, in this order."""

    def __len__(self) -> int:
        return len(self.code)

    def pick(self, chosen: NDArray[np.generic]) -> Self:
        """The regions at ``chosen`` (indices or a mask)."""
        return type(self)(
            self.code[chosen],
            self.pixels[chosen],
            self.confidence[chosen],
            self.hectares[chosen],
            self.last[chosen],
        )

    def followed_by(self, other: Self) -> Self:
        """Both tables, one after the other."""
        return type(self)(
            np.concatenate([self.code, other.code]),
            np.concatenate([self.pixels, other.pixels]),
            np.concatenate([self.confidence, other.confidence]),
            np.concatenate([self.hectares, other.hectares]),
            np.concatenate([self.last, other.last]),
        )

    def joined(self, group: Ints) -> Self:
        """One region per group; ``group[n]`` counts from 0, each group of one class."""
        count = int(group.max(initial=-1)) + 1
        code, last = np.zeros(count, np.uint8), np.zeros(count, np.int64)
        code[group] = self.code
        np.maximum.at(last, group, self.last)
        return type(self)(
            code,
            _sum(group, self.pixels, count),
            _sum(group, self.confidence, count),
            # Without any region bincount forgets its weights' type.
            np.bincount(group, self.hectares, count).astype(np.float64),
            last,
        )


@dataclass(frozen=True)
class Traced:
    """Regions with their corners, owned by their places in the table."""

    regions: Regions
    corners: Corners

    def __len__(self) -> int:
        return len(self.regions)

    def pick(self, chosen: Ints) -> Self:
        """The regions at the indices ``chosen``, in that order."""
        place = np.full(len(self), -1)
        place[chosen] = np.arange(len(chosen))
        owner = place[self.corners.owner]
        kept = owner >= 0
        return type(self)(self.regions.pick(chosen), self.corners.pick(kept, owner[kept]))

    def followed_by(self, other: Self) -> Self:
        """Both tables, the other's regions numbered after these."""
        moved = other.corners.owned_by(other.corners.owner + len(self))
        corners = Corners.concatenate([self.corners, moved])
        return type(self)(self.regions.followed_by(other.regions), corners)


def _sum(group: Ints, values: NDArray[np.integer], count: int) -> Ints:
    """Sum of ``values`` in each group; exact up to 2**53."""
    return np.bincount(group, values, count).astype(np.int64)


def find_regions(
    codes: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    hectares: NDArray[np.float64],
    row: int,
) -> tuple[Regions, NDArray[np.int32]]:
    """The regions of a strip ``[height, width]`` that starts at ``row`` of the map.

    ``hectares[height]`` is a pixel's area in each row. Also returns which region each pixel is in,
    ``int32[height, width]``, -1 for nodata.
    """
    width = codes.shape[1]
    begins = _run_begins(codes)
    run = np.cumsum(begins, dtype=np.int32).reshape(codes.shape) - 1
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=codes.size)
    code = codes.ravel()[starts]
    runs = Regions(
        code,
        lengths,
        np.add.reduceat(confidence.ravel(), starts, dtype=np.int64),
        lengths * hectares[starts // width],
        row * width + starts + lengths - 1,
    )
    component = _link_runs(codes, begins, run)
    valued = code != NODATA
    group = np.full(len(code), -1)
    group[valued] = np.unique(component[valued], return_inverse=True)[1]
    return runs.pick(valued).joined(group[valued]), group.astype(np.int32)[run]


def _run_begins(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a pixel differs from its left neighbour, ``bool[height, width]``; rows begin anew."""
    begins = np.ones(codes.shape, dtype=bool)
    np.not_equal(codes[:, 1:], codes[:, :-1], out=begins[:, 1:])
    return begins


def _link_runs(codes: NDArray[np.uint8], begins: NDArray[np.bool_], run: NDArray[np.int32]) -> Ints:
    """Component of each run, runs of one class that share an edge being joined."""
    touching = codes[1:] == codes[:-1]
    # A pair of runs is seen first where one of the two begins, and once is enough.
    touching &= begins[1:] | begins[:-1]
    return link(run[:-1][touching], run[1:][touching], int(run[-1, -1]) + 1)


def no_regions() -> Traced:
    """An empty table."""
    none = np.full((1, 1), NODATA, np.uint8)
    regions, places = find_regions(none, none, np.zeros(1), 0)
    return Traced(regions, find_corners(np.concatenate([places, places]), 0))


class Seam:
    """The lower edge of what has been read: its codes, and the regions that reach it."""

    def __init__(self, width: int) -> None:
        self._codes = np.full(width, NODATA, np.uint8)
        self._places = np.full(width, -1, np.int64)
        self._open = no_regions()

    def add(
        self,
        codes: NDArray[np.uint8],
        confidence: NDArray[np.uint8],
        hectares: NDArray[np.float64],
        row: int,
    ) -> Traced:
        """Join the next strip (as in ``find_regions``) to what is open above it.

        Returns the regions that are complete: those that do not reach the strip's lower edge,
        in the order of their last pixels.
        """
        found, places = find_regions(codes, confidence, hectares, row)
        before = len(self._open)
        meet = (codes[0] == self._codes) & (self._places >= 0)
        group = link(self._places[meet], places[0][meet] + before, before + len(found))
        # Appended for nodata, whose place -1 then stays -1.
        lookup = np.append(group[before:], -1)
        places = np.concatenate([np.append(group, -1)[self._places][np.newaxis], lookup[places]])

        fresh = find_corners(places, row)
        old = self._open.corners.owned_by(group[self._open.corners.owner])
        joined = Traced(
            self._open.regions.followed_by(found).joined(group), Corners.concatenate([old, fresh])
        )
        return self._split(joined, codes[-1], places[-1])

    def finish(self, row: int) -> Traced:
        """What is open at the lower edge of the map, ``row`` being the first one below it."""
        none = np.full((1, len(self._codes)), NODATA, np.uint8)
        return self.add(none, none, np.zeros(1), row)

    def _split(self, joined: Traced, codes: NDArray[np.uint8], places: Ints) -> Traced:
        """Keep what reaches the lower edge; return the rest in order."""
        reaches = np.zeros(len(joined), dtype=bool)
        reaches[places[places >= 0]] = True
        number = np.append(np.where(reaches, np.cumsum(reaches) - 1, -1), -1)
        self._open = joined.pick(np.flatnonzero(reaches))
        self._codes, self._places = codes, number[places]
        done = np.flatnonzero(~reaches)
        return joined.pick(done[np.argsort(joined.regions.last[done])])
