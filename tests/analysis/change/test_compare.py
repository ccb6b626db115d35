"""Two maps of one grid: every pixel is counted once, and the raster says what the matrix says."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.analysis.change import compare as comparing
from geoseg.analysis.change.compare import Transitions
from geoseg.analysis.change.outputs import ChangeRequest, compare_files
from geoseg.errors import GridMismatchError, OutputError, RasterError
from geoseg.feedback import Silent
from geoseg.grid import Grid
from geoseg.io.raster import geotiffs
from geoseg.legend import NODATA, PALETTE, Legend, LegendClass
from geoseg.product import style
from geoseg.product.areas import area_table

CRS = "EPSG:32633"
EARLIER = {7: "maize", 3: "wheat", 1: "beet"}
LATER = {2: "wheat", 7: "fallow", 9: "maize", 4: "oats"}
TURNED = Affine(10, 1, 500_000, 1, -10, 5_100_000)

Geoseg = Callable[..., tuple[int, str, str]]


def legend(names: dict[int, str]) -> Legend:
    colors = iter(PALETTE * 13)
    return Legend(tuple(LegendClass(code, name, next(colors)) for code, name in names.items()))


def write_map(
    folder: Path,
    name: str,
    codes: NDArray[np.uint8],
    names: dict[int, str],
    confidence: NDArray[np.uint8] | int = 90,
    grid: Grid | None = None,
) -> Path:
    place = grid or Grid(CRS, Affine(10, 0, 500_000, 0, -10, 5_100_000), *codes.shape)
    sure = np.where(codes == NODATA, NODATA, confidence).astype(np.uint8)
    tags = ((style.LEGEND_TAG, style.legend_tag(legend(names))),)
    for what, values, kept in (("class", codes, tags), ("confidence", sure, ())):
        spec = geotiffs.RasterSpec("uint8", nodata=NODATA, tags=kept)
        with geotiffs.create(folder / f"{name}_{what}.tif", place, spec) as target:
            target.write(values, place.window)
    return folder / f"{name}_class.tif"


def compare(before: Path, after: Path, **more: Any) -> tuple[dict[str, Any], NDArray[Any]]:
    """The record and the change raster."""
    folder = before.parent / "change"
    compare_files(ChangeRequest(before, after, **more), folder, Silent())
    with rasterio.open(folder / "change.tif") as source:
        return json.loads((folder / "change.json").read_text()), source.read(1)


def random_map(rng: np.random.Generator, names: dict[int, str], shape: tuple[int, int]) -> Any:
    return rng.choice([*names, NODATA], shape).astype(np.uint8)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    above=st.sampled_from([None, 0, 50, 101]),
    crs=st.sampled_from([CRS, "EPSG:4326"]),
    block=st.integers(5, 50),
)
def test_every_pixel_is_counted_once(
    seed: int, shape: tuple[int, int], above: float | None, crs: str, block: int
) -> None:
    """Sums of rows and columns are the areas of both maps, and the raster agrees, cell by cell."""
    rng = np.random.default_rng(seed)
    transform = TURNED if crs == CRS else Affine(0.01, 0, 20, 0, -0.01, 45)
    grid = Grid(crs, transform, *shape)
    maps = [random_map(rng, names, shape) for names in (EARLIER, LATER)]
    sure = rng.integers(0, 101, (2, *shape)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [
            write_map(folder, *each, grid)
            for each in zip("ab", maps, (EARLIER, LATER), sure, strict=True)
        ]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(comparing, "_HEIGHT", block)
            record, raster = compare(*paths, above=above)
        areas = [
            area_table(
                path, path.with_name(path.name.replace("class", "confidence")), legend(names)
            )
            for path, names in zip(paths, (EARLIER, LATER), strict=True)
        ]
        lines = list(csv.DictReader((folder / "change" / "transitions.csv").open()))
    pixels = np.array(record["pixels"]) + np.array(record["uncertain_pixels"])
    hectares = np.array(record["hectares"]) + np.array(record["uncertain_hectares"])
    for axis, table in ((1, areas[0]), (0, areas[1])):
        assert pixels.sum(axis=axis)[:-1].tolist() == [row.pixels for row in table]
        np.testing.assert_allclose(
            hectares.sum(axis=axis)[:-1], [row.hectares for row in table], atol=1e-3
        )
    assert pixels.sum() == raster.size
    expected = expected_raster(maps, sure, above)
    np.testing.assert_array_equal(raster, expected)
    # Each pair of the table, looked up in the raster by its value.
    for line in lines:
        where = raster == int(line["value"])
        own = {"before": (maps[0], EARLIER), "after": (maps[1], LATER)}
        for column, (codes, names) in own.items():
            code = {**{v: k for k, v in names.items()}, "no data": NODATA}[line[column]]
            where = where & (codes == code)
        assert where.sum() == int(line["pixels"])
    assert len(lines) == 20


def expected_raster(
    maps: list[NDArray[np.uint8]], sure: NDArray[np.uint8], above: float | None
) -> NDArray[np.uint8]:
    """The raster by its definition, pixel by pixel."""
    out = np.full(maps[0].shape, 255, np.uint8)
    for place in np.ndindex(out.shape):
        a, b = int(maps[0][place]), int(maps[1][place])
        if NODATA in (a, b):
            continue
        if EARLIER[a] == LATER[b]:
            out[place] = 0
        elif above is not None and min(sure[0][place], sure[1][place]) < above:
            out[place] = 13
        else:
            out[place] = 1 + 4 * list(EARLIER).index(a) + list(LATER).index(b)
    return out


def test_blocks_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    paths = [
        write_map(tmp_path, name, random_map(rng, names, (70, 90)), names)
        for name, names in (("a", EARLIER), ("b", LATER))
    ]
    record, raster = compare(*paths)
    first = (tmp_path / "change" / "change.tif").read_bytes()
    monkeypatch.setattr(comparing, "_HEIGHT", 16)
    monkeypatch.setattr(comparing, "_WIDTH", 32)
    again, same = compare(*paths)
    assert (record, raster.tolist()) == (again, same.tolist())
    assert first == (tmp_path / "change" / "change.tif").read_bytes()


def test_the_raster_names_its_values(tmp_path: Path) -> None:
    codes = np.full((8, 8), 7, np.uint8)
    paths = [
        write_map(tmp_path, "a", codes, EARLIER),
        write_map(tmp_path, "b", np.full((8, 8), 2, np.uint8), LATER),
    ]
    record, raster = compare(*paths)
    assert (raster == 1).all()
    assert record["values"]["maize -> wheat"] == 1
    assert record["changed"] == {"pixels": 64, "hectares": 0.64}
    side = (tmp_path / "change" / "change.tif.aux.xml").read_text()
    assert "<Category>unchanged</Category>" in side
    assert "<Category>maize -&gt; wheat</Category>" in side
    with rasterio.open(tmp_path / "change" / "change.tif") as source:
        assert source.nodata == 255
        assert source.colormap(1)[1][:3] == legend(LATER).by_code(2).rgb
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    qml = (tmp_path / "change" / "change.qml").read_text()
    assert '<paletteEntry value="1" label="maize -&gt; wheat" color="#e69f00"' in qml
    assert (tmp_path / "change" / "transitions.png").stat().st_size > 1000


def test_long_legends_take_two_bytes(tmp_path: Path) -> None:
    names = {code: f"crop {code}" for code in range(20)}
    before, after = np.zeros((4, 4), np.uint8), np.full((4, 4), 19, np.uint8)
    after[0] = 0
    after[1] = NODATA
    paths = [write_map(tmp_path, "a", before, names), write_map(tmp_path, "b", after, names)]
    _, raster = compare(*paths)
    assert raster.dtype == np.uint16
    assert raster[:, 0].tolist() == [0, 65535, 20, 20]
    with rasterio.open(tmp_path / "change" / "change.tif") as source:
        assert source.colormap(1)[20][:3] == legend(names).by_code(19).rgb


def test_the_picture_shows_what_is_there(tmp_path: Path) -> None:
    """Names that are no formulas, and 254 classes of which two occur: a small picture."""
    names = {code: f"${code}\\frac$" for code in range(254)}
    maps = [np.full((4, 4), code, np.uint8) for code in (3, 200)]
    paths = [
        write_map(tmp_path, name, codes, names) for name, codes in zip("ab", maps, strict=True)
    ]
    compare(*paths)
    size = png_size(tmp_path / "change" / "transitions.png")
    assert max(size) < 1000
    full = np.arange(254, dtype=np.uint8).reshape(2, 127)
    compare(*(write_map(tmp_path, name, full, names) for name in "ab"))
    assert max(png_size(tmp_path / "change" / "transitions.png")) < 4000


def png_size(path: Path) -> tuple[int, int]:
    with rasterio.open(path) as source:
        return source.width, source.height


def test_the_longest_legends_fit() -> None:
    names = legend({code: str(code) for code in range(254)})
    t = Transitions(names, names)
    assert (t.dtype, t.uncertain) == ("uint16", 254 * 254 + 1)
    found = [entry.value for entry in t.entries()]
    assert sorted(set(found)) == found
    assert max(found) < t.nodata


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (Grid(CRS, Affine(10, 0, 500_000, 0, -10, 5_100_000), 8, 9), "size 8 x 8 against 9 x 8"),
        (Grid(CRS, Affine(10, 0, 500_001, 0, -10, 5_100_000), 8, 8), "transform"),
        (Grid("EPSG:32634", Affine(10, 0, 500_000, 0, -10, 5_100_000), 8, 8), "CRS EPSG:32633"),
    ],
)
def test_other_grids_are_refused(tmp_path: Path, grid: Grid, message: str) -> None:
    before = write_map(tmp_path, "a", np.full((8, 8), 7, np.uint8), EARLIER)
    codes = np.full((grid.height, grid.width), 7, np.uint8)
    after = write_map(tmp_path, "b", codes, LATER, grid=grid)
    with pytest.raises(GridMismatchError, match=f"b_class.tif is not on the grid of .*{message}"):
        compare(before, after)
    assert not (tmp_path / "change").exists()


def test_legends_without_a_common_name(tmp_path: Path) -> None:
    codes = np.full((8, 8), 7, np.uint8)
    before = write_map(tmp_path, "a", codes, EARLIER)
    after = write_map(tmp_path, "b", codes, {7: "кукуруза", 8: "пшеница"})
    with pytest.raises(RasterError, match=r"b_class\.tif has no class name of .*кукуруза, пшеница"):
        compare(before, after)


def test_a_failure_leaves_the_old_raster(tmp_path: Path) -> None:
    codes = np.full((8, 8), 7, np.uint8)
    before, after = (write_map(tmp_path, name, codes, EARLIER) for name in "ab")
    compare(before, after)
    old = {path.name: path.read_bytes() for path in (tmp_path / "change").iterdir()}
    codes[3, 3] = 99
    with pytest.raises(RasterError, match="the value 99, which is not in the legend"):
        compare(before, write_map(tmp_path, "c", codes, EARLIER))
    assert old == {path.name: path.read_bytes() for path in (tmp_path / "change").iterdir()}
    with pytest.raises(OutputError, match="is a file; --output names the folder"):
        compare_files(ChangeRequest(before, after), before, Silent())


def test_changed_parcels(tmp_path: Path) -> None:
    """Left half maize, then wheat; right half wheat both times; unsure below, nodata at the foot."""
    before, after = np.full((2, 40, 20), 3, np.uint8)
    before[:, :10] = 7
    after[:] = 2
    before[30:] = NODATA
    sure = np.full((40, 20), 90)
    sure[20:] = 40
    paths = [
        write_map(tmp_path, "a", before, EARLIER),
        write_map(tmp_path, "b", after, LATER, sure),
    ]

    def box(col: float, row: float, wide: float, high: float) -> shapely.Polygon:
        x, y = 500_000 + col * 10, 5_100_000 - row * 10
        return shapely.box(x, y - high * 10, x + wide * 10, y)

    places = [
        (2, 2, 5, 5),
        (12, 2, 5, 5),
        (2, 22, 5, 5),
        (2, 32, 5, 5),
        (7, 2, 4, 5),
        (99, 9, 1, 1),
    ]
    table = geopandas.GeoDataFrame(
        {"change": list("abcdef"), "geometry": [box(*place) for place in places]}, crs=CRS
    )
    pyogrio.write_dataframe(table, tmp_path / "p.gpkg")
    record, _ = compare(*paths, above=50, parcels=tmp_path / "p.gpkg")
    found = pyogrio.read_dataframe(tmp_path / "change" / "change_parcels.gpkg", layer="parcels")
    assert found.change.tolist() == list("abcdef")
    assert found.change_2.tolist() == [
        "changed",
        "unchanged",
        "not certain",
        "no data",
        "changed",
        "no data",
    ]
    assert found.transition[0] == "maize -> wheat"
    assert found.transition[1:4].isna().all()
    assert found.changed_share[:3].tolist() == [100, 0, 0]
    assert found.uncertain_share[:3].tolist() == [0, 0, 100]
    assert (found.changed_share[4], found.before_share[4], found.after_share[4]) == (75, 75, 100)
    assert found.before_code[:3].tolist() == [7, 3, 7]
    assert found.after_crop[:2].tolist() == ["wheat", "wheat"]
    assert record["parcels"] == {"changed": 2, "unchanged": 1, "not certain": 1, "no data": 2}


def test_the_command(tmp_path: Path, geoseg: Geoseg) -> None:
    codes = np.full((8, 8), 7, np.uint8)
    before = write_map(tmp_path, "a", codes, EARLIER)
    after = write_map(tmp_path, "b", np.full((8, 8), 2, np.uint8), LATER)
    code, out, _ = geoseg("change", str(before), str(after), "-o", str(tmp_path / "out"))
    assert code == 0
    assert "maize -> wheat" in out
    assert "64 pixels            0.6 ha" in out
    assert len(list((tmp_path / "out").iterdir())) == 6
    (tmp_path / "a_confidence.tif").unlink()
    code, _, err = geoseg(
        "change", str(before), str(after), "-o", str(tmp_path / "out"), "--above", "50"
    )
    assert (code, "a_confidence.tif: no such file" in err) == (2, True)
