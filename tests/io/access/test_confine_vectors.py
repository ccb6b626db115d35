"""Vector files that lead to other files or hosts: a real instance of each trick, and what it gets."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from geoseg.errors import ConfinedError
from geoseg.io.vector.label_polygons import read_polygons
from geoseg.io.vector.parcel_layers import describe_layer
from tests.support.common import Site
from tests.support.confined import describe_parcels, polygons


def test_vector_files_that_lead_elsewhere(root: Path, tmp_path: Path, site: Site) -> None:
    host, before = site()
    outside = polygons(tmp_path / "out" / "p.gpkg")
    vrt = (
        f'<OGRVRTDataSource><OGRVRTLayer name="p"><SrcDataSource>{outside}</SrcDataSource>'
        "</OGRVRTLayer></OGRVRTDataSource>"
    )
    gml = (
        '<ogr:FeatureCollection xmlns:ogr="http://ogr.maptools.org/" '
        'xmlns:gml="http://www.opengis.net/gml">{}</ogr:FeatureCollection>'
    )
    tricks = {
        "a.vrt": vrt,
        "a.gpkg": vrt,
        "a.shp": vrt,
        "a.geojson": json.dumps(
            {"type": "gdal_streamed_alg", "command_line": f"gdal vector pipeline ! read {outside}"}
        ),
        "a.gml": gml.format(f"<!-- {vrt} -->"),
        "b.gml": f"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>{gml.format('&e;')}",
        "wfs.xml": f"<OGRWFSDataSource><URL>http://{host}/wfs</URL></OGRWFSDataSource>",
        "a.csv": "x,y\n1,2\n",
        "a.kml": "<kml></kml>",
        "a.sqlite": "SQLite format 3",
    }
    for name, content in tricks.items():
        (root / name).write_text(content)
        for door in (describe_parcels, lambda path: read_polygons(path, None, ())):
            with pytest.raises(ConfinedError, match="of no kind that may be opened"):
                door(root / name)
    assert site()[1] == before


def test_an_ogr_vrt_works_unconfined(tmp_path: Path) -> None:
    outside = polygons(tmp_path / "p.gpkg")
    (tmp_path / "a.gpkg").write_text(
        f'<OGRVRTDataSource><OGRVRTLayer name="p"><SrcDataSource>{outside}</SrcDataSource>'
        "</OGRVRTLayer></OGRVRTDataSource>"
    )
    assert len(read_polygons(tmp_path / "a.gpkg", None, ())) == 1


def test_a_geopackage_with_a_table_of_another_file(root: Path) -> None:
    path = polygons(root / "p.gpkg")
    assert len(read_polygons(path, None, ())) == 1
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA writable_schema = 1")
        database.execute(
            "INSERT INTO sqlite_master VALUES ('table', 'v', 'v', 0, "
            "'CREATE VIRTUAL TABLE v USING VirtualOGR(''/etc/passwd'')')"
        )
    with pytest.raises(ConfinedError, match="of no kind"):
        read_polygons(path, None, ())


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "fgb", "geojson", "gml", "parquet"])
def test_kinds_that_hold_their_own(root: Path, suffix: str) -> None:
    path = polygons(root / f"p.{suffix}")
    if suffix != "parquet":  # not a format of labels
        assert len(read_polygons(path, None, ())) == 1
    assert describe_layer(path, None).count == 1


def test_a_part_of_a_shapefile_that_is_a_link_out(root: Path, tmp_path: Path) -> None:
    outside = polygons(tmp_path / "out" / "p.shp")
    path = polygons(root / "p.shp")
    path.with_suffix(".dbf").unlink()
    path.with_suffix(".dbf").symlink_to(outside.with_suffix(".dbf"))
    with pytest.raises(ConfinedError, match="lies outside"):
        read_polygons(path, None, ())
