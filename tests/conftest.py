"""What several test files share: real data where it is there, and tiny rasters."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray

from geoseg.cli import app
from geoseg.config import TlsConfig
from geoseg.grid import Grid
from geoseg.io import plain_yaml
from geoseg.io.access import confine
from geoseg.io.raster import geotiffs
from geoseg.pipeline.run import Run
from tests.support.certificate_authority import Authority
from tests.support.common import ROOT, Raster, Site, run_geoseg


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test said travels between processes as UTF-8, odd characters escaped."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


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
        spec = geotiffs.RasterSpec(str(values.dtype), len(values), nodata, bands)
        with geotiffs.create(path, place, spec) as target:
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
def halves(tmp_path: Path) -> Path:
    """The class raster of a small map, half maize and half wheat; see ``parcel_map``."""
    from tests.support.parcel_map import (
        make_halves,  # vector libraries, which most tests do without
    )

    return make_halves(tmp_path)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small run that was really predicted; whoever changes it copies it first."""
    from tests.support.made_run import (  # network libraries, which most tests do without
        light,
        make_run,
    )

    return light(make_run(tmp_path_factory.mktemp("made")))


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.make("authority")


@pytest.fixture(scope="session")
def certificates(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> TlsConfig:
    """Those of the flow; the scheduler and its worker have others of the same authority."""
    return authority.issue(tmp_path_factory.mktemp("flow") / "tls")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that may be opened."""
    folder = tmp_path / "root"
    folder.mkdir()
    monkeypatch.setenv(confine.ROOTS, str(folder))
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A host that nobody may be led to."""
    from tests.support.confined import logging_host

    with logging_host(tmp_path_factory.mktemp("site") / "log") as found:
        yield found


@pytest.fixture
def geoseg(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process: ``geoseg("inspect", path)`` -> exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["geoseg", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture(scope="session")
def small_area(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small reference scene and ``small.yaml``, the demo's config cut down to it."""
    folder = tmp_path_factory.mktemp("area")
    data = folder / "data"
    size = ["--width", "420", "--height", "333", "--dates", "3"]
    made = run_geoseg("synth", str(data), *size)
    assert made.returncode == 0, made.stderr
    config = plain_yaml.load((ROOT / "configs/demo.yaml").read_text())
    config["name"] = "small"
    config["imagery"]["folder"] = str(data / "imagery")
    config["imagery"]["masks"]["folder"] = str(data / "clouds")
    config["labels"]["file"] = str(data / "labels.gpkg")
    config["truth"] = str(data / "truth.tif")
    config["split"] = {"by": "field", "validation": 0.2}
    config["train"] = {"patch": 64, "epochs": 3, "batch": 8}
    config["predict"] = {"core": 64, "margin": 32, "block": 64}
    config["cluster"] = {"workers": 2}
    config["random_forest"] = True
    (folder / "small.yaml").write_text(plain_yaml.dump(config))
    return folder
