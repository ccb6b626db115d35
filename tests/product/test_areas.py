"""Pixels and their ground area are counted by value, whatever the windows."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.grid import Grid
from geoseg.product.areas import PixelCounts, pixel_area


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.booleans(), st.booleans())
def test_counts_are_those_of_each_pixel(seed: int, rows: int, even: bool, masked: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 300, (20, 13))
    area = np.full(20, 0.01) if even else rng.uniform(0.5, 2, 20)
    chosen = rng.random((20, 13)) < 0.7 if masked else np.ones((20, 13), bool)
    counts, without_area = PixelCounts(area, 300), PixelCounts(None, 300)
    for row in range(0, 20, rows):
        some = slice(row, row + rows)
        for each in (counts, without_area):
            each.add(values[some], row, chosen[some] if masked else None)
    expected = [(chosen & (values == value)) for value in range(300)]
    assert counts.pixels.tolist() == [int(each.sum()) for each in expected]
    assert without_area.pixels.tolist() == counts.pixels.tolist()
    assert without_area.area is None
    assert counts.area == pytest.approx([(area[:, None] * each).sum() for each in expected])


@pytest.mark.parametrize("west", [0.0, 179.9, 359.9])
def test_a_pixel_has_one_area_at_any_longitude(west: float) -> None:
    """On the 180th meridian and where longitudes count to 360 too."""
    wkt = pyproj.CRS.from_epsg(4326).to_wkt()
    areas = pixel_area(Grid(wkt, Affine(0.3, 0, west, 0, -0.3, 48), 3, 1))
    first = pixel_area(Grid(wkt, Affine(0.3, 0, 5, 0, -0.3, 48), 3, 1))
    assert areas == pytest.approx(first, rel=1e-9)
