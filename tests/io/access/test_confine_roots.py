"""The folders that may be opened: every door keeps to them, links, workers and whole runs too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from affine import Affine

from geoseg.analysis.parcels.verdicts import declarations
from geoseg.errors import ConfigError, ConfinedError
from geoseg.grid import Grid, Window
from geoseg.imagery.listing import find
from geoseg.io import configs, files, legends
from geoseg.io.access import confine
from geoseg.io.raster import geotiffs, rasters
from geoseg.io.raster.scratch import scratch
from geoseg.io.vector.label_polygons import attributes_at, read_polygons
from geoseg.legend import Legend, LegendClass
from geoseg.model import bundle
from tests.support.common import Raster, run_geoseg
from tests.support.confined import describe_parcels, polygons, refused, square, square_unconfined
from tests.support.engine_season import make_bundle, make_imagery, plan

GRID = Grid("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_100_000), 64, 64)
SPEC = geotiffs.RasterSpec("uint8", 1, 0, ())
LEGEND = Legend((LegendClass(1, "a", "#ff0000"), LegendClass(2, "b", "#00ff00")))


def test_outside_is_refused_at_every_door(root: Path, tmp_path: Path, raster: Raster) -> None:
    inside, outside = square(root / "a.tif", raster), tmp_path / "out"
    outside.mkdir()
    shutil.copy(inside, outside / "a.tif")
    polygons(outside / "p.gpkg")
    for name, content in {"c.yaml": "name: x", "l.csv": "code,name\n1,a\n2,b\n"}.items():
        (outside / name).write_text(content)
    doors: list[tuple[Callable[[Path], object], str]] = [
        (rasters.describe, "a.tif"),
        (configs.load, "c.yaml"),
        (legends.read, "l.csv"),
        (describe_parcels, "p.gpkg"),
        (lambda path: read_polygons(path, None, ()), "p.gpkg"),
        (lambda path: attributes_at(path, "p", 0, 0), "p.gpkg"),
        (lambda path: find(path, "{date}.tif", "%Y", "imagery"), "."),
        (lambda path: declarations(LEGEND, path), "l.csv"),
        (bundle.load_card, "."),
        (files.read_json, "c.yaml"),
        (files.make_folder, "new"),
        (lambda path: files.write_text(path, "x"), "new.txt"),
        (lambda path: geotiffs.create(path, GRID, SPEC).__enter__(), "new.tif"),
        (lambda path: scratch(path, GRID, SPEC).__enter__(), "new.tif"),
    ]
    before = sorted(outside.iterdir())
    for door, name in doors:
        with pytest.raises(
            ConfinedError, match=r"lies outside the folders that may be opened: .*root"
        ):
            door(outside / name)
        with pytest.raises(ConfinedError, match="lies outside"):
            door(root / ".." / "out" / name)
    assert sorted(outside.iterdir()) == before
    assert rasters.read(inside, [1], Window(0, 0, 8, 8))[0].mean() == 7
    shutil.copy(outside / "p.gpkg", root)
    assert len(read_polygons(root / "p.gpkg", None, ())) == 1


def test_a_link_that_leads_out(root: Path, tmp_path: Path, raster: Raster) -> None:
    outside = square_unconfined(tmp_path / "out" / "a.tif", raster).parent
    (root / "file.tif").symlink_to(outside / "a.tif")
    (root / "folder").symlink_to(outside)
    for path in (root / "file.tif", root / "folder" / "a.tif"):
        refused(path, r"it leads to .*/out/a\.tif\) lies outside")
    with pytest.raises(ConfinedError):
        files.write_text(root / "folder" / "new.txt", "x")
    square(root / "b.tif", raster)
    (root / "inside.tif").symlink_to("b.tif")
    assert rasters.describe(root / "inside.tif").count == 1


def test_a_root_by_another_name_is_no_root(root: Path, raster: Raster) -> None:
    """``/data2`` begins with ``/data``."""
    beside = root.with_name("root2")
    refused(square_unconfined(beside / "a.tif", raster), "lies outside")


def test_several_roots(
    root: Path, tmp_path: Path, raster: Raster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(confine.ROOTS, f"{root}{os.pathsep}{tmp_path / 'second'}")
    assert rasters.describe(square(tmp_path / "second" / "a.tif", raster)).count == 1
    monkeypatch.setenv(confine.ROOTS, "")
    assert rasters.describe(square(tmp_path / "third" / "a.tif", raster)).count == 1
    monkeypatch.setenv(confine.ROOTS, "data")
    with pytest.raises(ConfigError, match="GEOSEG_ROOTS: 'data' is not absolute"):
        rasters.describe(root / "a.tif")


def test_a_worker_keeps_to_the_roots_of_its_job(
    root: Path, tmp_path: Path, raster: Raster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its environment may know of none; what it knows itself, no job can widen."""
    outside = square_unconfined(tmp_path / "out" / "a.tif", raster)
    inside = square(root / "b.tif", raster)
    monkeypatch.delenv(confine.ROOTS)
    assert rasters.describe(outside).count == 1
    try:
        confine.keep_to((str(root),))
        refused(outside, "lies outside")
        monkeypatch.setenv(confine.ROOTS, str(root))
        confine.keep_to((str(outside.parent),))
        refused(outside, "lies outside")
        refused(inside, "lies outside")
    finally:
        confine.keep_to(())


OPEN_AS_A_WORKER = """
import sys
from pathlib import Path
from geoseg.engine.job import open_job
from geoseg.errors import ConfinedError
from geoseg.io import rasters

for job in sys.argv[2:]:
    open_job(Path(job))
    try:
        print(rasters.describe(Path(sys.argv[1])).count)
    except ConfinedError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_job_carries_the_roots_it_was_planned_under(
    tmp_path: Path, raster: Raster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a process whose environment has none, as that of a remote worker may be."""
    outside = square(tmp_path / "out" / "a.tif", raster)
    imagery = make_imagery(tmp_path / "root" / "season")
    model = make_bundle(tmp_path / "root" / "model")
    free = plan(imagery, model, tmp_path / "root" / "free").job
    monkeypatch.setenv(confine.ROOTS, str(tmp_path / "root"))
    job = plan(imagery, model, tmp_path / "root" / "work").job
    monkeypatch.delenv(confine.ROOTS)
    assert job.fingerprint == free.fingerprint, "roots move no pixel"
    given = [str(outside), str(free.file), str(job.file)]
    command = [sys.executable, "-c", OPEN_AS_A_WORKER, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first == "1"
    assert "lies outside the folders that may be opened" in second


@pytest.mark.slow
@pytest.mark.flow
def test_a_confined_run_makes_its_map(small_area: Path, tmp_path: Path) -> None:
    """With workers of its own; out of the roots it does not even begin."""
    config, out = str(small_area / "small.yaml"), small_area / "confined"
    roots = {confine.ROOTS: str(small_area)}
    done = run_geoseg("run", config, "-o", str(out), env=roots)
    assert done.returncode == 0, done.stderr
    assert (out / "small_class.tif").is_file()
    for arguments in ((config, "-o", str(tmp_path / "out")), (shutil.copy(config, tmp_path),)):
        ended = run_geoseg("run", *arguments, env=roots)
        assert ended.returncode == 2
        assert "lies outside the folders that may be opened" in ended.stderr
    assert not (tmp_path / "out").exists()
