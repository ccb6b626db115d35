"""What several test files share: real data where it is there, and tiny rasters."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray

from geoseg import cli
from geoseg.grid import Grid
from geoseg.io import rasters

ROOT = Path(__file__).parents[1]

Raster = Callable[..., Path]
"""``raster(path, values, nodata=None, bands=(), grid=None)``; see below."""


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data: GEOSEG_DATA, or ``shared/data`` beside the repository."""
    folder = Path(os.environ.get("GEOSEG_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; name its folder in GEOSEG_DATA")
    return folder


@pytest.fixture(scope="session")
def tiny_grid() -> Grid:
    """48 x 40 pixels of 10 m in UTM zone 33."""
    return Grid("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_100_000), 40, 48)


@pytest.fixture(scope="session")
def raster(tiny_grid: Grid) -> Raster:
    """Write ``[bands, height, width]`` to a GeoTIFF, by default on ``tiny_grid``'s corner."""

    def write(
        path: Path,
        values: NDArray[Any],
        nodata: float | None = None,
        bands: tuple[str, ...] = (),
        grid: Grid | None = None,
    ) -> Path:
        base = grid or tiny_grid
        place = Grid(base.crs, base.transform, *values.shape[1:])
        spec = rasters.RasterSpec(str(values.dtype), len(values), nodata, bands)
        with rasters.create(path, place, spec) as target:
            target.write(values, place.window)
        return path

    return write


@pytest.fixture
def season(tmp_path: Path, raster: Raster, tiny_grid: Grid) -> Path:
    """A folder with three dates of three bands, ``2025-05-01.tif`` and so on; nodata 0 in a corner."""
    folder = tmp_path / "season"
    for month in (5, 6, 7):
        rng = np.random.default_rng(month)
        values = rng.integers(1, 4000, (3, tiny_grid.height, tiny_grid.width)).astype(np.uint16)
        values[:, :6, :9] = 0
        raster(folder / f"2025-{month:02d}-01.tif", values, 0, ("red", "nir", "swir"))
    return folder


@pytest.fixture
def geoseg(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process: ``geoseg("inspect", path)`` -> exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["geoseg", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run
