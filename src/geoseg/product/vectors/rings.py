"""Polygons as rings of points, ``n`` of them in a few arrays; shapely objects only at the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.grid import Grid

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Rings:
    """Rings of polygons, in lattice coordinates: column and row of pixels' upper left corners.

    Each polygon's first ring is its exterior. The last point of a ring is not the first again.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    degree: NDArray[np.uint8]
    """Borders that meet at the point: more than 2 where arcs begin and end."""
    apart: NDArray[np.uint32]
    """See ``Wedges.apart``."""
    starts: Ints
    """``[rings + 1]``: first point of each ring, and the number of points."""
    first: Ints
    """``[polygons + 1]``: first ring of each polygon, and the number of rings."""

    def __len__(self) -> int:
        return len(self.first) - 1

    @classmethod
    def none(cls) -> Self:
        """No polygons."""
        empty, zero = np.array([]), np.zeros(1, np.int64)
        return cls(empty, empty, empty.astype(np.uint8), empty.astype(np.uint32), zero, zero)

    def points(self) -> Ints:
        """Number of points of each polygon."""
        return np.diff(self.starts[self.first])

    def slice(self, start: int, stop: int) -> Self:
        """The polygons ``start`` to ``stop - 1``."""
        first = self.first[start : stop + 1]
        starts = self.starts[first[0] : first[-1] + 1]
        some = slice(starts[0], starts[-1])
        return type(self)(
            self.x[some],
            self.y[some],
            self.degree[some],
            self.apart[some],
            starts - starts[0],
            first - first[0],
        )

    def concat(self, other: Self) -> Self:
        """All polygons, the other's behind these."""
        return type(self)(
            np.concatenate([self.x, other.x]),
            np.concatenate([self.y, other.y]),
            np.concatenate([self.degree, other.degree]),
            np.concatenate([self.apart, other.apart]),
            np.concatenate([self.starts[:-1], other.starts + self.starts[-1]]),
            np.concatenate([self.first[:-1], other.first + self.first[-1]]),
        )

    def framed(self, grid: Grid) -> Self:
        """The same with the map's own corners among the points where borders meet."""
        corner = np.isin(self.x, [0, grid.width]) & np.isin(self.y, [0, grid.height])
        return replace(self, degree=np.where(corner, np.uint8(3), self.degree))

    def following(self) -> Ints:
        """The next point of each point along its ring."""
        following = np.arange(1, len(self.x) + 1)
        following[self.starts[1:] - 1] = self.starts[:-1]
        return following

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over each polygon of one value per point."""
        if not len(self):
            return np.array([])
        # Every ring has points, so that no segment is empty.
        return np.asarray(np.add.reduceat(values, self.starts[self.first[:-1]]))

    def polygons(self, grid: Grid) -> NDArray[np.object_]:
        """Shapely polygons in map coordinates."""
        if not len(self):
            return np.array([], dtype=object)
        a, b, c, d, e, f = tuple(grid.transform)[:6]
        sizes = np.diff(self.starts)
        place = np.arange(len(self.x)) + np.repeat(np.arange(len(sizes)), sizes)
        points = np.empty((len(self.x) + len(sizes), 2))
        points[place, 0] = a * self.x + b * self.y + c
        points[place, 1] = d * self.x + e * self.y + f
        offsets = self.starts + np.arange(len(self.starts))
        points[offsets[1:] - 1] = points[offsets[:-1]]
        kind = shapely.GeometryType.POLYGON
        return np.asarray(shapely.from_ragged_array(kind, points, (offsets, self.first)))
