"""Parcels against a map: exact measures, clear verdicts, and an answer to every bad layer."""

from __future__ import annotations

import datetime
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
import yaml
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.errors import ConfigError, GeosegError, OutputError, ParcelError, RasterError
from geoseg.feedback import Silent
from geoseg.grid import Grid
from geoseg.io import configs, geotiffs
from geoseg.legend import NODATA, Legend, LegendClass
from geoseg.operations.parcels import check_run, require_run
from geoseg.operations.run import Run
from geoseg.operations.selection import select_scenes
from geoseg.product import style
from geoseg.product.parcels import zonal
from geoseg.product.parcels.check import ParcelRequest, check_parcels
from geoseg.product.parcels.verdicts import CHECKS, Limits

CRS = "EPSG:32633"
LEGEND = Legend(
    (
        LegendClass(7, "maize", "#e69f00"),
        LegendClass(3, "winter wheat", "#56b4e9"),
        LegendClass(1, "Сахарная свёкла", "#009e73"),
    )
)
WEST, NORTH, SIDE = 500_000, 5_100_000, 10

Geoseg = Callable[..., tuple[int, str, str]]


def write_map(
    folder: Path, codes: NDArray[np.uint8], confidence: NDArray[np.uint8], grid: Grid | None = None
) -> Path:
    """Class and confidence raster; returns the first."""
    place = grid or Grid(CRS, Affine(SIDE, 0, WEST, 0, -SIDE, NORTH), *codes.shape)
    tags = ((style.LEGEND_TAG, style.legend_tag(LEGEND)),)
    for name, values, kept in (("class", codes, tags), ("confidence", confidence, ())):
        spec = geotiffs.RasterSpec("uint8", nodata=NODATA, tags=kept)
        with geotiffs.create(folder / f"m_{name}.tif", place, spec) as target:
            target.write(values, place.window)
    return folder / "m_class.tif"


@pytest.fixture
def halves(tmp_path: Path) -> Path:
    """40 x 60 pixels: maize (confidence 90) left, wheat (60) right, and nodata in the last rows."""
    codes = np.full((40, 60), 7, np.uint8)
    codes[:, 30:] = 3
    confidence = np.where(codes == 7, 90, 60).astype(np.uint8)
    codes[30:], confidence[30:] = NODATA, NODATA
    return write_map(tmp_path, codes, confidence)


def box(col: float, row: float, width: float, height: float) -> shapely.Polygon:
    """A rectangle given in pixels."""
    x, y = WEST + col * SIDE, NORTH - row * SIDE
    return shapely.box(x, y - height * SIDE, x + width * SIDE, y)


def write_layer(path: Path, shapes: list[Any], crs: str | None = CRS, **columns: Any) -> Path:
    table = geopandas.GeoDataFrame({**columns, "geometry": shapes}, crs=crs)
    pyogrio.write_dataframe(table, path)
    return path


def request(class_map: Path, parcels: Path, **more: Any) -> ParcelRequest:
    confidence = class_map.with_name("m_confidence.tif")
    return ParcelRequest(class_map, confidence, parcels, **more)


def check(
    class_map: Path, parcels: Path, **more: Any
) -> tuple[geopandas.GeoDataFrame, dict[str, Any]]:
    """The written GeoPackage and the summary."""
    target = class_map.with_name("out.gpkg")
    summary = check_parcels(request(class_map, parcels, **more), target, Silent())
    assert json.loads(json.dumps(summary)) == summary
    return pyogrio.read_dataframe(target, layer="parcels"), summary


# ---------------------------------------------------------------- measures


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
        monkeypatch.setattr("geoseg.product.parcels.check.BATCH", batch)
        monkeypatch.setattr(zonal, "BLOCK", block)
        monkeypatch.setattr(zonal, "_CELLS", cells)
        again, same = check(halves, layer)
        pd.testing.assert_frame_equal(
            first.drop(columns="geometry"), again.drop(columns="geometry")
        )
        assert same == summary


def test_the_same_input_gives_the_same_bytes(halves: Path, tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "p.gpkg", [box(1, 1, 5, 5)] * 50, crop=["maize"] * 50)
    for suffix in ("gpkg", "parquet", "csv"):
        paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
        for path in paths:
            check_parcels(request(halves, layer, declared="crop"), path, Silent())
        assert paths[0].read_bytes() == paths[1].read_bytes()


# ---------------------------------------------------------------- verdicts


def test_verdicts(halves: Path, tmp_path: Path) -> None:
    """Maize is sure here (90), wheat is not (60), and the last rows have no class."""
    rows = {
        "agrees": (box(2, 2, 5, 5), "maize"),
        "disagrees": (box(2, 2, 5, 5), "winter wheat"),
        "unsure": (box(40, 2, 5, 5), "winter wheat"),
        "unsure ": (box(40, 2, 5, 5), "maize"),
        "no data": (box(2, 32, 5, 5), "maize"),
        "no data ": (box(2, 28, 5, 5), "maize"),  # two rows of five are mapped
        "unknown declaration": (box(2, 2, 5, 5), "Maize"),
        "not declared": (box(2, 2, 5, 5), None),
        "not declared ": (box(2, 2, 5, 5), "  "),
    }
    shapes, crops = zip(*rows.values(), strict=True)
    layer = write_layer(tmp_path / "p.gpkg", list(shapes), crop=list(crops))
    table, summary = check(halves, layer, declared="crop")
    assert table.check.tolist() == [name.strip() for name in rows]
    assert table.declared_crop[:2].tolist() == ["maize", "winter wheat"]
    assert table.disagreement[:4].tolist() == [0, 90, 0, 60]
    assert table.disagreement[6:].isna().all()
    assert summary["checks"]["agrees"] == {"parcels": 1, "hectares": 0.25}
    assert summary["hectares_agreed"] == 0.25
    assert sum(group["parcels"] for group in summary["checks"].values()) == len(rows)
    assert summary["unknown_declarations"] == {"Maize": 1}
    assert summary["declared"]["maize"] == {"agrees": 1, "unsure": 1, "no data": 2}


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        (Limits(90, 60), "agrees"),
        (Limits(90.1, 60), "unsure"),
        (Limits(90, 60.1), "unsure"),
        (Limits(0, 0), "agrees"),
    ],
)
def test_limits_belong_to_the_verdict(
    halves: Path, tmp_path: Path, limits: Limits, verdict: str
) -> None:
    """60 percent of the parcel are maize at 90."""
    layer = write_layer(tmp_path / "p.gpkg", [box(24, 0, 10, 5)], crop=["maize"])
    assert check(halves, layer, declared="crop", limits=limits)[0].check[0] == verdict


@pytest.mark.parametrize(
    "values",
    [[7, 3, 9], [7.0, 3.0, 9.5], ["7", "3", "9"], ["maize", "winter wheat", "oats"]],
    ids=["int", "float", "text", "names"],
)
def test_declared_as_names_or_codes(halves: Path, tmp_path: Path, values: list[Any]) -> None:
    layer = write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)] * 3, crop=values)
    table, summary = check(halves, layer, declared="crop")
    assert table.check.tolist() == ["agrees", "disagrees", "unknown declaration"]
    assert summary["unknown_declarations"] == {str(values[2]): 1}


def test_names_are_one_in_either_spelling_of_a_letter(halves: Path, tmp_path: Path) -> None:
    decomposed = "Сахарная све\u0308кла"
    layer = write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)], crop=[decomposed])
    assert check(halves, layer, declared="crop")[0].check[0] == "disagrees"


def test_an_authoritys_own_codes(halves: Path, tmp_path: Path) -> None:
    """The table alone counts: 3 is the legend's wheat, and nothing in the table."""
    (tmp_path / "codes.csv").write_text("declared;class\n115;maize\nвиноград;\n0116;winter wheat\n")
    layer = write_layer(
        tmp_path / "p.gpkg", [box(2, 2, 5, 5)] * 5, k=["115", "0116", "виноград", "3", "116"]
    )
    table, summary = check(halves, layer, declared="k", mapping=tmp_path / "codes.csv")
    assert table.check.tolist() == ["agrees", "disagrees", *["unknown declaration"] * 3]
    assert summary["unknown_declarations"] == {"116": 1, "3": 1, "виноград": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("code,crop\n1,maize\n", "the first line is 'code,crop'; it must be 'declared,class'"),
        ("", "it must be 'declared,class'"),
        ("declared,class\n1,mays\n", "row 2: 'mays' is not a class of the map; it has: maize"),
        ("declared,class\n1,maize\n1,winter wheat\n", "row 3: '1' is 'maize' above"),
    ],
)
def test_a_bad_table_of_codes(halves: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "codes.csv").write_text(text)
    layer = write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)], k=["1"])
    with pytest.raises(ParcelError, match=f"codes.csv.*{message}"):
        check(halves, layer, declared="k", mapping=tmp_path / "codes.csv")


# ---------------------------------------------------------------- hostile layers


def test_geometries_of_all_sorts(halves: Path, tmp_path: Path) -> None:
    bow = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    bow = shapely.transform(bow, lambda points: points * SIDE + (WEST + 100, NORTH - 200))
    rows = {
        "inside": shapely.MultiPolygon([box(1, 1, 2, 2), box(50, 1, 2, 2)]),
        "inside ": bow,
        "partly outside": box(-5, 5, 10, 10),
        "outside": box(500, 5, 10, 10),
        "outside ": box(60, 0, 5, 5),  # shares a border with the map
        "outside  ": shapely.box(1e30, 1e30, 2e30, 2e30),
        "no geometry": None,
        "no geometry ": shapely.Polygon(),
        "no geometry  ": shapely.Polygon([(WEST, NORTH), (WEST + 50, NORTH), (WEST, NORTH)]),
    }
    layer = write_layer(tmp_path / "p.gpkg", list(rows.values()), crop=["maize"] * len(rows))
    table, summary = check(halves, layer, declared="crop")
    assert table.place.tolist() == [name.strip() for name in rows]
    assert table.pixels.tolist() == pytest.approx([8, 50, 50, 0, 0, 0, 0, 0, 0])
    assert table.area_ha[:4].tolist() == pytest.approx([0.08, 0.5, 1, 1])
    assert table.mended.tolist() == [False, True, *[False] * 6, True]
    assert (table.check[3:] == "no data").all()
    assert table.map_crop[3:].isna().all()
    assert table.map_code[3:].isna().all()
    assert summary["mended"] == 2
    assert summary["place"] == {"inside": 2, "partly outside": 1, "outside": 3, "no geometry": 3}
    assert shapely.equals_exact(table.geometry[1].geoms[0], bow), "geometries stay as they are"


def test_a_parcel_as_large_as_the_world(halves: Path, tmp_path: Path) -> None:
    """UTM has no place for most of the Earth: only the surroundings of the map are looked at."""
    world = shapely.box(-180, -90, 180, 90)
    far = shapely.box(-100, 20, -99, 21)
    layer = write_layer(tmp_path / "p.gpkg", [world, far, None], "EPSG:4326")
    table, _ = check(halves, layer)
    assert table.pixels.tolist() == pytest.approx([2400, 0, 0])
    assert table.place.tolist() == ["partly outside", "outside", "no geometry"]


def test_column_names_that_are_taken_or_strange(halves: Path, tmp_path: Path) -> None:
    columns = {
        "fid": [5, 5],
        "geom": ["a", "b"],
        "CHECK": [1, 2],
        "check_2": [3, 4],
        "select": [True, False],
        'say "so"': ["'", '"; drop table parcels; --'],
        "название": ["поле №1", "О'Хара"],
        "maize": [None, 2.5],
        "pct_maize": ["x", "y"],
    }
    shapes = [box(1, 1, 2, 2), box(2, 1, 2, 2)]
    table = geopandas.GeoDataFrame({**columns, "crop": ["maize"] * 2, "geometry": shapes}, crs=CRS)
    layer = tmp_path / "p.geojson"
    pyogrio.write_dataframe(table, layer, driver="GeoJSON")
    out, summary = check(halves, layer, declared="crop")
    for name, values in columns.items():
        assert out[name].astype(object).where(out[name].notna(), None).tolist() == values, name
    assert out.check_3.tolist() == ["agrees"] * 2
    assert out.pct_maize_2.tolist() == [100, 100]
    assert summary["renamed_columns"] == {"check": "check_3", "pct_maize": "pct_maize_2"}


def test_attributes_of_all_types_are_kept(halves: Path, tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        "big": pd.array([2**62 + 1, None, -1], dtype="Int64"),
        "time": pd.to_datetime(["2025-05-01", None, "1999-12-31"]),
        "zone": pd.to_datetime(["2025-05-01T08:00Z", None, "1999-12-31T23:59Z"], utc=True),
        "day": [datetime.date(2025, 5, 1), None, datetime.date(1900, 1, 1)],
        "yes": pd.array([True, None, False], dtype="boolean"),
        "ratio": [0.1, np.nan, 1e300],
        "text": ["", None, "x" * 5000],
    }
    layer = write_layer(tmp_path / "p.gpkg", [box(1, 1, 2, 2)] * 3, **columns)
    check(halves, layer)
    found, given = (
        pyogrio.read_dataframe(path, layer=name)[list(columns)]
        for path, name in ((halves.with_name("out.gpkg"), "parcels"), (layer, "p"))
    )
    pd.testing.assert_frame_equal(found, given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p, "p.gpkg: no such file"),
        (lambda p: p.write_text("hello"), "cannot be read as a vector file"),
        (lambda p: write_layer(p, [], x=[]), "layer 'p' is empty"),
        (lambda p: write_layer(p, [box(1, 1, 2, 2)], crs=None), "no coordinate reference system"),
        (lambda p: write_layer(p, [shapely.Point(0, 0)]), "holds Point geometries; parcels are"),
        (
            lambda p: write_layer(p, [shapely.LineString([(0, 0), (1, 1)])]),
            "holds LineString geometries",
        ),
        (
            lambda p: write_layer(p, [box(1, 1, 2, 2), shapely.Point(0, 0)]),
            "row 2 of layer 'p' is a Point, not a polygon",
        ),
    ],
    ids=["missing", "text", "empty", "no crs", "points", "lines", "mixed"],
)
def test_layers_that_cannot_be_used(
    halves: Path, tmp_path: Path, make: Callable[[Path], Any], message: str
) -> None:
    make(tmp_path / "p.gpkg")
    target = tmp_path / "out.gpkg"
    target.write_text("as it was")
    with pytest.raises(ParcelError, match=message):
        check_parcels(request(halves, tmp_path / "p.gpkg"), target, Silent())
    assert target.read_text() == "as it was"
    assert not list(tmp_path.glob(".*"))


def test_layers_and_columns_by_name(halves: Path, tmp_path: Path) -> None:
    table = geopandas.GeoDataFrame({"a": [1], "geometry": [box(1, 1, 2, 2)]}, crs=CRS)
    for name in ("2024", "2025"):
        pyogrio.write_dataframe(table, tmp_path / "p.gpkg", layer=name)
    with pytest.raises(ParcelError, match=r"2 layers with geometry \(2024, 2025\), not one"):
        check(halves, tmp_path / "p.gpkg")
    with pytest.raises(ParcelError, match="no layer '2026' with geometry"):
        check(halves, tmp_path / "p.gpkg", layer="2026")
    with pytest.raises(ParcelError, match=r"no column 'crop'.*it has: a"):
        check(halves, tmp_path / "p.gpkg", layer="2025", declared="crop")
    assert len(check(halves, tmp_path / "p.gpkg", layer="2025")[0]) == 1


@pytest.mark.parametrize("suffix", ["shp", "geojson", "fgb", "gml"])
def test_formats_in(halves: Path, tmp_path: Path, suffix: str) -> None:
    shapes = [box(2, 2, 5, 5), box(31, 2, 5, 5)]
    layer = write_layer(tmp_path / f"p.{suffix}", shapes, Name=["поле", "x"])
    table, _ = check(halves, layer)
    table = table.sort_values("map_code", ascending=False)  # FlatGeobuf has an order of its own
    assert table.map_crop.tolist() == ["maize", "winter wheat"]
    assert table.pixels.tolist() == [25, 25]
    assert table.Name.tolist() == ["поле", "x"]


def test_geoparquet_in(halves: Path, tmp_path: Path) -> None:
    table = geopandas.GeoDataFrame(
        {"id": [5, 5], "tags": [["a", "b"], None], "geometry": [box(2, 2, 5, 5), None]}, crs=CRS
    )
    table.to_parquet(tmp_path / "p.parquet", write_covering_bbox=True)
    found, _ = check(halves, tmp_path / "p.parquet")
    assert found.map_crop.isna().tolist() == [False, True]
    assert found.id.tolist() == [5, 5]
    assert found.crs == CRS
    for name in ("parquet", "csv"):
        target = tmp_path / f"out.{name}"
        check_parcels(request(halves, tmp_path / "p.parquet"), target, Silent())
    assert '"[""a"", ""b""]"' in (tmp_path / "out.csv").read_text()
    again, _ = check(halves, tmp_path / "out.parquet")
    assert again.map_crop_2.isna().tolist() == [False, True]
    table.drop(columns="geometry").to_parquet(tmp_path / "plain.parquet")
    with pytest.raises(ParcelError, match=r"plain\.parquet is no GeoParquet"):
        check(halves, tmp_path / "plain.parquet")
    table.set_crs(None, allow_override=True).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(ParcelError, match="no coordinate reference system"):
        check(halves, tmp_path / "p.parquet")
    (tmp_path / "p.parquet").write_text("hello")
    with pytest.raises(ParcelError, match="cannot be read as a vector file"):
        check(halves, tmp_path / "p.parquet")


def test_curves_are_refused(halves: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(
        'WKT\n"CURVEPOLYGON(CIRCULARSTRING(500100 5099900,500200 5099900,500100 5099900))"\n'
    )
    (tmp_path / "p.vrt").write_text(
        '<OGRVRTDataSource><OGRVRTLayer name="p"><SrcDataSource relativeToVRT="1">p.csv'
        f"</SrcDataSource><LayerSRS>{CRS}</LayerSRS></OGRVRTLayer></OGRVRTDataSource>"
    )
    with pytest.raises(ParcelError, match=r"holds curves.*CONVERT_TO_LINEAR"):
        check(halves, tmp_path / "p.vrt")


def test_formats_out(halves: Path, tmp_path: Path) -> None:
    layer = write_layer(
        tmp_path / "p.gpkg", [box(2, 2, 5, 5), None], crop=["maize", 'О"Хара'], n=[1, 2]
    )
    tables = {}
    for suffix in ("gpkg", "parquet", "csv"):
        path = tmp_path / f"out.{suffix}"
        check_parcels(request(halves, layer, declared="crop"), path, Silent())
        read = {
            "gpkg": partial(pyogrio.read_dataframe, layer="parcels"),
            "parquet": geopandas.read_parquet,
        }
        tables[suffix] = read.get(suffix, pd.read_csv)(path)
    assert tables["parquet"].crs == tables["gpkg"].crs == CRS
    assert tables["parquet"].geometry[0].equals(tables["gpkg"].geometry[0])
    assert list(tables["gpkg"].drop(columns="geometry")) == list(tables["csv"])
    for table in tables.values():
        assert table.crop.tolist() == ["maize", 'О"Хара']
        assert table.check.tolist() == ["agrees", "unknown declaration"]
        assert table.map_share[0] == 100
        assert np.isnan(table.map_share[1])
    with pytest.raises(OutputError, match=r"out\.shp: parcels are written as .gpkg, .parquet or"):
        check_parcels(request(halves, layer), tmp_path / "out.shp", Silent())


def test_the_geopackage_is_styled_by_the_check(halves: Path, tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)], Check=["maize"])
    for more, attribute, word in (
        ({"declared": "Check"}, "check_2", "disagrees"),
        ({}, "map_code", "winter wheat"),
    ):
        check(halves, layer, **more)
        with sqlite3.connect(tmp_path / "out.gpkg") as database:
            qml, table = database.execute(
                "select styleQML, f_table_name from layer_styles"
            ).fetchone()
        assert table == "parcels"
        assert f'attr="{attribute}"' in qml
        assert word in qml


def test_a_code_that_is_not_in_the_legend(tmp_path: Path) -> None:
    codes = np.full((10, 10), 9, np.uint8)
    class_map = write_map(tmp_path, codes, codes)
    layer = write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)])
    with pytest.raises(RasterError, match="holds the value 9, which is not in the legend"):
        check(class_map, layer)


def test_a_map_without_crs(tmp_path: Path) -> None:
    codes = np.full((10, 10), 7, np.uint8)
    grid = Grid(None, Affine.identity(), 10, 10)
    layer = write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)])
    with pytest.raises(ParcelError, match=r"m_class\.tif has no coordinate reference system"):
        check(write_map(tmp_path, codes, codes, grid), layer)


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


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "csv"])
def test_no_room_leaves_the_old_table(halves: Path, tmp_path: Path, suffix: str) -> None:
    """A limit on file sizes acts as a full disk."""
    rng = np.random.default_rng(0)
    text = [rng.bytes(40).hex() for _ in range(4000)]
    layer = write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)] * 4000, text=text)
    target = tmp_path / f"out.{suffix}"
    target.write_text("as it was")
    before = sorted(path.name for path in tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=rf"out\.{suffix}.*cannot be written"):
            check_parcels(request(halves, layer), target, Silent())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert target.read_text() == "as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


# ---------------------------------------------------------------- QGIS, command line, run


def test_qgis_shows_the_verdicts(halves: Path, tmp_path: Path) -> None:
    """Debian's QGIS takes the style out of the GeoPackage: each verdict with its colour."""
    python = Path("/usr/bin/python3")
    script = (
        "import sys, json; from qgis.core import QgsApplication, QgsVectorLayer\n"
        "app = QgsApplication([], False); app.initQgis()\n"
        "layer = QgsVectorLayer(sys.argv[1] + '|layername=parcels', 'p')\n"
        "renderer = layer.renderer()\n"
        "feature = next(layer.getFeatures())\n"
        "entries = {c.value(): c.symbol().color().name() for c in renderer.categories()}\n"
        "print(json.dumps([layer.isValid(), renderer.classAttribute(), entries, feature['поле']]))\n"
    )
    probe = subprocess.run([python, "-c", "import qgis.core"], check=False, capture_output=True)
    if probe.returncode:
        pytest.skip(f"{python} cannot import qgis.core (Debian's python3-qgis)")
    # The style must go with the geometry column, whose name is taken here.
    columns = {"crop": ["maize"], "поле": ["О'Хара"], "geom": ["x"]}
    layer = write_layer(tmp_path / "p.geojson", [box(2, 2, 5, 5)], **columns)
    check(halves, layer, declared="crop")
    shown = subprocess.run(
        [python, "-c", script, tmp_path / "out.gpkg"],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={"QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path), "PATH": os.defpath},
    )
    assert json.loads(shown.stdout.splitlines()[-1]) == [True, "check", CHECKS, "О'Хара"]


def test_a_run_checks_the_parcels_of_its_config(halves: Path, tmp_path: Path) -> None:
    write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)], crop=["maize"])
    config = {
        "name": "m",
        "imagery": {"folder": ".", "pattern": "{date}.tif"},
        "model": {"bundle": "model"},
        "parcels": {"file": "p.gpkg", "declared": "crop", "above": 95},
    }
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(config))
    run = Run.open(tmp_path / "m.yaml", tmp_path)
    record = check_run(run)
    assert record["parcels"]["limits"] == {"above": 95, "share": 50, "mapped": 50}
    assert record["parcels"]["checks"]["unsure"]["parcels"] == 1
    assert run.recorded("parcels") == record
    assert pyogrio.read_info(run.folder.parcels, layer="parcels")["features"] == 1
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(config | {"parcels": None}))
    run = Run.open(tmp_path / "m.yaml", tmp_path)
    assert check_run(run) == {} == run.recorded("parcels")


def test_a_run_tells_of_bad_parcels_before_it_begins(season: Path, tmp_path: Path) -> None:
    write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)], crop=["maize"])
    content = {
        "name": "m",
        "imagery": {"folder": str(season), "pattern": "{date}.tif"},
        "legend": [{"code": 1, "name": "a"}, {"code": 2, "name": "b"}],
        "labels": {"file": "labels.tif"},
    }
    for section, message in (
        ({"file": "p.gpkg"}, None),
        ({"file": "p.gpkg", "declared": "crop"}, None),
        ({"file": "q.gpkg"}, "no such file"),
        ({"file": "p.gpkg", "declared": "kultur"}, "no column 'kultur'"),
        ({"file": "p.gpkg", "declared": "crop", "mapping": "c.csv"}, r"c\.csv: No such file"),
    ):
        (tmp_path / "m.yaml").write_text(yaml.safe_dump(content | {"parcels": section}))
        run = Run.open(tmp_path / "m.yaml", tmp_path / "out")
        if message is None:
            require_run(run)
            continue
        with pytest.raises(ParcelError, match=message):
            select_scenes(run)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"file": "p.gpkg", "mapping": "c.csv"}, "parcels: 'mapping' needs 'declared'"),
        ({"file": "p.gpkg", "above": 101}, r"parcels\.above: .* 100"),
        ({"fil": "p.gpkg"}, r"parcels\.fil: unknown key; did you mean 'file'"),
    ],
)
def test_mistakes_in_the_config(section: dict[str, Any], message: str) -> None:
    content = {
        "name": "m",
        "imagery": {"folder": ".", "pattern": "{date}.tif"},
        "model": {"bundle": "model"},
        "parcels": section,
    }
    with pytest.raises(ConfigError, match=message):
        configs.parse(content, Path("/area"), "m.yaml")


def test_the_command(halves: Path, tmp_path: Path, geoseg: Geoseg) -> None:
    layer = write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)] * 2, crop=["maize", "oats"])
    code, out, _ = geoseg("parcels", str(halves), str(layer), "--declared", "crop")
    assert code == 0
    assert f"parcels: {tmp_path / 'm_parcels.gpkg'}" in out
    assert "agrees" in out
    assert "declared 'oats' (1) is not in the legend" in out
    summary = json.loads((tmp_path / "m_parcels.summary.json").read_text())
    assert summary["hectares_agreed"] == 0.25
    code, _, err = geoseg("parcels", str(halves), str(tmp_path / "none.gpkg"))
    assert (code, "none.gpkg: no such file" in err) == (2, True)
    assert issubclass(ParcelError, GeosegError)


PEAK = """
import sys
from pathlib import Path
from geoseg.feedback import Silent
from geoseg.product.parcels.check import ParcelRequest, check_parcels
folder, layer = map(Path, sys.argv[1:])
found = check_parcels(
    ParcelRequest(folder / "m_class.tif", folder / "m_confidence.tif", layer, declared="crop"),
    folder / "out.gpkg",
    Silent(),
)
# Not ru_maxrss: that begins with what the parent process had.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(found["parcels"], int(status["VmHWM"].split()[0]) // 1024)
"""


@pytest.mark.slow
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
        )
        rows, peak = map(int, run.stdout.split())
        assert rows == count
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 60
