"""Windows, lattices, plans and legends: integers that have to be right for every size."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_bounds

from geoseg.errors import ConfigError, GridMismatchError, LabelError
from geoseg.grid import Grid, Window
from geoseg.legend import NODATA, UNKNOWN, Legend, LegendClass
from geoseg.tiling import Lattice, Plan

LEGEND = Legend((LegendClass(7, "wheat", "#ff0000"), LegendClass(3, "maize", "#00ff00")))
windows = st.builds(
    Window, st.integers(-50, 50), st.integers(-50, 50), st.integers(0, 60), st.integers(0, 60)
)


@given(windows, windows)
def test_clip_is_the_common_part(a: Window, b: Window) -> None:
    def pixels(w: Window) -> set[tuple[int, int]]:
        return {(r, c) for r in range(w.row, w.row_stop) for c in range(w.col, w.col_stop)}

    assert pixels(a.clip(b)) == pixels(a) & pixels(b)


def test_within_refuses_what_sticks_out() -> None:
    with pytest.raises(ValueError, match="not inside"):
        Window(0, 0, 5, 5).within(Window(1, 0, 5, 5))


@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    core=st.sampled_from([32, 64, 96]),
    margin=st.sampled_from([0, 32, 64]),
    cores=st.integers(1, 4),
)
def test_each_pixel_is_in_one_core(
    height: int, width: int, core: int, margin: int, cores: int
) -> None:
    plan = Plan(Lattice(height, width, core, margin), core * cores)
    count = np.zeros((height, width), dtype=int)
    blocks = list(plan)
    for block in blocks:
        assert block == plan.block_at(block.row, block.col)
        for patch in plan.lattice.patches(block.core):
            count[patch.core.within(plan.lattice.window)] += 1
            assert patch.extent.clip(block.extent) == patch.extent
            assert patch.extent.row % 32 == patch.extent.col % 32 == 0
            assert patch.kept == patch.core
    assert (count == 1).all()
    assert len(blocks) == len(plan)
    assert len({block.id for block in blocks}) == len(blocks)


@pytest.mark.parametrize(("core", "margin", "block"), [(500, 64, 1000), (512, 50, 512), (0, 0, 0)])
def test_off_the_stride_is_refused(core: int, margin: int, block: int) -> None:
    with pytest.raises(ConfigError, match="multiple"):
        Plan(Lattice(1000, 1000, core, margin), block)


def test_block_that_cuts_cores_is_refused() -> None:
    with pytest.raises(ConfigError, match="nearest is 1024"):
        Plan(Lattice(1000, 1000, 512, 64), 1000)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.integers(1, 50))
def test_windows_cover_the_grid_once(height: int, width: int, rows: int, cols: int) -> None:
    grid = Grid(None, Affine.identity(), height, width)
    for windows in (grid.windows(rows, cols), grid.windows(rows)):
        count = np.zeros((height, width), dtype=int)
        for window in windows:
            assert window.size > 0
            count[window.within(grid.window)] += 1
        assert (count == 1).all()


UTM = Grid("EPSG:32631", Affine(10, 0, 5e5, 0, -10, 5e6), 20, 30)
DEGREES = Grid("EPSG:4326", from_bounds(9.1234567, 52.6, 9.3, 52.7654321, 300, 200), 200, 300)
TURNED = Grid("EPSG:32631", Affine(8, 6, 5e5, 6, -8, 5e6), 1000, 2000)


def moved(grid: Grid, *changes: float) -> Grid:
    """The grid with these numbers added to those of its transform."""
    numbers = [n + by for n, by in zip(tuple(grid.transform)[:6], changes, strict=True)]
    return dataclasses.replace(grid, transform=Affine(*numbers))


@pytest.mark.parametrize(
    ("grid", "changes"),
    [
        (UTM, (0, 0, 0, 0, 0, 0)),
        (UTM, (0, 0, 9e-6, 0, 0, -9e-6)),  # 0.9 millionths of 10 m
        (UTM, (2e-7, 0, 0, 0, 0, 0)),  # times 30 columns: 6e-6 m
        (DEGREES, (8e-18, 0, 0, 0, -8e-18, 0)),
        (DEGREES, (0, 0, 1.8e-15, 0, 0, 7e-15)),
        (TURNED, (0, 1e-9, 0, -1e-9, 0, 0)),
    ],
)
def test_grids_within_a_millionth_of_a_pixel_are_the_same(
    grid: Grid, changes: tuple[float, ...]
) -> None:
    grid.require(moved(grid, *changes), "a.tif", "b.tif")
    moved(grid, *changes).require(grid, "a.tif", "b.tif")


@pytest.mark.parametrize(
    ("grid", "changes", "apart"),
    [
        (UTM, (0, 0, 1, 0, 0, 0), "0.1 pixels"),
        (UTM, (0, 0, 0, 0, 0, 1.1e-5), "1.1e-06 pixels"),
        (UTM, (1e-6, 0, 0, 0, 0, 0), "3e-06 pixels"),  # far from the origin only
        (UTM, (0, 0, 0, 0, 20, 0), "40 pixels"),  # the same corners, rows the other way round
        (TURNED, (0, 0, 0.8, 0, 0, 0.6), "0.1 pixels"),  # along its rows
        (TURNED, (0, 1e-7, 0, 0, 0, 0), "8e-06 pixels"),
    ],
)
def test_what_is_farther_apart_is_told_in_pixels(
    grid: Grid, changes: tuple[float, ...], apart: str
) -> None:
    other = moved(grid, *changes)
    with pytest.raises(GridMismatchError, match=r"b\.tif .*transform .*gdalwarp") as caught:
        grid.require(other, "a.tif", "b.tif")
    assert apart in str(caught.value)
    for number in (*tuple(grid.transform)[:6], *tuple(other.transform)[:6]):
        assert repr(number) in str(caught.value)


def test_a_grid_without_area_is_only_like_itself() -> None:
    flat = Grid(None, Affine(0, 0, 5, 0, 0, 5), 2, 2)
    flat.require(flat, "a.tif", "b.tif")
    with pytest.raises(GridMismatchError):
        flat.require(moved(flat, 0, 0, 1, 0, 0, 0), "a.tif", "b.tif")
    assert flat.cells == flat.cells


@given(
    west=st.floats(-180, 179),
    north=st.floats(-80, 80),
    size=st.sampled_from([1e-4, 0.00025, 1 / 3600, 1 / 1113.2, 0.0089]),
    width=st.integers(1, 20000),
)
def test_rounding_leaves_the_key_of_a_grid_as_it_is(
    west: float, north: float, size: float, width: int
) -> None:
    west, north = round(west, 6), round(north, 6)
    one = Affine(size, 0, west, 0, -size, north)
    east, south = one @ (width, width)
    two = Affine((east - west) / width, 0, west, 0, (south - north) / width, north)
    keys = [Grid("EPSG:4326", t, width, width).cells for t in (one, two)]
    assert max(abs(a - b) for a, b in zip(*keys, strict=True)) <= 1
    assert keys[0] != Grid("EPSG:4326", one @ Affine.translation(2e-6, 0), width, width).cells


@pytest.mark.parametrize("grid", [UTM, DEGREES, TURNED])
def test_grids_that_differ_by_rounding_have_one_key(grid: Grid) -> None:
    changes = [math.ulp(number) for number in tuple(grid.transform)[:6]]
    assert moved(grid, *changes).cells == grid.cells
    assert moved(grid, *(-by for by in changes)).cells == grid.cells


def test_codes_and_indices() -> None:
    codes = np.array([[7, 3, NODATA], [0, 7, 7]], dtype=np.uint8)
    indices = LEGEND.to_indices(codes, "x.tif", ignore=(NODATA, 0))
    assert indices.tolist() == [[0, 1, UNKNOWN], [UNKNOWN, 0, 0]]
    assert LEGEND.to_codes(indices).tolist() == [[7, 3, 255], [255, 7, 7]]
    with pytest.raises(LabelError, match=r"x\.tif: value 0 is not a code"):
        LEGEND.to_indices(codes, "x.tif")
    assert LEGEND.colormap[7] == (255, 0, 0, 255)


@pytest.mark.parametrize(
    "classes",
    [
        (LegendClass(1, "a", "#000000"), LegendClass(1, "b", "#000000")),
        (LegendClass(1, "a", "#000000"), LegendClass(2, "a", "#000000")),
        (LegendClass(1, "a", "#000000"), LegendClass(255, "b", "#000000")),
        (LegendClass(1, "a", "#000000"),),
    ],
)
def test_bad_legends(classes: tuple[LegendClass, ...]) -> None:
    with pytest.raises(ConfigError, match="legend"):
        Legend(classes)
