"""Regions: the 4-connected areas of one class in a strip of the map, traced in pixel coordinates.

A strip is cut into horizontal runs of one class; runs that touch from row to row are linked, and the
connected components of that graph are the regions. Counting runs instead of pixels keeps all of it
in array operations; only the outlines come from GDAL. Coordinates are whole numbers (column, row),
so regions of neighbouring strips join exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np
import rasterio.features
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.legend import NODATA

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Regions:
    """``n`` regions, and the ``m >= n`` polygons they are made of."""

    code: NDArray[np.uint8]
    pixels: Ints
    confidence: Ints
    """Sum of the pixels' percents."""
    hectares: NDArray[np.float64]
    """NaN where the map has no CRS."""
    last: Ints
    """Index of the last pixel in raster order; tells where in the file the region comes."""
    parts: NDArray[np.object_]
    """``[m]`` shapely polygons, one per strip and region."""
    owner: Ints
    """``[m]``: the region each part belongs to."""

    def __len__(self) -> int:
        return len(self.code)

    def take(self, chosen: NDArray[np.bool_]) -> Self:
        """The regions where ``chosen[n]`` holds."""
        number = np.cumsum(chosen) - 1
        kept = chosen[self.owner]
        return type(self)(
            self.code[chosen],
            self.pixels[chosen],
            self.confidence[chosen],
            self.hectares[chosen],
            self.last[chosen],
            self.parts[kept],
            number[self.owner[kept]],
        )

    def followed_by(self, other: Self) -> Self:
        """Both tables, ``other`` numbered after ``self``."""
        return type(self)(
            np.concatenate([self.code, other.code]),
            np.concatenate([self.pixels, other.pixels]),
            np.concatenate([self.confidence, other.confidence]),
            np.concatenate([self.hectares, other.hectares]),
            np.concatenate([self.last, other.last]),
            np.concatenate([self.parts, other.parts]),
            np.concatenate([self.owner, other.owner + len(self)]),
        )

    def joined(self, groups: Ints) -> Self:
        """One region per group; ``groups[n]`` counts from 0, each group of one class."""
        count = int(groups.max(initial=-1)) + 1
        code, last = np.zeros(count, np.uint8), np.zeros(count, np.int64)
        code[groups] = self.code
        np.maximum.at(last, groups, self.last)
        return type(self)(
            code,
            sum_by(groups, self.pixels, count),
            sum_by(groups, self.confidence, count),
            np.bincount(groups, self.hectares, count),
            last,
            self.parts,
            groups[self.owner],
        )

    def outlines(self) -> NDArray[np.object_]:
        """``[n]`` polygons in canonical form: corners only, starting at the least one."""
        order = np.argsort(self.owner, kind="stable")
        parts, owner = self.parts[order], self.owner[order]
        counts = np.bincount(owner, minlength=len(self))
        out = parts[np.cumsum(counts) - counts]
        several = np.flatnonzero(counts > 1)
        if several.size:
            chosen = counts[owner] > 1
            place = np.searchsorted(several, owner[chosen])
            bundles = shapely.multipolygons(parts[chosen], indices=place)
            # The union of whole-numbered right-angled outlines needs no rounding: it is exact.
            out[several] = _corners_only(shapely.union_all(bundles[:, np.newaxis], axis=1))
        return np.asarray(shapely.normalize(out))


def sum_by(groups: Ints, values: NDArray[np.integer], count: int) -> Ints:
    """Sum of ``values`` in each group (exact up to 2**53)."""
    return np.bincount(groups, values, count).astype(np.int64)


def link(first: Ints, second: Ints, count: int) -> Ints:
    """Connected components of ``count`` nodes joined pairwise: the component of each, from 0."""
    ones = np.ones(len(first), dtype=np.uint8)
    graph = coo_array((ones, (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


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
    height, width = codes.shape
    begins = _run_begins(codes)
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=codes.size)
    run_code = codes.ravel()[starts]
    run = np.cumsum(begins, dtype=np.int32).reshape(height, width) - 1
    region = _link_runs(codes, begins, run)
    valued = run_code != NODATA
    _, region[valued] = np.unique(region[valued], return_inverse=True)
    region[~valued] = -1
    run_percent = np.add.reduceat(confidence.ravel(), starts, dtype=np.int64)
    places = region[run].astype(np.int32)

    members, begin, long = region[valued], starts[valued], lengths[valued]
    count = int(members.max(initial=-1)) + 1
    code, last = np.zeros(count, np.uint8), np.zeros(count, np.int64)
    code[members] = run_code[valued]
    np.maximum.at(last, members, begin + long - 1)
    parts, owner = _trace(places, row)
    found = Regions(
        code,
        sum_by(members, long, count),
        sum_by(members, run_percent[valued], count),
        np.bincount(members, long * hectares[begin // width], count),
        last + row * width,
        parts,
        owner,
    )
    return found, places


def _run_begins(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a pixel differs from its left neighbour, ``bool[height, width]``; rows begin anew."""
    begins = np.ones(codes.shape, dtype=bool)
    np.not_equal(codes[:, 1:], codes[:, :-1], out=begins[:, 1:])
    return begins


def _link_runs(codes: NDArray[np.uint8], begins: NDArray[np.bool_], run: NDArray[np.int32]) -> Ints:
    """Component of each run, runs of one class that share an edge being joined."""
    touching = codes[1:] == codes[:-1]
    # A pair of runs is seen first where one of them begins; once is enough.
    touching &= begins[1:] | begins[:-1]
    return link(run[:-1][touching], run[1:][touching], int(run[-1, -1]) + 1)


def _trace(places: NDArray[np.int32], row: int) -> tuple[NDArray[np.object_], Ints]:
    """Outline of each region in map pixels, and the region it is of."""
    shift = rasterio.Affine.translation(0, row)
    found = rasterio.features.shapes(places, places >= 0, connectivity=4, transform=shift)
    rings, ring_counts, owner = [], [], []
    for shape, value in found:
        rings.extend(shape["coordinates"])
        ring_counts.append(len(shape["coordinates"]))
        owner.append(int(value))
    points = np.array(list(chain.from_iterable(rings)), dtype=np.float64).reshape(-1, 2)
    ring_ends = np.cumsum([0, *(len(ring) for ring in rings)])
    polygons = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, points, (ring_ends, np.cumsum([0, *ring_counts]))
    )
    return np.asarray(polygons, dtype=object), np.array(owner, dtype=np.int64)


def _corners_only(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """Right-angled polygons without the points in the middle of straight edges."""
    kind, points, (ring_ends, polygon_ends) = shapely.to_ragged_array(polygons)
    if kind != shapely.GeometryType.POLYGON:
        raise AssertionError("parts that share an edge make one polygon")
    before, after = np.arange(len(points)) - 1, np.arange(len(points)) + 1
    first, close = ring_ends[:-1], ring_ends[1:] - 1
    # Rings are closed: their first point comes again at the end, and is dropped there for now.
    before[first], after[close - 1] = close - 1, first
    steps_in, steps_out = points - points[before], points[np.minimum(after, len(points) - 1)] - points
    corner = ((steps_in != 0) != (steps_out != 0)).any(axis=1)
    corner[close] = False
    kept = np.add.reduceat(corner, first, dtype=np.int64)
    order = np.flatnonzero(corner)
    ends = np.cumsum([0, *kept])
    closed = np.insert(order, ends[1:], order[ends[:-1]])
    return np.asarray(
        shapely.from_ragged_array(
            kind, points[closed], (ends + np.arange(len(ends)), polygon_ends)
        )
    )
