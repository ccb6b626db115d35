"""Rasters that lead to other files or hosts: a real instance of each trick, and what it gets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geoseg.errors import ConfinedError, RasterError
from geoseg.grid import Window
from geoseg.io.access import confine
from geoseg.io.raster import rasters
from geoseg.io.raster.gdal import environment
from tests.support.common import Raster, Site
from tests.support.confined import refused, square, square_unconfined


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


def test_a_vrt_of_any_file(root: Path, secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("x.vrt", "x.tif"):
        (root / name).write_text(raw_vrt(secret))
        refused(root / name, "of no format that may be opened while GEOSEG_ROOTS is set")
    monkeypatch.delenv(confine.ROOTS)
    monkeypatch.setenv("GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE", "ALL")  # as it was up to GDAL 3.11
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
