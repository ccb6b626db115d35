"""Text of other people's files: readable in each format of the result, or one message; and what
``inspect`` tells of such a file."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import geopandas
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from geoseg.analysis.parcels.check import check_parcels
from geoseg.config import LabelsConfig
from geoseg.errors import LabelError, ParcelError
from geoseg.feedback import Silent
from geoseg.grid import Grid
from geoseg.imagery.labels import open_labels
from geoseg.io.raster import rasters
from geoseg.io.vector.points import read_points
from geoseg.legend import Legend, LegendClass
from tests.support.parcel_map import CRS, box, check, request, write_layer, write_map

LOCAL = 'LOCAL_CS["a drawing",UNIT["metre",1]]'

Geoseg = Callable[..., tuple[int, str, str]]

SHAPES = [box(2, 2, 5, 5), box(31, 2, 5, 5)]


def shapefile(path: Path, encoding: str, cpg: str | None, language: int = 0) -> Path:
    """With the text "Zuckerrübe" in a column "größe"; ``language`` is the driver id in the .dbf."""
    frame = geopandas.GeoDataFrame({"größe": ["Zuckerrübe", "x"]}, geometry=SHAPES, crs=CRS)
    frame.to_file(path, encoding=encoding)
    path.with_suffix(".cpg").unlink()
    if cpg is not None:
        path.with_suffix(".cpg").write_text(cpg)
    table = bytearray(path.with_suffix(".dbf").read_bytes())
    table[29] = language
    path.with_suffix(".dbf").write_bytes(table)
    return path


@pytest.mark.parametrize(
    ("encoding", "cpg", "language"),
    [
        ("cp1252", None, 0),
        ("cp1252", None, 0x03),
        ("cp1252", None, 0x57),
        ("cp1252", "1252", 0),
        ("cp1252", "klingon", 0),
        ("cp1250", "1250", 0),
        ("UTF-8", "UTF-8", 0),
    ],
)
def test_dbase_text_arrives(
    halves: Path, tmp_path: Path, encoding: str, cpg: str | None, language: int
) -> None:
    path = shapefile(tmp_path / "p.shp", encoding, cpg, language)
    for suffix in ("gpkg", "parquet", "csv"):
        target = tmp_path / f"o.{suffix}"
        check_parcels(request(halves, path), target, Silent())
        if suffix == "gpkg":
            found = geopandas.read_file(target, layer="parcels")
        else:
            found = (pd.read_csv if suffix == "csv" else pd.read_parquet)(target)
        assert found["größe"].tolist() == ["Zuckerrübe", "x"]
    table, _ = check(halves, path, declared="größe")
    assert len(table) == 2


def spoil(path: Path) -> Path:
    """A file of two polygons with a text in Latin 1, in a format that is UTF-8."""
    frame = geopandas.GeoDataFrame({"crop": ["R?be", "x"]}, geometry=SHAPES, crs=CRS)
    if path.suffix == ".gpkg":
        frame.to_file(path)
        with sqlite3.connect(path) as database:
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='trigger'"):
                database.execute(f'DROP TRIGGER "{name}"')
            database.execute("UPDATE p SET crop = CAST(x'52fc6265' AS TEXT) WHERE fid = 1")
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
        table = pyarrow.parquet.read_table(path)
        column = pyarrow.array([b"R\xfcbe", b"x"], pyarrow.binary()).view(pyarrow.string())
        table = table.set_column(0, "crop", column)
        pyarrow.parquet.write_table(table, path)
    elif path.suffix == ".shp":
        shapefile(path, "cp1252", "UTF-8")
    else:
        frame.to_file(path)
        path.write_bytes(path.read_bytes().replace(b"R?be", b"R\xfcbe"))
    return path


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "parquet", "shp", "fgb"])
def test_bytes_that_are_no_text(halves: Path, tmp_path: Path, suffix: str) -> None:
    path = spoil(tmp_path / f"p.{suffix}")
    for target in ("o.gpkg", "o.parquet", "o.csv"):
        with pytest.raises(ParcelError, match=rf"p\.{suffix}: .* is not UTF-8, nor in another"):
            check_parcels(request(halves, path), tmp_path / target, Silent())
        assert not (tmp_path / target).exists()
    if suffix != "parquet":
        column = "größe" if suffix == "shp" else "crop"
        legend = Legend((LegendClass(1, "a", "#000000"), LegendClass(2, "b", "#000000")))
        with pytest.raises(LabelError, match="is not UTF-8"):
            config = LabelsConfig(file=path, attribute=column)
            open_labels(config, rasters.describe(halves).grid, legend)
        with pytest.raises(LabelError, match="is not UTF-8"):
            read_points(path, None, column, CRS)


def test_objects_and_lists_become_json_in_a_table(halves: Path, tmp_path: Path) -> None:
    path = write_layer(tmp_path / "p.geojson", SHAPES, nr=[1, 2])
    content = json.loads(path.read_text())
    for number, feature in enumerate(content["features"]):
        feature["properties"] |= {"meta": {"k": number, "ü": [1]}, "tags": ["a", "b"]}
    path.write_text(json.dumps(content))
    for suffix in ("gpkg", "parquet", "csv"):
        check_parcels(request(halves, path), tmp_path / f"o.{suffix}", Silent())
    with (tmp_path / "o.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [json.loads(row["meta"]) for row in rows] == [{"k": 0, "ü": [1]}, {"k": 1, "ü": [1]}]
    assert json.loads(rows[0]["tags"]) == ["a", "b"]


@pytest.mark.parametrize(("mine", "theirs"), [(CRS, LOCAL), (LOCAL, CRS)])
def test_no_way_between_two_crs(tmp_path: Path, halves: Path, mine: str, theirs: str) -> None:
    grid = rasters.describe(halves).grid
    values, _ = rasters.read(halves, [1], grid.window)
    other = Grid(theirs, grid.transform, grid.height, grid.width)
    target = write_map(tmp_path / "other", values[0], values[0], other)
    layer = write_layer(tmp_path / "p.gpkg", SHAPES, mine, crop=["maize", "maize"])
    with pytest.raises(ParcelError, match=r"p\.gpkg: .*its CRS cannot be turned into the map's"):
        check(target, layer)
    points = write_layer(tmp_path / "c.gpkg", [s.centroid for s in SHAPES], mine, crop=["a", "b"])
    with pytest.raises(LabelError, match=r"c\.gpkg: its CRS cannot be turned into the map's"):
        read_points(points, None, "crop", theirs)


def test_inspect_says_what_a_vector_file_is(tmp_path: Path, geoseg: Geoseg) -> None:
    path = write_layer(
        tmp_path / "p.gpkg", [*SHAPES, None], crop=["maize", "Rübe", None], n=[1, 2, 2]
    )
    code, out, _ = geoseg("inspect", str(path))
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert lines[0] == f"{path}: a vector file of 1 layer(s), no raster"
    assert {"layer p", "rows 3", "geometry Polygon"} <= set(lines)
    assert "crop text 'maize', 'Rübe'" in lines
    assert "n int64 1, 2" in lines
    assert any(line.startswith("CRS EPSG:") for line in lines)


@pytest.mark.parametrize("suffix", ["parquet", "shp", "geojson", "csv"])
def test_inspect_knows_other_formats(tmp_path: Path, geoseg: Geoseg, suffix: str) -> None:
    frame = geopandas.GeoDataFrame({"crop": ["maize", "rye"]}, geometry=SHAPES, crs=CRS)
    path = tmp_path / f"p.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    elif suffix == "csv":
        path.write_text("lon,lat,crop\n1,2,maize\n3,4,rye\n")
    else:
        frame.to_file(path)
    code, out, _ = geoseg("inspect", str(path))
    assert code == 0
    assert "'maize', 'rye'" in out
    assert ("none" if suffix == "csv" else "Polygon") in out


def test_inspect_of_what_is_neither(tmp_path: Path, geoseg: Geoseg) -> None:
    for name in ("x.gpkg", "x.tif", "x.txt"):
        (tmp_path / name).write_text("hello")
        code, _, err = geoseg("inspect", str(tmp_path / name))
        assert code == 2
        assert "cannot be read as a raster" in err
