"""Labels from a raster of codes, with fields from another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.config import LabelsConfig
from geoseg.errors import GridMismatchError, LabelError, RasterError
from geoseg.grid import Grid, Window
from geoseg.imagery.labels import Labels, open_labels
from geoseg.io.raster import rasters
from geoseg.legend import UNKNOWN, Legend, LegendClass
from tests.support.common import Raster

LEGEND = Legend(
    (
        LegendClass(7, "wheat", "#ff0000"),
        LegendClass(3, "maize", "#00ff00"),
        LegendClass(0, "other", "#0000ff"),
    )
)


def read_all(labels: Labels, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    return labels.read(grid.window)


@pytest.fixture
def codes(tmp_path: Path, raster: Raster) -> Path:
    values = np.full((1, 40, 48), 255, dtype=np.uint8)
    values[0, :10] = 7
    values[0, 10:15] = 3
    values[0, 15:17] = 0
    return raster(tmp_path / "labels.tif", values, 255)


def test_a_raster_of_codes(codes: Path, tiny_grid: Grid) -> None:
    indices, fields = read_all(open_labels(LabelsConfig(file=codes), tiny_grid, LEGEND), tiny_grid)
    expected = np.repeat([0, 1, 2, UNKNOWN], [10, 5, 2, 23])
    np.testing.assert_array_equal(indices, np.broadcast_to(expected[:, None], (40, 48)))
    assert not fields.any()
    for ignore in ((3,), ("3",), ("maize",)):
        labels = open_labels(LabelsConfig(file=codes, ignore=ignore), tiny_grid, LEGEND)
        found, _ = labels.read(Window(8, 3, 5, 5))
        assert found[:, 0].tolist() == [0, 0, UNKNOWN, UNKNOWN, UNKNOWN]


def test_codes_as_floats(tmp_path: Path, raster: Raster, tiny_grid: Grid) -> None:
    values = np.full((1, 40, 48), np.nan, dtype=np.float32)
    values[0, 5] = 7
    path = raster(tmp_path / "x.tif", values, np.nan)
    indices, _ = read_all(open_labels(LabelsConfig(file=path), tiny_grid, LEGEND), tiny_grid)
    assert (indices == 0).sum() == 48
    assert (indices == UNKNOWN).sum() == 39 * 48


def test_fields(codes: Path, tmp_path: Path, raster: Raster, tiny_grid: Grid) -> None:
    ids = np.arange(40 * 48, dtype=np.uint32).reshape(1, 40, 48) + 70_000
    config = LabelsConfig(file=codes, fields=raster(tmp_path / "ids.tif", ids, 70_001))
    _, fields = open_labels(config, tiny_grid, LEGEND).read(Window(0, 0, 1, 3))
    assert fields.tolist() == [[70_000, 0, 70_002]]
    raster(tmp_path / "ids.tif", ids + 3_000_000_000)
    with pytest.raises(
        LabelError, match=r"ids\.tif: 3000070000 is no field id; .*number the fields"
    ):
        open_labels(config, tiny_grid, LEGEND).read(Window(0, 0, 1, 3))


def test_mistakes_in_rasters(codes: Path, tmp_path: Path, raster: Raster, tiny_grid: Grid) -> None:
    def opened(**change: Any) -> Labels:
        return open_labels(LabelsConfig(file=codes, **change), tiny_grid, LEGEND)

    with pytest.raises(
        LabelError, match=r"labels\.ignore: .*labels\.tif is a raster of codes.*'rye'"
    ):
        opened(ignore=("rye",))
    with pytest.raises(RasterError, match=r"none\.tif: no such file"):
        opened(fields=tmp_path / "none.tif")
    small = raster(tmp_path / "small.tif", np.ones((1, 40, 47), dtype=np.uint8))
    with pytest.raises(GridMismatchError, match=r"small\.tif is not on the grid of the imagery"):
        opened(fields=small)
    with rasterio.open(codes, "r+") as target:
        target.nodata = 0
    with pytest.raises(
        LabelError, match=r"labels\.tif: 0 is its nodata value and .*code of 'other'"
    ):
        opened()
    with rasterio.open(codes, "r+") as target:
        target.nodata = 200
    with pytest.raises(
        LabelError, match=r"labels\.tif: value 255 is not a code .*'labels\.ignore'"
    ):
        opened().read(tiny_grid.window)
    raster(codes, np.ones((3, 40, 48), dtype=np.uint8))
    with pytest.raises(
        LabelError, match=r"labels\.tif has 3 bands; 'labels\.file' is a raster of one"
    ):
        opened()


def test_any_window_of_a_raster(data: Path) -> None:
    folder = data / "maipo_landsat8_west"
    grid = rasters.describe(folder / "labels.tif").grid
    legend = Legend(tuple(LegendClass(i, f"crop{i}", "#000000") for i in (4, 2, 1, 3)))
    config = LabelsConfig(file=folder / "labels.tif", fields=folder / "field_ids.tif")
    labels = open_labels(config, grid, legend)
    indices, fields = read_all(labels, grid)
    codes, _ = rasters.read(folder / "labels.tif", [1], grid.window)
    assert [(indices == i).sum() for i in range(4)] == [1881, 571, 591, 1368]
    np.testing.assert_array_equal(legend.to_codes(indices) % 255, codes[0])
    assert len(np.unique(fields)) == 231
    rows, cols = np.nonzero(fields)

    @settings(max_examples=15, deadline=None)
    @given(st.integers(0, len(rows) - 1), st.integers(1, 90))
    def check(pixel: int, side: int) -> None:
        window = Window(int(rows[pixel]), int(cols[pixel]), side, side).clip(grid.window)
        for part, full in zip(labels.read(window), (indices, fields), strict=True):
            np.testing.assert_array_equal(part, full[window.within(grid.window)])

    check()
