"""Parcel layers and maps of all sorts: each is read right, or refused with its reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine

from geoseg.analysis.parcels.check import check_parcels
from geoseg.errors import ParcelError, RasterError
from geoseg.feedback import Silent
from geoseg.grid import Grid
from tests.support.parcel_map import (
    CRS,
    NORTH,
    SIDE,
    WEST,
    box,
    check,
    request,
    write_layer,
    write_map,
)


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
