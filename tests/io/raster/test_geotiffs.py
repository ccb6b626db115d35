"""Rasters are written whole or not at all: bodies that fail, disks that fill up, places taken."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from geoseg.errors import OutputError
from geoseg.grid import Grid, Window
from geoseg.io.raster import geotiffs, rasters
from tests.support.common import Raster


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "float32", "float64"])
def test_round_trip_in_windows(tmp_path: Path, dtype: str) -> None:
    """Windows written in any order, on tiles and across them."""
    grid = Grid(None, Affine(1, 0, 0, 0, 1, 0), 600, 530)
    values = np.random.default_rng(3).integers(0, 100, (2, 600, 530)).astype(dtype)
    with geotiffs.create(tmp_path / "x.tif", grid, geotiffs.RasterSpec(dtype, 2)) as target:
        for row in (512, 0, 300):
            window = Window(row, 0, {512: 88, 0: 300, 300: 212}[row], 530)
            target.write(values[(slice(None), *window.within(grid.window))], window)
    found, valid = rasters.read(tmp_path / "x.tif", [2, 1], grid.window)
    np.testing.assert_array_equal(found, values[::-1])
    assert valid.all()


def test_odd_names(tmp_path: Path, raster: Raster) -> None:
    path = raster(tmp_path / "we ird#?%20 [1]!é.tif", np.ones((1, 5, 6), dtype=np.uint8))
    assert rasters.read(path, [1], Window(0, 0, 5, 6))[0].all()


def test_failing_body_keeps_the_old_file(tmp_path: Path, raster: Raster, tiny_grid: Grid) -> None:
    path = raster(tmp_path / "x.tif", np.ones((1, 40, 48), dtype=np.uint8))
    before = path.read_bytes()

    def fail_half_way() -> None:
        with geotiffs.create(path, tiny_grid, geotiffs.RasterSpec("uint8")) as target:
            target.write(np.zeros((40, 48), dtype=np.uint8), tiny_grid.window)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.tif"]


def test_where_nothing_can_be_written(tmp_path: Path, tiny_grid: Grid) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "x.tif", tmp_path / "folder"):
        with (
            pytest.raises(OutputError, match=f"{path.name}|file.*cannot be written"),
            geotiffs.create(path, tiny_grid, geotiffs.RasterSpec("uint8")) as target,
        ):
            target.write(np.zeros((40, 48), dtype=np.uint8), tiny_grid.window)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _noise(side: int) -> tuple[Grid, NDArray[np.uint8]]:
    grid = Grid("EPSG:32633", Affine(10, 0, 0, 0, -10, 0), side, side)
    return grid, np.random.default_rng(0).integers(0, 255, (side, side)).astype(np.uint8)


@pytest.mark.parametrize("step", [64, 1100])
def test_full_disk(small_disk: Path, step: int) -> None:
    """Also when the last tiles only leave GDAL's cache as the file is closed (step 64)."""
    grid, values = _noise(1100)
    path = small_disk / "x.tif"
    path.write_text("old")

    def write() -> None:
        with geotiffs.create(path, grid, geotiffs.RasterSpec("uint8")) as target:
            for row in range(0, 1100, step):
                for col in range(0, 1100, step):
                    window = Window(row, col, step, step).clip(grid.window)
                    target.write(values[window.within(grid.window)], window)

    with pytest.raises(OutputError, match=r"x\.tif: cannot be written: .*free space.*again"):
        write()
    assert path.read_text() == "old"
    assert [p.name for p in small_disk.iterdir()] == ["x.tif"]


@pytest.mark.parametrize("side", [900, 1400])
def test_full_disk_for_a_cog(small_disk: Path, tmp_path: Path, side: int) -> None:
    grid, values = _noise(side)
    with geotiffs.create(tmp_path / "in.tif", grid, geotiffs.RasterSpec("uint8")) as target:
        target.write(values, grid.window)
    with pytest.raises(OutputError, match=r"map\.tif: cannot be written: .*free space.*again"):
        geotiffs.to_cog(tmp_path / "in.tif", small_disk / "map.tif", "mode")
    assert list(small_disk.iterdir()) == []


LIMITED = """
import sys; from pathlib import Path; import numpy as np; from affine import Affine
from geoseg.errors import OutputError; from geoseg.grid import Grid, Window
from geoseg.io.raster import geotiffs
grid = Grid(None, Affine(1, 0, 0, 0, 1, 0), 400, 400)
noise = np.random.default_rng(0).integers(0, 255, (400, 400)).astype(np.uint8)
try:
    with geotiffs.create(Path(sys.argv[1]), grid, geotiffs.RasterSpec("uint8")) as target:
        target.write(noise, grid.window)
except OutputError as error:
    print(error)
"""


def test_quota(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a quota where no disk can be mounted."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "x.tif")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "x.tif: cannot be written" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_cog_overviews_do_not_mix_classes(tmp_path: Path) -> None:
    grid = Grid("EPSG:32633", Affine(10, 0, 0, 0, -10, 0), 1200, 1300)
    values = np.full((1200, 1300), 255, dtype=np.uint8)
    values[:, :600] = 3
    values[::3, :600] = 9  # the lesser part of every 4 x 4 square
    spec = geotiffs.RasterSpec("uint8", nodata=255, colormap={3: (1, 2, 3, 255), 9: (4, 5, 6, 255)})
    with geotiffs.create(tmp_path / "in.tif", grid, spec) as target:
        target.write(values, grid.window)
    geotiffs.to_cog(tmp_path / "in.tif", tmp_path / "map.tif", "mode")
    with rasterio.open(tmp_path / "map.tif") as source:
        assert source.colormap(1)[3] == (1, 2, 3, 255)
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert source.overviews(1)
        for factor in source.overviews(1):
            shape = 1200 // factor, 1300 // factor
            assert set(np.unique(source.read(1, out_shape=shape))) <= {3, 9, 255}
    np.testing.assert_array_equal(
        rasters.read(tmp_path / "map.tif", [1], grid.window)[0][0], values
    )
