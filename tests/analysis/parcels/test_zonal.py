"""Measures of parcels: exact on any grid, the same whatever the blocks, in little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.analysis.parcels import zonal
from geoseg.grid import Grid
from geoseg.legend import NODATA
from tests.support.parcel_map import (
    CRS,
    LEGEND,
    NORTH,
    SIDE,
    WEST,
    box,
    check,
    write_layer,
    write_map,
)


def test_shares_and_confidence_are_exact(halves: Path, tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "p.gpkg", [box(20.5, 10.25, 14, 6)])
    table, summary = check(halves, layer)
    row = table.iloc[0]
    assert (row.map_code, row.map_crop) == (7, "maize")
    assert row.map_share == pytest.approx(100 * 9.5 / 14, abs=0.01)
    assert row["pct_winter wheat"] == pytest.approx(100 * 4.5 / 14, abs=0.01)
    assert row["pct_Сахарная свёкла"] == 0
    assert row.map_confidence == 90
    assert row.mean_confidence == pytest.approx((90 * 9.5 + 60 * 4.5) / 14, abs=0.01)
    assert row.pixels == row.classified == pytest.approx(84)
    assert row.area_ha == pytest.approx(0.84)
    assert (row.place, row.mended) == ("inside", False)
    assert summary["crops"]["maize"] == {"parcels": 1, "hectares": 0.84}
    assert "checks" not in summary


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.floats(-0.9, 0.9), st.floats(0.2, 1.5), st.booleans()),
    st.integers(3, 40),
)
def test_coverage_is_what_an_intersection_says(
    seed: int, shape: tuple[float, float, bool], block: int
) -> None:
    """Each pixel's fraction, on any grid and whatever the blocks, against shapely's overlay."""
    rng = np.random.default_rng(seed)
    count = 6
    angle = np.sort(rng.uniform(0, 2 * np.pi, (count, 9)), axis=1)
    reach = rng.uniform(0.5, 9, (count, 9))
    middle = rng.uniform(-3, 20, (count, 1, 2)) * (1, -1)
    ring = middle + np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=2)
    shapes = shapely.make_valid(shapely.polygons(ring), method="structure", keep_collapsed=False)
    shapes = np.append(shapes, [None])
    grid = Grid(None, Affine.identity(), 13, 17)
    found = np.zeros((count + 1, 13, 17))
    before, zonal.BLOCK = zonal.BLOCK, block
    try:
        for part in zonal.overlaps(shapes, grid):
            row, col = np.divmod(part.cell, part.window.width)
            place = (part.zone, row + part.window.row, col + part.window.col)
            assert (found[place] == 0).all()
            found[place] = part.fraction
    finally:
        zonal.BLOCK = before
    col, row = np.meshgrid(np.arange(17), np.arange(13))
    cells = shapely.box(col, -row - 1, col + 1, -row)
    for number in range(count):
        wanted = shapely.area(shapely.intersection(cells, shapes[number]))
        np.testing.assert_allclose(found[number], wanted, atol=2e-6)
    assert not found[count].any()


def test_any_orientation_of_the_grid(tmp_path: Path) -> None:
    """A map that is turned and south-up gives a parcel the same shares."""
    codes = np.random.default_rng(1).choice([7, 3, 1, NODATA], (30, 50)).astype(np.uint8)
    confidence = np.where(codes == NODATA, NODATA, 70).astype(np.uint8)
    rows = []
    upright = Affine(SIDE, 0, WEST, 0, -SIDE, NORTH)
    turned = Affine.translation(WEST, NORTH) @ Affine.rotation(33) @ Affine.scale(SIDE, SIDE)
    for number, transform in enumerate((upright, turned)):
        folder = tmp_path / str(number)
        folder.mkdir()
        class_map = write_map(folder, codes, confidence, Grid(CRS, transform, 30, 50))
        ring = [transform @ corner for corner in ((3.3, 4), (40, 7.7), (22, 28.2))]
        table, _ = check(class_map, write_layer(folder / "p.gpkg", [shapely.Polygon(ring)]))
        rows.append(table.drop(columns="geometry").iloc[0])
    pd.testing.assert_series_equal(*rows)


def test_another_crs_is_followed_along_its_curves(tmp_path: Path) -> None:
    """A parcel of two corners on a parallel 40 km apart: the straight line would miss by 250 m."""
    transform = Affine(100, 0, 480_000, 0, -100, 5_620_000)
    codes = np.full((400, 700), 7, np.uint8)
    class_map = write_map(tmp_path, codes, codes, Grid(CRS, transform, 400, 700))
    shape = shapely.box(14.9, 50.5, 15.6, 50.6)
    layer = write_layer(tmp_path / "p.gpkg", [shape], "EPSG:4326", name=["x"])
    table, _ = check(class_map, layer)
    assert table.crs == "EPSG:4326"
    dense = geopandas.GeoSeries([shapely.segmentize(shape, 1e-4)], crs="EPSG:4326").to_crs(CRS)
    straight = geopandas.GeoSeries([shape], crs="EPSG:4326").to_crs(CRS)
    assert abs(dense.area[0] - straight.area[0]) > 5e3
    assert table.area_ha[0] == pytest.approx(dense.area[0] / 1e4, abs=0.02)
    assert table.pixels[0] == pytest.approx(table.area_ha[0], abs=0.01)
    assert shapely.equals(table.geometry[0].geoms[0], shape)


def test_parcels_do_not_depend_on_batches_or_blocks(
    halves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y, wide, high = np.random.default_rng(5).uniform(0, 1, (4, 300)) * [[60], [40], [9], [9]]
    shapes = [box(*values) for values in zip(x, y, wide, high, strict=True)]
    layer = write_layer(tmp_path / "p.gpkg", shapes, number=np.arange(300))
    first, summary = check(halves, layer)
    assert first.number.tolist() == list(range(300))
    for batch, block, cells in ((7, 16, 50), (300, 11, 10**6)):
        monkeypatch.setattr("geoseg.analysis.parcels.check.BATCH", batch)
        monkeypatch.setattr(zonal, "BLOCK", block)
        monkeypatch.setattr(zonal, "_CELLS", cells)
        again, same = check(halves, layer)
        pd.testing.assert_frame_equal(
            first.drop(columns="geometry"), again.drop(columns="geometry")
        )
        assert same == summary


def test_a_parcel_of_very_many_corners(tmp_path: Path) -> None:
    """A ring of 200 000 corners over several blocks."""
    codes = np.full((2100, 1100), 7, np.uint8)
    class_map = write_map(tmp_path, codes, codes)
    angle = np.linspace(0, 2 * np.pi, 200_000, endpoint=False)
    reach = 5000 + 300 * np.sin(50 * angle)
    ring = np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1)
    shape = shapely.Polygon(ring + np.array([WEST + 5500, NORTH - 10_000]))
    table, _ = check(class_map, write_layer(tmp_path / "p.gpkg", [shape]))
    assert table.pixels[0] == pytest.approx(shape.area / 100, rel=1e-6)


ONE_HEAP = {"MALLOC_ARENA_MAX": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""Else each thread keeps what it once had, and the peak is another each time."""
PEAK = """
import sys
from pathlib import Path
from geoseg.feedback import Silent
from geoseg.analysis.parcels.check import ParcelRequest, check_parcels
folder, layer = map(Path, sys.argv[1:])
summary = check_parcels(
    ParcelRequest(folder / "m_class.tif", folder / "m_confidence.tif", layer, declared="crop"),
    folder / "out.gpkg",
    Silent(),
)
# Not ru_maxrss: that begins with what the parent process had.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(summary.parcels, int(status["VmHWM"].split()[0]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)  # beside other work
def test_memory_does_not_grow_with_the_layer(tmp_path: Path) -> None:
    """600 000 parcels of 20 corners in no order, and a third of them: the difference is 128 MB of
    coordinates alone. (Up to some ten batches the heap still finds its size.)"""
    rng = np.random.default_rng(0)
    codes = rng.choice(LEGEND.codes, (3000, 3000))
    write_map(tmp_path, codes, np.full(codes.shape, 90, np.uint8))
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    middle = rng.uniform(0, 30_000, (600_000, 1, 2)) * (1, -1) + (WEST, NORTH)
    rings = middle + 80 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    peaks = []
    for count in (200_000, 600_000):
        shapes = shapely.polygons(rings[:count]).tolist()
        layer = write_layer(tmp_path / f"{count}.gpkg", shapes, crop=["maize"] * count)
        run = subprocess.run(
            [sys.executable, "-c", PEAK, tmp_path, layer],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, **ONE_HEAP},
        )
        rows, peak = map(int, run.stdout.split())
        assert rows == count
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 60
