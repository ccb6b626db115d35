"""Windows, lattices, plans and legends: integers that have to be right for every size."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

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


def test_grids_are_equal_exactly_or_not_at_all() -> None:
    grid = Grid("EPSG:32631", Affine(10, 0, 5e5, 0, -10, 5e6), 20, 30)
    grid.require(grid, "a.tif", "b.tif")
    other = Grid("EPSG:32631", Affine(10, 0, 5e5 + 1e-9, 0, -10, 5e6), 20, 30)
    with pytest.raises(GridMismatchError, match=r"b\.tif .*transform .*gdalwarp"):
        grid.require(other, "a.tif", "b.tif")


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
