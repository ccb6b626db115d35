"""The version of an input: of every file that reading it depends on, and of no other."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from html import escape
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import ConfinedError, RasterError
from geoseg.grid import Window
from geoseg.io.access import confine, versions
from geoseg.io.access.references import references
from geoseg.io.raster import rasters
from tests.support.common import Raster
from tests.support.confined import square


def vrt(path: Path, *sources: str, more: str = "", relative: int = 1) -> Path:
    """A VRT of one band of 64 x 64 pixels over sources, named as they are in it."""
    named = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="{relative}">{escape(source)}'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
        for source in sources
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1">'
        f"{named}</VRTRasterBand>{more}</VRTDataset>"
    )
    return path


def mask_band(source: str) -> str:
    return (
        '<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename relativeToVRT="1">'
        f"{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        "</MaskBand>"
    )


def edit(path: Path) -> None:
    """Other bytes; the size stays."""
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    times = path.stat()
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))


def require_seen(main: Path, other: Path) -> None:
    """Another version when the other file changes, goes, and comes; the same when it is as it was."""
    first = versions.of([main])
    assert versions.of([main]) == first
    content, times = other.read_bytes(), other.stat()
    edit(other)
    edited = versions.of([main])
    assert edited != first
    other.unlink()
    assert versions.of([main]) not in (first, edited)
    other.write_bytes(content)
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert versions.of([main]) == first, "a copy with its time is the same"


BESIDE = {
    "x.tif": [
        *("x.tif.aux.xml", "x.TIF.AUX.XML", "x.aux", "x.tif.ovr", "x.tif.msk", "x.tif.msk.ovr"),
        *("x.tfw", "x.TFW", "x.tifw", "x.wld"),
    ],
    "x.shp": ["x.dbf", "x.DBF", "x.shx", "x.prj", "x.cpg", "x.qix"],
    "x.gpkg": ["x.gpkg-wal", "x.gpkg-journal"],
    "x.dat": ["x.hdr", "x.dat.hdr", "x.dat.aux.xml"],
    "x.asc": ["x.prj"],
    "x.jp2": ["x.j2w", "x.jp2.aux.xml"],
    "x": ["x.hdr", "x.aux.xml"],
}


@pytest.mark.parametrize(("name", "other"), [(m, o) for m, os_ in BESIDE.items() for o in os_])
def test_a_file_beside(tmp_path: Path, name: str, other: str) -> None:
    for given_ in (name, other):
        (tmp_path / given_).write_bytes(b"content")
    if other == "x.tif.msk.ovr":
        (tmp_path / "x.tif.msk").write_bytes(b"mask")
    require_seen(tmp_path / name, tmp_path / other)


def test_what_belongs_to_others(tmp_path: Path) -> None:
    """A neighbour that comes or changes is no reason to do everything again."""
    for name in ("x.tif", "x.gpkg", "x.shp"):
        (tmp_path / name).write_bytes(b"content")
    before = [versions.of([tmp_path / name]) for name in ("x.tif", "x.gpkg", "x.shp")]
    for name in (
        "y.tif",
        "x2.tif",
        "x.qml",
        "x.txt",
        ".x.tif.part",
        "x.tif.bak",
        "y.dbf",
        "x.json",
    ):
        (tmp_path / name).write_bytes(b"other")
    (tmp_path / "x.gpkg-shm").write_bytes(b"whoever reads writes here")
    (tmp_path / "x.gpkg-wal").touch()  # comes and goes with readers
    assert [versions.of([tmp_path / name]) for name in ("x.tif", "x.gpkg", "x.shp")] == before


@pytest.mark.parametrize(
    "driver", ["ENVI", "HFA", "AAIGrid", "EHdr", "GTiff", "PNG", "JP2OpenJPEG"]
)
def test_all_that_gdal_lists(tmp_path: Path, raster: Raster, driver: str) -> None:
    source = square(tmp_path / "a.tif", raster)
    path = tmp_path / "folder" / "x.bin"
    path.parent.mkdir()
    rasterio.shutil.copy(str(source), str(path), driver=driver)
    with rasterio.open(path, "r+") if driver == "GTiff" else rasterio.open(path) as dataset:
        if driver == "GTiff":
            dataset.build_overviews([2])
    with rasterio.open(path) as dataset:
        listed = {os.path.realpath(name) for name in dataset.files}
    assert listed == {name for name, _, _ in versions.of([path])}
    for name in listed - {str(path)}:
        require_seen(path, Path(name))


def _plain(tmp_path: Path) -> tuple[Path, Path]:
    return vrt(tmp_path / "v" / "a.vrt", "../s/a.tif"), tmp_path / "s" / "a.tif"


def _absolute(tmp_path: Path) -> tuple[Path, Path]:
    source = tmp_path / "s" / "a.tif"
    return vrt(tmp_path / "v" / "a.vrt", str(source), relative=0), source


def _of_a_vrt(tmp_path: Path) -> tuple[Path, Path]:
    vrt(tmp_path / "s" / "deep.vrt", "a.tif")
    vrt(tmp_path / "v" / "b.vrt", "../s/deep.vrt")
    return vrt(tmp_path / "a.vrt", "v/b.vrt"), tmp_path / "s" / "a.tif"


def _middle_of_a_chain(tmp_path: Path) -> tuple[Path, Path]:
    main, _ = _of_a_vrt(tmp_path)
    return main, tmp_path / "s" / "deep.vrt"


def _sidecar_of_a_source(tmp_path: Path) -> tuple[Path, Path]:
    sidecar = tmp_path / "s" / "a.tif.aux.xml"
    sidecar.write_text("<PAMDataset/>")
    return vrt(tmp_path / "a.vrt", "s/a.tif"), sidecar


def _mask_band(tmp_path: Path) -> tuple[Path, Path]:
    """GDAL itself does not list it."""
    shutil.copy(tmp_path / "s" / "a.tif", tmp_path / "s" / "m.tif")
    return vrt(tmp_path / "a.vrt", "s/a.tif", more=mask_band("s/m.tif")), tmp_path / "s" / "m.tif"


def _in_place_of_a_name(tmp_path: Path) -> tuple[Path, Path]:
    source = tmp_path / "s" / "a.tif"
    inner = vrt(tmp_path / "inner.vrt", str(source), relative=0)
    return vrt(tmp_path / "a.vrt", inner.read_text(), relative=0), source


def _with_options(tmp_path: Path) -> tuple[Path, Path]:
    source = tmp_path / "s" / "a.tif"
    return vrt(tmp_path / "a.vrt", f"vrt://{source}?bands=1", relative=0), source


def _a_variable(tmp_path: Path) -> tuple[Path, Path]:
    source = tmp_path / "s" / "a.nc"
    rasterio.shutil.copy(str(tmp_path / "s" / "a.tif"), str(source), driver="netCDF")
    return vrt(tmp_path / "a.vrt", f'NETCDF:"{source}":Band1', relative=0), source


def _in_an_archive(tmp_path: Path) -> tuple[Path, Path]:
    shutil.make_archive(str(tmp_path / "z"), "zip", tmp_path / "s")
    name = f"/vsizip/{tmp_path / 'z.zip'}/a.tif"
    return vrt(tmp_path / "a.vrt", name, relative=0), tmp_path / "z.zip"


def _a_page(tmp_path: Path) -> tuple[Path, Path]:
    source = tmp_path / "s" / "a.tif"
    return vrt(tmp_path / "a.vrt", f"GTIFF_DIR:1:{source}", relative=0), source


def _through_a_link(tmp_path: Path) -> tuple[Path, Path]:
    """GDAL looks beside the file that the link leads to."""
    main = vrt(tmp_path / "s" / "a.vrt", "a.tif")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "b.vrt").symlink_to(main)
    return tmp_path / "link" / "b.vrt", tmp_path / "s" / "a.tif"


def _another_suffix(tmp_path: Path) -> tuple[Path, Path]:
    return vrt(tmp_path / "a.tif", "s/a.tif"), tmp_path / "s" / "a.tif"


SOURCES = [
    *(_plain, _absolute, _of_a_vrt, _middle_of_a_chain, _sidecar_of_a_source, _mask_band),
    *(_in_place_of_a_name, _with_options, _a_variable, _in_an_archive, _a_page, _through_a_link),
    _another_suffix,
]


@pytest.mark.parametrize("make", SOURCES)
def test_the_sources_of_a_vrt(
    tmp_path: Path, raster: Raster, make: Callable[[Path], tuple[Path, Path]]
) -> None:
    (tmp_path / "s").mkdir()
    square(tmp_path / "s" / "a.tif", raster)
    main, other = make(tmp_path)
    values, _ = rasters.read(main, [1], Window(0, 0, 64, 64))
    assert (values == 7).all(), "GDAL reads it"
    require_seen(main, other)


def test_a_warped_vrt(tmp_path: Path, raster: Raster) -> None:
    source = square(tmp_path / "a.tif", raster)
    with (
        rasterio.open(source) as opened,
        rasterio.vrt.WarpedVRT(opened, crs="EPSG:32632") as warped,
    ):
        rasterio.shutil.copy(warped, str(tmp_path / "w.vrt"), driver="VRT")
    require_seen(tmp_path / "w.vrt", source)


def test_a_layer_of_another_file(tmp_path: Path) -> None:
    fields = geopandas.GeoDataFrame(
        {"crop": ["maize"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=32633
    )
    fields.to_file(tmp_path / "x.shp")
    (tmp_path / "fields.ovf").write_text(
        '<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource relativeToVRT="1">x.shp'
        "</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    )
    assert list(geopandas.read_file(tmp_path / "fields.ovf").crop) == ["maize"]
    require_seen(tmp_path / "fields.ovf", tmp_path / "x.dbf")


@pytest.mark.parametrize("name", ['ZARR:"{}"', "{}"])
def test_a_source_that_is_a_folder(tmp_path: Path, raster: Raster, name: str) -> None:
    source = square(tmp_path / "a.tif", raster)
    rasterio.shutil.copy(str(source), str(tmp_path / "z.zarr"), driver="Zarr")
    main = vrt(tmp_path / "a.vrt", name.format(tmp_path / "z.zarr"), relative=0)
    chunk = next(path for path in (tmp_path / "z.zarr" / "z").iterdir() if path.name[0] == "0")
    require_seen(main, chunk)
    before = versions.of([main])
    (tmp_path / "z.zarr" / "z" / "9.9").write_bytes(b"another chunk")
    assert versions.of([main]) != before


def test_a_folder_of_tables(tmp_path: Path) -> None:
    folder = tmp_path / "fields.gdb"
    fields = geopandas.GeoDataFrame(
        {"crop": ["maize"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=32633
    )
    fields.to_file(folder, driver="OpenFileGDB", layer="fields")
    before = versions.of([folder])
    assert len(before) == 1 + len(list(folder.iterdir()))
    (folder / "_gdb.host.1.2.sr.lock").touch()  # of who looks at it
    assert versions.of([folder]) == before
    require_seen(folder, max(folder.glob("*.gdbtable")))


def test_a_source_that_comes_later(tmp_path: Path, raster: Raster) -> None:
    main = vrt(tmp_path / "a.vrt", "b.tif", "/vsicurl/https://example.org/c.tif")
    before = versions.of([main])
    assert [size for _, size, _ in before[1:]] == [-1, -1]
    square(tmp_path / "b.tif", raster)
    assert versions.of([main]) != before


def test_a_circle_ends(tmp_path: Path) -> None:
    main = vrt(tmp_path / "a.vrt", "b.vrt")
    vrt(tmp_path / "b.vrt", "c.vrt")
    vrt(tmp_path / "c.vrt", "a.vrt")
    own = vrt(tmp_path / "d.vrt", "d.vrt")
    assert len(versions.of([main])) == 3
    assert len(versions.of([own])) == 1
    for path in (main, own):
        with pytest.raises(RasterError, match="cannot be read as a raster"):
            rasters.read(path, [1], Window(0, 0, 64, 64))


def test_no_such_file(tmp_path: Path) -> None:
    assert versions.of([tmp_path / "gone.tif"]) == ((str(tmp_path / "gone.tif"), -1, 0),)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sets(st.integers(0, 7), max_size=3), min_size=8, max_size=8))
def test_any_web_of_vrts(edges: list[set[int]]) -> None:
    """The parts are what can be reached, whichever way; each is listed once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.path.realpath(name))
        for number, targets in enumerate(edges):
            vrt(folder / f"{number}.vrt", *(f"{target}.vrt" for target in sorted(targets)))
        reached = {0}
        for _ in edges:
            reached |= {target for node in reached for target in edges[node]}
        found = versions.of([folder / "0.vrt"])
        assert sorted(found) == sorted(set(found))
        assert {part[0] for part in found} == {str(folder / f"{n}.vrt") for n in reached}


def test_lists_are_read_once(tmp_path: Path, raster: Raster) -> None:
    square(tmp_path / "a.tif", raster)
    main = vrt(tmp_path / "a.vrt", "a.tif")
    versions.of([main])
    before = references.cache_info().misses
    versions.of([main])
    assert references.cache_info().misses == before
    edit(tmp_path / "a.tif")
    versions.of([main])
    assert references.cache_info().misses == before + 1, "the one that changed"


def test_nothing_is_followed_out_of_the_roots(root: Path, tmp_path: Path, raster: Raster) -> None:
    """What a VRT or a layer names is not even looked for; a sidecar that leads out is refused."""
    outside = tmp_path / "outside.tif"
    outside.write_bytes(np.zeros(8).tobytes())
    for name in ("x.vrt", "x.tif", "x.gpkg"):
        main = vrt(root / name, str(outside), more=mask_band("../outside.tif"), relative=0)
        assert versions.of([main]) == (versions.part(main),)
        main.unlink()
    main = square(root / "a.tif", raster)
    (root / "a.tif.aux.xml").symlink_to(outside)
    with pytest.raises(ConfinedError, match="lies outside"):
        versions.of([main])
    with pytest.raises(ConfinedError, match="lies outside"):
        versions.of([outside])
    assert confine.confined()
