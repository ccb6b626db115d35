"""Nothing old is handed out: an input that changed in any of its files is read anew."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio.shutil
import shapely
import yaml
from numpy.typing import NDArray

from geoseg.config import ImageryConfig
from geoseg.engine.block import predict_block
from geoseg.engine.job import Job
from geoseg.errors import ChangedInputError
from geoseg.feedback import Silent
from geoseg.io import files
from geoseg.io.raster import geotiffs, rasters
from geoseg.pipeline import select, train
from geoseg.pipeline.run import Run
from tests.support.engine_season import (
    BANDS,
    DATES,
    GRID,
    make_bundle,
    make_imagery,
    plan,
    predict_here,
    whole_map,
)

EDITOR = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    for name in ("ST_IsEmpty", "ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
        database.create_function(name, 1, lambda _: 0)  # of the layer's triggers
    database.execute("pragma journal_mode=wal")
    print("open", flush=True)
    for line in sys.stdin:
        database.execute("update fields set crop = case crop when 'wheat' then 'maize' else 'wheat' end")
        database.commit()
        print("changed", flush=True)
"""
"""A program that keeps a GeoPackage open, as QGIS does: changes are in the ``-wal`` until it ends."""


@contextmanager
def editing(path: Path) -> Iterator[Callable[[], None]]:
    """Swaps the crops of a GeoPackage at each call, and keeps it open."""
    command = [sys.executable, "-c", EDITOR, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as editor:
        assert editor.stdin
        assert editor.stdout
        assert editor.stdout.readline() == "open\n"

        def swap() -> None:
            assert editor.stdin
            assert editor.stdout
            print("swap", file=editor.stdin, flush=True)
            assert editor.stdout.readline() == "changed\n"

        yield swap


def mirrored(path: Path) -> None:
    """Other pixels under the same name, as of a provider that processed them anew."""
    values, _ = rasters.read(path, [1, 2], GRID.window)
    with geotiffs.create(path, GRID, geotiffs.RasterSpec("uint16", 2, 0, BANDS)) as target:
        target.write(np.ascontiguousarray(values[:, :, ::-1]), GRID.window)


def mapped(imagery: ImageryConfig, bundle: Path, work: Path) -> tuple[Job, NDArray[np.uint8]]:
    """The map as a run makes it, in this thread: blocks that are finished are not made again."""
    job = plan(imagery, bundle, work).job
    for block in job.plan:
        predict_block(str(job.file), block.core.row // job.block, block.core.col // job.block)
    return job, whole_map(job)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("models") / "a")


def vrts(folder: Path, sources: Path, suffix: str) -> Path:
    """A VRT of each date over the files of another folder."""
    folder.mkdir()
    for date in DATES:
        source, target = sources / f"{date}{suffix}", folder / f"{date}.vrt"
        rasterio.shutil.copy(str(source), str(target), driver="VRT")
    return folder


@pytest.mark.parametrize("deep", [False, True])
def test_the_map_shows_the_sources_of_now(tmp_path: Path, bundle: Path, deep: bool) -> None:
    make_imagery(tmp_path / "src")
    folder = vrts(tmp_path / "v", tmp_path / "src", ".tif")
    if deep:
        folder = vrts(tmp_path / "vv", folder, ".vrt")
    imagery = ImageryConfig(folder=folder, pattern="{date}.vrt")
    job, first = mapped(imagery, bundle, tmp_path / "work")
    assert mapped(imagery, bundle, tmp_path / "work")[0] == job, "nothing changed"
    for date in DATES:
        mirrored(tmp_path / "src" / f"{date}.tif")
    _, second = mapped(imagery, bundle, tmp_path / "work")
    _, right = mapped(ImageryConfig(folder=tmp_path / "src"), bundle, tmp_path / "other")
    assert (second == right).all()
    assert (second != first).mean() > 0.1


def test_a_new_sidecar_counts(tmp_path: Path, bundle: Path) -> None:
    """It makes a value nodata; without it the map is the first one again, and its blocks are kept."""
    imagery = make_imagery(tmp_path / "season")
    for date in DATES:  # a nodata value of its own wins over that of a sidecar
        path = tmp_path / "season" / f"{date}.tif"
        values, _ = rasters.read(path, [1, 2], GRID.window)
        with geotiffs.create(path, GRID, geotiffs.RasterSpec("uint16", 2, None, BANDS)) as target:
            target.write(values, GRID.window)
    job, first = mapped(imagery, bundle, tmp_path / "work")
    assert (first[0] != 255).all()
    bands = "".join(
        f'<PAMRasterBand band="{n}"><NoDataValue>0</NoDataValue></PAMRasterBand>' for n in (1, 2)
    )
    sidecars = [tmp_path / "season" / f"{date}.tif.aux.xml" for date in DATES]
    for sidecar in sidecars:
        sidecar.write_text(f"<PAMDataset>{bands}</PAMDataset>")
    _, second = mapped(imagery, bundle, tmp_path / "work")
    assert (second[0, :40, :30] == 255).all()
    for sidecar in sidecars:
        sidecar.unlink()
    assert mapped(imagery, bundle, tmp_path / "work")[0] == job


@pytest.mark.parametrize("what", ["source", "sidecar"])
def test_a_run_notices_what_its_files_lead_to(tmp_path: Path, bundle: Path, what: str) -> None:
    """While it is under way, as for the files themselves."""
    make_imagery(tmp_path / "src")
    folder = vrts(tmp_path / "v", tmp_path / "src", ".tif")
    job = plan(ImageryConfig(folder=folder, pattern="{date}.vrt"), bundle, tmp_path / "work").job
    predict_block(str(job.file), 0, 0)
    source = tmp_path / "src" / f"{DATES[1]}.tif"
    if what == "source":
        mirrored(source)
        match = r"06-01\.tif changed while the run was under way"
    else:
        Path(f"{source}.aux.xml").write_text("<PAMDataset/>")
        match = r"06-01\.tif\.aux\.xml came while the run was under way"
    with pytest.raises(ChangedInputError, match=match):
        predict_block(str(job.file), 0, 1)
    with pytest.raises(ChangedInputError, match=match):
        predict_here(job)


def write_fields(path: Path, **more: str) -> None:
    """A chess board of two crops."""
    side = 160.0
    places = [(row, col) for row in range(9) for col in range(12)]
    left, top = GRID.transform.c, GRID.transform.f
    squares = [
        shapely.box(
            left + c * side, top - (r + 1) * side, left + (c + 1) * side - 20, top - r * side
        )
        for r, c in places
    ]
    crops = [("wheat", "maize")[(r + c) % 2] for r, c in places]
    geopandas.GeoDataFrame({"crop": crops}, geometry=squares, crs=GRID.crs).to_file(path, **more)


@contextmanager
def dbf_edited(path: Path) -> Iterator[Callable[[], None]]:
    def swap() -> None:
        table = path.with_suffix(".dbf")
        content = table.read_bytes()
        swapped = (
            content.replace(b"wheat", b"#").replace(b"maize", b"wheat").replace(b"#", b"maize")
        )
        with table.open("r+b") as handle:  # as GIS programs do
            handle.write(swapped)

    yield swap


@contextmanager
def table_replaced(path: Path) -> Iterator[Callable[[], None]]:
    """In a folder whose own time stays: its files are written again."""

    def swap() -> None:
        other = path.with_name("other.gdb")
        frame = geopandas.read_file(path)
        frame["crop"] = frame.crop.map({"wheat": "maize", "maize": "wheat"})
        frame.to_file(other, driver="OpenFileGDB", layer="fields")
        for file in other.iterdir():
            (path / file.name).write_bytes(file.read_bytes())
        shutil.rmtree(other)

    yield swap


LABELS = {
    "fields.shp": ({}, dbf_edited),
    "fields.gpkg": ({"layer": "fields"}, editing),
    "fields.gdb": ({"driver": "OpenFileGDB", "layer": "fields"}, table_replaced),
}


def training(folder: Path, labels: str) -> Path:
    """The config of a training that is over at once."""
    content = {
        "name": "m",
        "imagery": {"folder": str(folder / "season")},
        "legend": [{"code": 1, "name": "wheat"}, {"code": 2, "name": "maize"}],
        "labels": {"file": str(folder / labels)},
        "split": {"by": "field", "validation": 0.2},
        "model": {"encoder": "resnet18", "depth": 3, "decoder_channels": [16, 16, 16]},
        "train": {"patch": 32, "epochs": 1, "batch": 8, "threads": 1, "max_samples": 16},
    }
    path = folder / "m.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def trained(config: Path) -> tuple[str, int]:
    """The weights after a call of ``train``, and when they were written."""
    run = Run.open(config, config.with_name("out"), Silent())
    select.select_scenes(run)
    train.train_model(run)
    weights = run.folder.model / "model.safetensors"
    return files.sha256(weights), weights.stat().st_mtime_ns


@pytest.mark.parametrize("name", list(LABELS))
def test_labels_that_were_edited_train_anew(tmp_path: Path, name: str) -> None:
    make_imagery(tmp_path / "season")
    more, edited = LABELS[name]
    write_fields(tmp_path / name, **more)
    config = training(tmp_path, name)
    with edited(tmp_path / name) as swap:
        first = trained(config)
        assert trained(config) == first, "nothing changed"
        swap()
        second = trained(config)
        assert second[0] != first[0]
        assert trained(config) == second
