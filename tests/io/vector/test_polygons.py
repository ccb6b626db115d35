"""Vector files: what comes in as labels is checked, what goes out is whole and repeatable."""

from __future__ import annotations

import json
import resource
import signal
import sqlite3
from pathlib import Path

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from geoseg.errors import LabelError, OutputError
from geoseg.io.vector.label_polygons import read_polygons
from geoseg.io.vector.polygons import create_polygons

CRS = "EPSG:32632"


def boxes(count: int, seed: int = 0) -> np.ndarray:
    x, y = np.random.default_rng(seed).uniform(0, 1e4, (2, count))
    return shapely.box(x, y, x + 30, y + 20)


def names(count: int) -> np.ndarray:
    return np.array([f"crop {i % 3}" for i in range(count)], dtype=object)


def write(path: Path, counts: tuple[int, ...] = (5, 7), crs: str | None = CRS) -> np.ndarray:
    with create_polygons(path, "fields", crs) as writer:
        for seed, count in enumerate(counts):
            columns = {"crop": names(count), "area": np.linspace(0, 1, count)}
            writer.append(boxes(count, seed), columns)
    return np.concatenate([boxes(count, seed) for seed, count in enumerate(counts)])


def test_batches_come_back_in_order(tmp_path: Path) -> None:
    written = write(tmp_path / "labels.gpkg")
    table = read_polygons(tmp_path / "labels.gpkg", None, ["crop"])
    assert list(table.columns) == ["crop"]
    assert table.crs == CRS
    assert shapely.equals_exact(table.geometry, written).all()
    assert table.columns["crop"].tolist() == [*names(5), *names(7)]
    assert [path.name for path in tmp_path.iterdir()] == ["labels.gpkg"]


def test_the_same_batches_give_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.gpkg")
    write(tmp_path / "b.gpkg")
    assert (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()
    with sqlite3.connect(tmp_path / "a.gpkg") as database:
        changed = database.execute("select last_change from gpkg_contents").fetchone()
    assert changed == ("2000-01-01T00:00:00.000Z",), "the clock is in the bytes"


@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "parquet"])
def test_each_format_holds_the_same(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    written = write(path, (300, 0, 200))
    table = (geopandas.read_parquet if suffix == "parquet" else geopandas.read_file)(path)
    assert table.crs == CRS
    assert sorted(shapely.to_wkb(table.geometry)) == sorted(shapely.to_wkb(written))
    assert sorted(table["crop"]) == sorted([*names(300), *names(200)])
    before = path.read_bytes()
    write(path, (300, 0, 200))
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [path.name]
    inside = shapely.box(2000, 2000, 3000, 3000)
    read = geopandas.read_parquet if suffix == "parquet" else geopandas.read_file
    few = read(path, bbox=inside.bounds)
    assert len(few) == shapely.intersects(written, inside).sum() > 0


@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "parquet"])
def test_each_format_without_crs_or_polygons(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    write(path, (0,), None)
    table = (geopandas.read_parquet if suffix == "parquet" else geopandas.read_file)(path)
    assert (len(table), table.crs) == (0, None)
    assert {"crop", "area"} <= set(table.columns)


def test_geoparquet_says_what_the_standard_asks(tmp_path: Path) -> None:
    written = write(tmp_path / "a.parquet", (30, 20))
    file = pq.ParquetFile(tmp_path / "a.parquet")
    geo = json.loads(file.metadata.metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert (geo["version"], column["encoding"], column["geometry_types"]) == (
        "1.1.0",
        "WKB",
        ["Polygon"],
    )
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32632}
    assert column["bbox"] == shapely.total_bounds(written).tolist()
    assert column["covering"]["bbox"]["ymax"] == ["bbox", "ymax"]
    assert file.metadata.num_row_groups == 2, "a batch is a row group"
    boxes = file.read(["bbox"]).column("bbox").combine_chunks().flatten()
    assert np.array_equal(np.stack(boxes, axis=1), shapely.bounds(written))


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(
            OutputError, match=r"a\.shp: polygons are written as \.gpkg, \.fgb, \.parquet"
        ),
        create_polygons(tmp_path / "a.shp", "x", CRS),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_spatial_index_finds_polygons(tmp_path: Path) -> None:
    written = write(tmp_path / "a.gpkg", (300, 200))
    with sqlite3.connect(tmp_path / "a.gpkg") as database:
        assert database.execute("select count(*) from rtree_fields_geom").fetchone() == (500,)
    box = (2000, 2000, 3000, 3000)
    found = pyogrio.read_dataframe(tmp_path / "a.gpkg", bbox=box)
    assert len(found) == shapely.intersects(written, shapely.box(*box)).sum() > 0


def test_an_empty_layer_keeps_its_columns(tmp_path: Path) -> None:
    write(tmp_path / "a.gpkg", (0,))
    info = pyogrio.read_info(tmp_path / "a.gpkg")
    assert (info["features"], list(info["fields"])) == (0, ["crop", "area"])
    with create_polygons(tmp_path / "b.gpkg", "fields", None):
        pass
    assert pyogrio.read_info(tmp_path / "b.gpkg")["features"] == 0


def test_columns_may_not_change_between_batches(tmp_path: Path) -> None:
    with create_polygons(tmp_path / "a.gpkg", "x", CRS) as writer:
        writer.append(boxes(1), {"area": np.array([0.5])})
        with pytest.raises(TypeError, match="area"):
            writer.append(boxes(1), {"area": np.array([1])})


def fail_half_way(path: Path) -> None:
    with create_polygons(path, "x", CRS) as writer:
        writer.append(boxes(3), {})
        raise RuntimeError("stop")


@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "parquet"])
def test_a_failing_body_leaves_the_old_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    write(path)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="stop"):
        fail_half_way(path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") is None


@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "parquet"])
def test_no_room_is_an_output_error(tmp_path: Path, suffix: str) -> None:
    """A limit on file sizes acts as a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=rf"a\.{suffix}.*cannot be written"):
            write(tmp_path / f"a.{suffix}", (5000, 5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_a_style_is_kept_as_qgis_keeps_it(tmp_path: Path) -> None:
    with create_polygons(tmp_path / "a.gpkg", "fields", CRS) as writer:
        writer.append(boxes(2), {"crop": names(2)})
        writer.set_style("<qgis/>")
    with sqlite3.connect(tmp_path / "a.gpkg") as database:
        row = database.execute(
            "select f_table_name, f_geometry_column, styleName, styleQML, useAsDefault"
            " from layer_styles"
        ).fetchone()
    assert row == ("fields", "geom", "geoseg", "<qgis/>", 1)
    assert len(read_polygons(tmp_path / "a.gpkg", None, ["crop"])) == 2


def test_rows_without_area_are_there_too(tmp_path: Path) -> None:
    shapes = [shapely.Point(0, 0), boxes(1)[0], None, shapely.MultiPolygon(list(boxes(2, 1)))]
    table = geopandas.GeoDataFrame({"crop": list("abcd")}, geometry=shapes, crs=CRS)
    table.to_file(tmp_path / "mixed.gpkg", layer="a")
    read = read_polygons(tmp_path / "mixed.gpkg", "a", ["crop"])
    assert read.columns["crop"].tolist() == list("abcd")
    assert shapely.get_type_id(read.geometry).tolist() == [0, 3, -1, 6]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"none\.gpkg: no such file"):
        read_polygons(tmp_path / "none.gpkg", None, ["crop"])


@pytest.mark.parametrize("name", ["labels.gpkg", "labels.txt"])
def test_not_a_vector_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"SQLite format 3\0 and then something else")
    with pytest.raises(LabelError, match=rf"{name} cannot be read as a vector file"):
        read_polygons(tmp_path / name, None, ["crop"])


def test_missing_column_names_those_that_exist(tmp_path: Path) -> None:
    write(tmp_path / "a.gpkg")
    with pytest.raises(LabelError, match=r"no column 'kind'; it has: crop, area.*labels.attribute"):
        read_polygons(tmp_path / "a.gpkg", None, ["kind"])


def test_missing_layer_names_those_that_exist(tmp_path: Path) -> None:
    write(tmp_path / "a.gpkg")
    with pytest.raises(LabelError, match=r"no layer 'field'.*labels.layer.*: fields"):
        read_polygons(tmp_path / "a.gpkg", "field", ["crop"])


def test_two_layers_need_a_name(tmp_path: Path) -> None:
    write(tmp_path / "a.gpkg")
    table = geopandas.read_file(tmp_path / "a.gpkg")
    table.to_file(tmp_path / "a.gpkg", layer="more", mode="a")
    with pytest.raises(LabelError, match=r"2 layers.*fields, more"):
        read_polygons(tmp_path / "a.gpkg", None, ["crop"])
    assert len(read_polygons(tmp_path / "a.gpkg", "more", ["crop"])) == 12


def test_no_crs(tmp_path: Path) -> None:
    write(tmp_path / "a.gpkg", crs=None)
    with pytest.raises(LabelError, match=r"no coordinate reference system.*a_srs"):
        read_polygons(tmp_path / "a.gpkg", None, ["crop"])


def test_no_polygons(tmp_path: Path) -> None:
    table = geopandas.GeoDataFrame({"crop": ["a"]}, geometry=[shapely.Point(0, 0)], crs=CRS)
    table.to_file(tmp_path / "points.gpkg", layer="p")
    with pytest.raises(LabelError, match=r"points\.gpkg: layer 'p' has no polygon"):
        read_polygons(tmp_path / "points.gpkg", None, ["crop"])


def test_a_table_without_geometry(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("crop,area\nmaize,3\n", encoding="utf-8")
    with pytest.raises(LabelError, match=r"a\.csv has 0 layers with geometry"):
        read_polygons(tmp_path / "a.csv", None, ["crop"])
