"""The quality gates, each red and green, on small maps that geoseg's own writers made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
from affine import Affine
from numpy.typing import NDArray

from geoseg.config.service import ControlConfig, GatesConfig
from geoseg.errors import LabelError, OutputError
from geoseg.feedback import Silent
from geoseg.grid import Grid
from geoseg.io import configs, files, plain_yaml
from geoseg.io.raster import geotiffs
from geoseg.legend import NODATA, Legend, LegendClass
from geoseg.pipeline.quality import recorded_gates
from geoseg.pipeline.run import Run
from geoseg.product.raster import mosaic
from geoseg.product.report.write import write_report
from geoseg.service.gates import Verdict, check_gates
from tests.support.engine_season import make_bundle, make_imagery

CODES = (4, 2, 9)
LEGEND = Legend(tuple(LegendClass(c, f"crop {c}", "#123456") for c in CODES))
GRID = Grid("EPSG:32631", Affine(10, 0, 5e5, 0, -10, 5.6e6), 200, 300)
CORE = 64


def fields() -> NDArray[np.uint8]:
    """Fields of 25 pixels, which no border between patches runs along."""
    rows, cols = np.mgrid[: GRID.height, : GRID.width]
    return np.array(CODES, np.uint8)[((rows + 7) // 25 + (cols + 12) // 25) % 3]


def write_map(
    folder: Path, codes: NDArray[np.uint8], grid: Grid = GRID, legend: Legend = LEGEND
) -> Path:
    """A class raster of geoseg's own making."""
    confidence = np.where(codes == NODATA, NODATA, 90).astype(np.uint8)
    part = folder / "part.tif"
    with geotiffs.create(part, grid, geotiffs.RasterSpec("uint8", 2, NODATA)) as target:
        target.write(np.stack([codes, confidence]), grid.window)
    paths = [folder / "small_class.tif", folder / "small_confidence.tif"]
    mosaic([(grid.window, part)], grid, legend, paths, Silent())
    part.unlink()
    return paths[0]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gates")
    make_imagery(folder / "images")
    content = {
        "name": "small",
        "imagery": {"folder": str(folder / "images")},
        "model": {"bundle": str(make_bundle(folder / "model"))},
    }
    (folder / "small.yaml").write_text(plain_yaml.dump(content))
    return folder / "small.yaml"


def make(config: Path, folder: Path, codes: NDArray[np.uint8], with_data: int | None = None) -> Run:
    """A run whose map is this; ``with_data``: pixels that could be mapped, by its receipts."""
    run = Run.open(config, folder)
    write_map(run.folder.root, codes)
    pixels = int((codes != NODATA).sum()) if with_data is None else with_data
    files.write_json(
        run.folder.work / "predict.json", {"blocks": 4, "pixels": pixels, "core": CORE}
    )
    files.write_json(run.folder.work / "stitch.json", {"run_id": "ab12"})
    return run


def check(run: Run, previous: Path | None = None, **gates: Any) -> dict[str, Verdict]:
    return {v.name: v for v in check_gates(run, GatesConfig.model_validate(gates), previous)}


def test_a_sound_map_passes(config: Path, tmp_path: Path) -> None:
    run = make(config, tmp_path, fields())
    found = check(run, write_map(tmp_path / "before", fields()), agreement=0.9)
    assert [(v.name, v.passed, v.judged) for v in found.values()] == [
        ("completeness", True, True), ("mapped", True, True), ("seam", True, True),
        ("agreement", True, True),
    ]  # fmt: skip
    told = json.loads(run.folder.gates.read_text())
    assert (told["schema"], told["passed"], told["run_id"]) == ("geoseg-gates-1", True, "ab12")
    assert [gate["name"] for gate in told["gates"]] == list(found)
    assert recorded_gates(run) == told["gates"]
    files.write_json(run.folder.work / "stitch.json", {"run_id": "cd34"})
    assert recorded_gates(run) == [], "they were about another map"


def test_completeness(config: Path, tmp_path: Path) -> None:
    codes = fields()
    codes[:10, :60] = NODATA
    run = make(config, tmp_path, codes, with_data=codes.size)
    found = check(run)["completeness"]
    assert not found.passed
    assert found.value == pytest.approx(0.99)
    assert found.why == (
        "99.00 % of the 60,000 pixels with data have a class (600 have none); at least 100.00 %: "
        "too few"
    )
    assert check(run, completeness=0.99)["completeness"].passed
    assert not check(run, completeness=0.9901)["completeness"].passed


def test_mapped(config: Path, tmp_path: Path) -> None:
    codes = fields()
    codes[:, :75] = NODATA
    run = make(config, tmp_path, codes)
    assert check(run)["completeness"].passed, "clouds are no holes"
    assert check(run)["mapped"].value == 0.75
    assert check(run, mapped=0.75)["mapped"].passed
    assert not check(run, mapped=0.76)["mapped"].passed
    with pytest.raises(OutputError, match="predict it first"):
        check(Run.open(config, tmp_path / "empty"))


def test_seam(config: Path, tmp_path: Path) -> None:
    codes = fields()
    codes[:, CORE : 2 * CORE] = np.roll(codes[:, CORE : 2 * CORE], 12, axis=0)
    found = check(make(config, tmp_path, codes))["seam"]
    assert not found.passed
    assert found.value is not None
    assert found.value > 2
    assert "look for straight lines" in found.why
    run = make(config, tmp_path, codes)
    assert check(run, seam=found.value)["seam"].passed
    free = check(run, seam=None)["seam"]
    assert (free.passed, free.judged, free.value) == (True, False, found.value)
    one = check(make(config, tmp_path, np.full_like(codes, 4)))["seam"]
    assert (one.passed, one.value) == (True, None)


def test_agreement(config: Path, tmp_path: Path) -> None:
    codes, before = fields(), fields()
    before[:20] = 2
    before[100:, 150:] = NODATA
    codes[:, :30] = NODATA
    both = (codes != NODATA) & (before != NODATA)
    share = float((codes == before)[both].mean())
    previous = write_map(tmp_path / "before", before)
    run = make(config, tmp_path / "out", codes)
    found = check(run, previous, agreement=share)["agreement"]
    assert (found.value, found.passed) == (pytest.approx(share), True)
    assert f"of the {both.sum():,} pixels with a class on this map and" in found.why
    assert not check(run, previous, agreement=share + 0.001)["agreement"].passed
    assert check(run, previous)["agreement"].why.endswith("no limit is set")


def test_agreement_goes_by_names(config: Path, tmp_path: Path) -> None:
    """The same crops under other codes are the same crops."""
    order = {4: 10, 2: 11, 9: 12}
    legend = Legend(tuple(LegendClass(order[c.code], c.name, c.color) for c in LEGEND))
    codes = np.vectorize(order.get)(fields()).astype(np.uint8)
    previous = write_map(tmp_path / "before", codes, legend=legend)
    run = make(config, tmp_path / "out", fields())
    assert check(run, previous, agreement=1)["agreement"].value == 1


def test_a_map_that_cannot_be_compared_is_not_judged(config: Path, tmp_path: Path) -> None:
    run = make(config, tmp_path / "out", fields())
    none = check(run, None, agreement=0.9)["agreement"]
    assert (none.passed, none.judged) == (True, False)
    assert none.why.startswith("no map of this area and season has been published before")
    moved = Grid(GRID.crs, Affine(10, 0, 5e5 + 10, 0, -10, 5.6e6), 200, 300)
    other = check(run, write_map(tmp_path / "a", fields(), moved), agreement=0.9)["agreement"]
    assert (other.passed, other.judged) == (True, False)
    assert "another grid (" in other.why
    assert "transform" in other.why
    names = Legend(
        (
            LegendClass(4, "a", "#123456"),
            LegendClass(2, "b", "#123456"),
            LegendClass(9, "c", "#123456"),
        )
    )
    strange = check(run, write_map(tmp_path / "b", fields(), legend=names), agreement=0.9)
    assert "cannot be compared" in strange["agreement"].why
    empty = write_map(tmp_path / "c", np.full_like(fields(), NODATA))
    assert "no pixel has a class" in check(run, empty, agreement=0.9)["agreement"].why


def points(path: Path, values: list[Any], crs: str, cells: list[tuple[int, int]]) -> ControlConfig:
    """Control at the middles of pixels (row, column)."""
    x = [5e5 + 10 * (col + 0.5) for _, col in cells]
    y = [5.6e6 - 10 * (row + 0.5) for row, _ in cells]
    table = geopandas.GeoDataFrame(
        {"crop": values}, geometry=geopandas.points_from_xy(x, y), crs=GRID.crs
    )
    table.to_crs(crs).to_file(path)
    return ControlConfig(file=path, accuracy=0.7)


@pytest.mark.parametrize(
    ("name", "crs"), [("c.gpkg", "EPSG:4326"), ("c.shp", "EPSG:3035"), ("c.geojson", "EPSG:4326")]
)
def test_control(config: Path, tmp_path: Path, name: str, crs: str) -> None:
    codes = fields()
    codes[:10, :60] = NODATA
    run = make(config, tmp_path / "out", codes)
    cells = [(20, 20), (60, 100), (150, 290), (199, 0), (5, 5), (100, -3)]
    values = [f"crop {fields()[row, max(col, 0)]}" for row, col in cells]
    values[3] = "crop 2" if values[3] != "crop 2" else "crop 4"
    found = check(run, control=points(tmp_path / name, values, crs, cells).model_dump())["control"]
    assert (found.value, found.passed) == (0.75, True)
    assert found.why == (
        "the map is right at 3 of 4 control points (left out: 2 without a class on the map): 75.00 %, "
        "with 95 % confidence 30.06 % to 95.44 %; at least 70.00 %: as required"
    )
    values[0] = values[3]
    wrong = check(run, control=points(tmp_path / name, values, crs, cells).model_dump())["control"]
    assert (wrong.value, wrong.passed) == (0.5, False)


def test_control_by_codes(config: Path, tmp_path: Path) -> None:
    run = make(config, tmp_path / "out", fields())
    cells = [(20, 20), (60, 100), (150, 290)]
    codes = [int(fields()[cell]) for cell in cells]
    for values in (codes, [str(c) for c in codes], [float(codes[0]), float(codes[1]), None]):
        control = points(tmp_path / "c.gpkg", values, "EPSG:4326", cells)
        found = check(run, control=control.model_dump())["control"]
        assert found.value == 1
        assert ("1 without a class in the file" in found.why) == (None in values)


@pytest.mark.parametrize(("separator", "decimal"), [(",", "."), (";", ","), ("\t", ".")])
def test_control_in_a_table(config: Path, tmp_path: Path, separator: str, decimal: str) -> None:
    """A CSV from a spreadsheet; in confinement too, where GDAL may not open one."""
    run = make(config, tmp_path / "out", fields())
    cells = [(20, 20), (60, 100), (150, 290), (199, 0)]
    points(tmp_path / "c.gpkg", [int(fields()[cell]) for cell in cells], "EPSG:4326", cells)
    layer = geopandas.read_file(tmp_path / "c.gpkg")
    table = pd.DataFrame(
        {"Lat": layer.geometry.y, "LON": layer.geometry.x, "crop": layer["crop"], "by": "somebody"}
    )
    table["crop"] = table["crop"].astype("Int64")
    table.loc[3, "crop"] = pd.NA
    file = tmp_path / "c.csv"
    table.to_csv(file, sep=separator, decimal=decimal, index=False, encoding="utf-8-sig")
    found = check(run, control=ControlConfig(file=file, accuracy=0.7).model_dump())["control"]
    assert found.value == 1
    assert "3 of 3 control points (left out: 1 without a class in the file)" in found.why


def test_control_in_a_table_that_cannot_be_used(config: Path, tmp_path: Path) -> None:
    run = make(config, tmp_path / "out", fields())
    file = tmp_path / "c.csv"

    def told(content: str) -> str:
        file.write_text(content)
        with pytest.raises(LabelError) as raised:
            check(run, control=ControlConfig(file=file, accuracy=0.7).model_dump())
        return str(raised.value)

    assert "row 3: '97.5' in column 'lat' is no angle of -90" in told(
        "lon,lat,crop\n9,50,1\n9,97.5,1\n"
    )
    assert "row 2: nan in column 'lon'" in told("lon,lat,crop\n,50,1\n")
    assert "no column 'crop'; it has: lon, lat, class" in told("lon,lat,class\n9,50,1\n")
    assert "0 layers with geometry" in told("x,y,crop\n9,50,1\n")
    assert "cannot be read as a table" in told("")


def test_control_that_says_nothing_does_not_pass(config: Path, tmp_path: Path) -> None:
    run = make(config, tmp_path / "out", fields())
    control = points(tmp_path / "c.gpkg", ["crop 4"], "EPSG:4326", [(-50, -50)])
    found = check(run, control=control.model_dump())["control"]
    assert (found.value, found.passed) == (None, False)
    assert "no point of c.gpkg can be used (left out: 1 without a class on the map)" in found.why


def test_control_that_cannot_be_used(config: Path, tmp_path: Path) -> None:
    run = make(config, tmp_path / "out", fields())
    good = points(tmp_path / "c.gpkg", ["crop 4"], "EPSG:4326", [(5, 5)]).model_dump()

    def told(**changes: Any) -> str:
        with pytest.raises(LabelError) as raised:
            check(run, control={**good, **changes})
        return str(raised.value)

    assert "no such file" in told(file=tmp_path / "none.gpkg")
    assert "no column 'class'; it has: crop" in told(attribute="class")
    assert "no layer 'x'" in told(layer="x")
    (tmp_path / "c.txt").write_text("text")
    assert "cannot be read as a vector file" in told(file=tmp_path / "c.txt")
    points(tmp_path / "w.gpkg", ["crop 4", "vine"], "EPSG:4326", [(5, 5), (6, 6)])
    assert "are no class of the map ('vine'); it has 4 'crop 4'" in told(file=tmp_path / "w.gpkg")
    table = geopandas.read_file(tmp_path / "w.gpkg").to_crs(GRID.crs)
    table.set_geometry(table.buffer(5)).to_file(tmp_path / "p.gpkg")
    assert "holds a Polygon; control is points" in told(file=tmp_path / "p.gpkg")
    table.set_crs(None, allow_override=True).to_file(tmp_path / "n.gpkg")
    assert "no coordinate reference system" in told(file=tmp_path / "n.gpkg")


def test_the_report_tells_them(config: Path, tmp_path: Path) -> None:
    codes = fields()
    codes[:10, :60] = NODATA
    run = make(config, tmp_path, codes, with_data=codes.size)
    check(run)
    write_report({"name": "small", "gates": recorded_gates(run)}, tmp_path)
    page, text = ((tmp_path / f"report.{end}").read_text("utf-8") for end in ("html", "md"))
    assert '<h2 id="gates">Quality gates</h2>' in page
    assert '<a href="#gates">' in page, "among the contents"
    assert "<b>failed</b>" in page
    assert "| completeness | failed | 99.00 % of the 60,000 pixels" in text
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert report["findings"][0]["about"] == "Gate: completeness"
    write_report({"name": "small"}, tmp_path)
    assert "Quality gates" not in (tmp_path / "report.html").read_text("utf-8")


def test_a_file_of_gates(tmp_path: Path) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text("seam: 1.5\ncontrol:\n  file: control.gpkg\n")
    gates = configs.load_gates(path)
    assert gates.seam == 1.5
    assert gates.control is not None
    assert gates.control.file == tmp_path / "control.gpkg"
