"""Tricks by which a path would lead where it may not: a real instance of each, and what it gets."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from geoseg.config import ClusterConfig
from geoseg.engine.cluster import ClusterSettings, check
from geoseg.errors import ConfigError, ConfinedError, RasterError
from geoseg.grid import Grid, Window
from geoseg.imagery.patterns import find
from geoseg.io import configs, confine, files, geotiffs, legends, rasters
from geoseg.io.gdal import environment
from geoseg.io.open_rasters import OpenRasters
from geoseg.io.parcel_layers import describe_layer
from geoseg.io.scratch import scratch
from geoseg.io.vectors import attributes_at, read_polygons
from geoseg.legend import Legend, LegendClass
from geoseg.model import bundle
from geoseg.product.parcels.declared import declarations
from tests.conftest import Raster, run_geoseg
from tests.engine_season import make_bundle, make_imagery, plan

GRID = Grid("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_100_000), 64, 64)
SPEC = geotiffs.RasterSpec("uint8", 1, 0, ())
LEGEND = Legend((LegendClass(1, "a", "#ff0000"), LegendClass(2, "b", "#00ff00")))
Site = Callable[[], tuple[str, list[str]]]

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open(sys.argv[1], "a") as log:
            log.write(self.path + "\\n")
        self.send_error(404)
    do_HEAD = do_GET
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A host that nobody may be led to: its address, and what was asked of it so far.

    A process of its own: GDAL may keep this one's threads waiting while it asks.
    """
    log = tmp_path_factory.mktemp("site") / "log"
    log.touch()
    command = [sys.executable, "-c", SERVER, str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        address = f"127.0.0.1:{server.stdout.readline().strip()}"
        yield lambda: (address, log.read_text().split())
        server.kill()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that may be opened."""
    folder = tmp_path / "root"
    folder.mkdir()
    monkeypatch.setenv(confine.ROOTS, str(folder))
    return folder


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside, as a raster would show it."""
    path = tmp_path / "passwd"
    path.write_bytes(b"root:x:0:0:root:/root:/bin/bash\n" * 128)
    return path


def raw_vrt(secret: Path, size: int = 64) -> str:
    """A VRT whose pixels are the bytes of any file."""
    return (
        f'<VRTDataset rasterXSize="{size}" rasterYSize="{size}"><VRTRasterBand dataType="Byte" '
        'band="1" subClass="VRTRawRasterBand"><SourceFilename relativetoVRT="0">'
        f"{secret}</SourceFilename><ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset>"
        f"<LineOffset>{size}</LineOffset></VRTRasterBand></VRTDataset>"
    )


def square(path: Path, raster: Raster) -> Path:
    return raster(path, np.full((1, 64, 64), 7, np.uint8))


def polygons(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    table = geopandas.GeoDataFrame({"crop": ["a"]}, geometry=[shapely.box(0, 0, 9, 9)], crs=32633)
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_file(path, layer="p")
    return path


def square_unconfined(path: Path, raster: Raster) -> Path:
    """A file that lay there before anything was confined."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(confine.ROOTS, raising=False)
        return square(path, raster)


def stac_items(href: str) -> object:
    """What GDAL's driver STACIT takes for a raster."""
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "a",
        "properties": {"proj:epsg": 32633},
        "assets": {
            "a": {
                "href": href,
                "proj:transform": [10, 0, 0, 0, -10, 0],
                "proj:bbox": [0, -10, 10, 0],
                "proj:shape": [1, 1],
            }
        },
    }
    return {"type": "FeatureCollection", "stac_version": "1.0.0", "features": [item]}


def refused(path: Path, message: str) -> None:
    """Both doors to rasters refuse a file."""
    with pytest.raises(ConfinedError, match=message):
        rasters.read(path, [1], Window(0, 0, 8, 8))
    with pytest.raises(ConfinedError, match=message):
        OpenRasters().read(path, [1], Window(0, 0, 8, 8))


# --- names that are no file's -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/vsizip/{}/a.zip/a.tif", "virtual path"),
        ("/vsicurl/http://127.0.0.1:9/x.tif", "virtual path"),
        ("/vsitar/{}/a.tar/a.tif", "virtual path"),
        ("zip://{}/a.zip!a.tif", "an address"),
        ("https://127.0.0.1:9/x.tif", "an address"),
        ("s3://bucket/x.tif", "an address"),
        ("file:///etc/passwd", "an address"),
        ('NETCDF:"{}/a.nc":band', "a part of a file"),
        ("GTIFF_DIR:1:{}/a.tif", "a part of a file"),
        ('ZARR:"/vsicurl/http://127.0.0.1:9/x.zarr"', "a part of a file"),
        ("<GDAL_WMS><Service name='TMS'/></GDAL_WMS>", "a part of a file"),
        ('{{"type": "gdal_streamed_alg"}}', "a part of a file"),
        ("{}/a.zip", "an archive; unpack it first"),
        ("{}/a.tar.gz", "an archive"),
        ("{}/doc.kmz", "an archive"),
    ],
)
def test_a_name_is_a_local_file(
    name: str, message: str, tmp_path: Path, raster: Raster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused with or without roots, at every door, and as a value in a config."""
    tif = square(tmp_path / "a.tif", raster)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tif, "a.tif")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tif, "a.tif")
    monkeypatch.chdir(tmp_path)
    text = name.format(tmp_path)
    for door in (rasters.describe, legends.read, configs.load, _parcels):
        with pytest.raises(ConfinedError, match=message):
            door(Path(text))
    content = {"name": "x", "imagery": {"folder": text}, "model": {"bundle": "m"}}
    with pytest.raises(ConfigError, match=rf"imagery\.folder: .*{message}"):
        configs.parse(content, tmp_path, "x.yaml")


def _parcels(path: Path) -> object:
    return describe_layer(path, None)


def test_pyogrio_takes_no_archive_out_of_a_name(tmp_path: Path) -> None:
    """It would read ``b.shp`` inside ``a.zip``."""
    inside = tmp_path / "a.zip!" / "b.shp"
    inside.parent.mkdir()
    inside.touch()
    for door in (_parcels, lambda path: read_polygons(path, None, ())):
        with pytest.raises(ConfinedError, match="no '!'"):
            door(inside)


# --- roots --------------------------------------------------------------------------------------


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
        (_parcels, "p.gpkg"),
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


# --- rasters that lead elsewhere ----------------------------------------------------------------


def test_a_vrt_of_any_file(root: Path, secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("x.vrt", "x.tif"):
        (root / name).write_text(raw_vrt(secret))
        refused(root / name, "of no format that may be opened while GEOSEG_ROOTS is set")
    monkeypatch.delenv(confine.ROOTS)
    values, _ = rasters.read(root / "x.tif", [1], Window(0, 0, 1, 4))
    assert bytes(values[0, 0]) == b"root", "the trick works, where nothing confines it"


def test_lists_of_other_files_and_hosts(root: Path, site: Site, raster: Raster) -> None:
    host, before = site()
    tif = square(root / "a.tif", raster)
    tile = f"http://{host}/${{z}}/${{x}}/${{y}}"
    tricks = {
        "wms.xml": f"<GDAL_WMS><Service name='TMS'><ServerUrl>{tile}</ServerUrl></Service>"
        "<DataWindow><UpperLeftX>-1</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1</LowerRightX>"
        "<LowerRightY>-1</LowerRightY><SizeX>8</SizeX><SizeY>8</SizeY></DataWindow></GDAL_WMS>",
        "wcs.xml": f"<WCS_GDAL><ServiceURL>http://{host}/wcs?</ServiceURL></WCS_GDAL>",
        "wmts.xml": f"<GDAL_WMTS><GetCapabilitiesUrl>http://{host}/c</GetCapabilitiesUrl></GDAL_WMTS>",
        "stacit.json": json.dumps(stac_items(f"/vsicurl/http://{host}/a.tif")),
        "stacta.json": json.dumps(
            {
                "stac_extensions": [
                    "https://stac-extensions.github.io/tiled-assets/v1.0.0/schema.json"
                ],
                "properties": {"tiles:tile_matrix_sets": {}},
                "asset_templates": {"a": {"href": f"http://{host}/{{TileMatrix}}.tif"}},
            }
        ),
        "index.gti": f"<GDALTileIndexDataset><IndexDataset>{tif}</IndexDataset></GDALTileIndexDataset>",
        "zarr.json": '{"zarr_format": 3, "node_type": "group"}',
        "x.ers": f'DatasetHeader Begin\nDataSetType = ERStorage\nDataFile = "{tif}"\nDatasetHeader End',
    }
    for name, content in tricks.items():
        (root / name).write_text(content)
        refused(root / name, "of no format that may be opened")
    assert site()[1] == before


def test_netcdf_and_hdf5_stay_out(root: Path, data: Path) -> None:
    """Their variables may lie in other files, and their libraries go and read those."""
    shutil.copy(data / "odd_rasters" / "netcdf_time_series.nc", root / "a.nc")
    refused(root / "a.nc", "of no format that may be opened")


@pytest.mark.parametrize("suffix", [".ovr", ".OVR", ".msk", ".MSK"])
def test_a_vrt_as_sidecar(root: Path, secret: Path, raster: Raster, suffix: str) -> None:
    tif = square(root / "a.tif", raster)
    Path(f"{tif}{suffix}").write_text(raw_vrt(secret, 32))
    refused(tif, rf"a\.tif\{suffix} is of no format")


def test_a_sidecar_that_is_a_link_out(root: Path, tmp_path: Path, raster: Raster) -> None:
    outside = square_unconfined(tmp_path / "out" / "a.tif", raster)
    for suffix in (".ovr", ".msk", ".aux.xml"):
        tif = square(root / f"x{suffix}.tif", raster)
        if suffix == ".aux.xml":
            outside.with_suffix(".xml").write_text("<PAMDataset></PAMDataset>")
            outside = outside.with_suffix(".xml")
        Path(f"{tif}{suffix}").symlink_to(outside)
        refused(tif, "lies outside")


@pytest.mark.parametrize("place", ["inside", ".aux.xml", ".ovr"])
def test_metadata_that_names_overviews_elsewhere(
    root: Path, site: Site, raster: Raster, place: str
) -> None:
    """A plain GeoTIFF with which GDAL would ask any host, in whichever of its metadata it stands."""
    host, before = site()
    tif = square(root / "a.tif", raster)
    url = f"/vsicurl/http://{host}/x.tif"
    if place == ".aux.xml":
        Path(f"{tif}.aux.xml").write_text(
            '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">'
            f"{url}</MDI></Metadata></PAMDataset>"
        )
    else:
        target = tif if place == "inside" else square(Path(f"{tif}.ovr"), raster)
        with rasterio.open(target, "r+") as source:
            source.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=url)
    refused(tif, "names another file for its overviews")
    with pytest.raises(ConfinedError):
        rasters.overview(tif, 16, "mode")
    assert site()[1] == before


def test_the_trick_with_overviews_works_unconfined(
    tmp_path: Path, site: Site, raster: Raster
) -> None:
    """Else the test above would show nothing."""
    host, before = site()
    tif = square(tmp_path / "a.tif", raster)
    with rasterio.open(tif, "r+") as source:
        source.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=f"/vsicurl/http://{host}/x.tif")
    rasters.overview(tif, 16, "mode")
    assert len(site()[1]) > len(before)


def test_gdal_is_kept_off_the_network(root: Path, site: Site) -> None:
    """Should anything lead there in spite of all, it finds nothing."""
    host, before = site()
    with environment(), pytest.raises(rasterio.errors.RasterioIOError):
        rasterio.open(f"/vsicurl/http://{host}/not-asked-for-before.tif")
    assert site()[1] == before


def test_plain_sidecars_are_fine(root: Path, raster: Raster) -> None:
    tif = square(root / "a.tif", raster)
    with rasterio.open(tif, "r+") as source:
        source.update_tags(1, note="kept beside")
    Path(f"{tif}.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><Description>red</Description></PAMRasterBand></PAMDataset>'
    )
    square(Path(f"{tif}.msk"), raster)
    raster(Path(f"{tif}.ovr"), np.full((1, 32, 32), 7, np.uint8))
    assert rasters.describe(tif).bands == ("red",)
    assert rasters.overview(tif, 32, "mode").shape == (32, 32)


def test_a_damaged_file_is_damaged(root: Path) -> None:
    (root / "a.tif").write_bytes(b"II*\0\x08\0\0\0\xff\xff")
    with pytest.raises(RasterError, match="cannot be read as a raster"):
        rasters.describe(root / "a.tif")


# --- polygons that lead elsewhere ---------------------------------------------------------------


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
        for door in (_parcels, lambda path: read_polygons(path, None, ())):
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


# --- workers ------------------------------------------------------------------------------------


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


# --- configs ------------------------------------------------------------------------------------

GOOD = {"name": "x", "imagery": {"folder": "i"}, "model": {"bundle": "m"}}


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "PREFECT_API_AUTH_STRING"])
def test_no_secret_gets_into_a_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for asked in (name, f"GEOSEG_{name}"):
        monkeypatch.setenv(asked, "hunter2")
        content = {**GOOD, "truth": f"/data/${{{asked}}}.tif"}
        with pytest.raises(ConfigError, match=rf"truth: .*{asked}") as told:
            configs.parse(content, tmp_path, "x.yaml")
        assert "hunter2" not in str(told.value)


@pytest.mark.parametrize("name", ["PATH", "BOTO_CONFIG", "PGSERVICEFILE"])
def test_only_some_variables_may_be_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/x")
    message = rf"truth: .*variable {name} may not be named.*export GEOSEG_{name} instead"
    with pytest.raises(ConfigError, match=message):
        configs.parse({**GOOD, "truth": f"${{{name}}}/a.tif"}, tmp_path, "x.yaml")
    monkeypatch.setenv(f"GEOSEG_{name}", "/data")
    config = configs.parse({**GOOD, "truth": f"${{GEOSEG_{name}}}/a.tif"}, tmp_path, "x.yaml")
    assert config.truth == Path("/data/a.tif")


def test_an_address_in_the_environment_gets_into_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOSEG_DB", "postgresql://geoseg:hunter2@host/db")
    with pytest.raises(ConfigError, match=r"truth: .*an address") as told:
        configs.parse({**GOOD, "truth": "${GEOSEG_DB}"}, tmp_path, "x.yaml")
    assert "hunter2" not in str(told.value)


def test_text_is_not_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOSEG_X", "hunter2")
    content = {
        **GOOD,
        "title": "${GEOSEG_X}",
        "imagery": {"folder": "i", "pattern": "${GEOSEG_X}{date}"},
    }
    assert "hunter2" not in configs.parse(content, tmp_path, "x.yaml").model_dump_json()


def test_yaml_is_data(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for trick in (
        f"name: !!python/object/apply:os.system ['touch {marker}']",
        f"name: !!python/object/new:subprocess.Popen [['touch', '{marker}']]",
        "name: !!python/name:os.system",
    ):
        (tmp_path / "x.yaml").write_text(trick)
        with pytest.raises(ConfigError, match="not valid YAML: could not determine a constructor"):
            configs.load(tmp_path / "x.yaml")
    assert not marker.exists()


@pytest.mark.parametrize("merge", [False, True])
def test_a_yaml_bomb(tmp_path: Path, merge: bool) -> None:
    lines = ["a0: &a0 {x: 1}" if merge else "a0: &a0 [x, x]"]
    for level in range(1, 30):
        same = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} " + (f"{{<<: [{same}]}}" if merge else f"[{same}]"))
    (tmp_path / "x.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="more than 50000 values"):
        configs.load(tmp_path / "x.yaml")


def test_a_style_with_entities(tmp_path: Path) -> None:
    bomb = "<!DOCTYPE q [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;'>]><qgis>&b;</qgis>"
    outside = "<!DOCTYPE q [<!ENTITY % p SYSTEM 'file:///etc/passwd'>%p;]><qgis/>"
    for text in (bomb, outside):
        (tmp_path / "x.qml").write_text(text)
        with pytest.raises(ConfigError, match="declares XML entities"):
            legends.read(tmp_path / "x.qml")


def test_clusters_are_the_operators_choice(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEOSEG_SCHEDULER", raising=False)
    named = ClusterSettings.of(ClusterConfig(**{"class": "distributed.LocalCluster"}))
    address = ClusterSettings(address="tcp://127.0.0.1:9")
    for settings in (named, address):
        with pytest.raises(ConfinedError, match=r"may not be named while GEOSEG_ROOTS is set"):
            check(settings)
    check(ClusterSettings())
    monkeypatch.setenv("GEOSEG_SCHEDULER", "tcp://127.0.0.1:9")
    check(address)
    monkeypatch.setenv(confine.CLUSTERS, "1")
    check(named)
    monkeypatch.delenv(confine.ROOTS)
    monkeypatch.delenv(confine.CLUSTERS)
    check(named)


# --- the whole way ------------------------------------------------------------------------------


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
