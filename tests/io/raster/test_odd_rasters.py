"""Odd but real rasters: handled right to the last bit, or refused with one message and a remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.rpc import RPC

from geoseg.config import ImageryConfig, SceneEntry
from geoseg.errors import GeosegError, GridMismatchError
from geoseg.feedback import Silent
from geoseg.grid import Window
from geoseg.imagery.cube import read_cube
from geoseg.imagery.inspect import inspect_raster
from geoseg.imagery.scenes import select

Command = Callable[..., tuple[int, str, str]]

SCENES = {
    "rotated_no_crs.tif": (1, 100.0),
    "rotated_with_crs.tif": (1, 50.57),
    "south_up_latlon.tif": (1, 0.0),
    "antimeridian_utm60_uint16.tif": (1, 100.0),
    "scale_offset_per_band_int16.tif": (2, 99.99),
    "nodata0_rgb_utm18.tif": (3, 67.33),
    "nan_nodata_latlon_float32.tif": (1, 35.19),
    "all_nodata_uint16_4bands.tif": (4, 0.0),
    "esri_wkt_2x2.tif": (1, 100.0),
    "float_no_crs_2x3.tif": (1, 83.33),
    "internal_mask_rgb.tif": (3, 96.92),
    "alpha_band_webmercator.tif": (3, 1.55),
    "many_bands_206_float64.tif": (206, 62.28),
    "s2_B01_reduced.tif": (1, 74.15),
    "s2_TCI_reduced_100m.tif": (3, 73.95),
    "l8_20160330_lambert93.tif": (7, 100.0),
}
"""Data bands and valid share in per cent, as rasterio alone gives them."""

INSPECTED = {
    "rotated_no_crs.tif": ["CRS         none", "rotated or sheared grid", "no CRS: the map"],
    "rotated_with_crs.tif": ["EPSG:3577", "rotated or sheared grid"],
    "south_up_latlon.tif": ["south-up", "geographic CRS", "every pixel is nodata"],
    "gcps_only_uint16.tif": ["210 ground control points and no grid: warp it", "gdalwarp"],
    "antimeridian_utm60_uint16.tif": ["EPSG:32660", "no nodata value", "the lowest is 1)"],
    "scale_offset_per_band_int16.tif": ["scale and offset are set (0.0001 and 1000"],
    "paletted_cdl_iowa_train.tif": ["one 8-bit band: a class map or a mask"],
    "nodata0_rgb_utm18.tif": ["nodata      0", "67.33%"],
    "nan_nodata_latlon_float32.tif": ["nodata      nan", "35.19%"],
    "all_nodata_uint16_4bands.tif": ["no valid pixel", "nothing to map", "0.00%"],
    "esri_wkt_2x2.tif": ["ESRI:102039", "2 x 2 pixels"],
    "float_no_crs_2x3.tif": ["3 x 2 pixels", "83.33%"],
    "internal_mask_rgb.tif": ["validity comes from the mask", "96.92%"],
    "alpha_band_webmercator.tif": ["band 4 is marked as alpha", "1.55%", "imagery.band_names"],
    "many_bands_206_float64.tif": ["206 band(s) of float64", "except NaN"],
    "s2_B01_reduced.tif": ["EPSG:32634"],
    "s2_TCI_reduced_100m.tif": ["3 band(s) of uint8"],
    "l8_20160330_lambert93.tif": ["EPSG:2154"],
    "l8_20160415_lambert93.tif": ["EPSG:2154"],
    "netcdf_time_series.nc": ["netCDF", "a container of 2 subdatasets", "convert each date"],
}


@pytest.fixture(scope="module")
def odd(data: Path) -> Path:
    return data / "odd_rasters"


def test_none_is_forgotten(odd: Path) -> None:
    files = {path.name for path in odd.iterdir() if path.suffix != ".md"}
    assert files == {*INSPECTED, "truncated_corrupt.tif"}


@pytest.mark.parametrize("name", INSPECTED)
def test_inspect(odd: Path, name: str, geoseg: Command) -> None:
    code, out, err = geoseg("inspect", str(odd / name))
    assert code == 0, err
    for text in INSPECTED[name]:
        assert text in out


def test_inspect_a_damaged_file(odd: Path, geoseg: Command) -> None:
    code, out, err = geoseg("inspect", str(odd / "truncated_corrupt.tif"))
    assert (code, out) == (2, "")
    message = err.strip().splitlines()[-1]
    assert message.startswith("geoseg: ")
    assert "truncated_corrupt.tif cannot be read as a raster" in message
    assert "fetch it again" in message


@pytest.mark.parametrize("name", SCENES)
def test_as_a_scene(odd: Path, name: str) -> None:
    """Grid and values are the file's own; valid is what rasterio's masks say."""
    bands, share = SCENES[name]
    (scene,) = select(ImageryConfig(scenes=(SceneEntry(id="x", file=odd / name),)))
    with rasterio.open(odd / name) as source:
        assert scene.grid.transform == source.transform
        assert (scene.grid.height, scene.grid.width) == source.shape
        assert scene.grid.crs == (source.crs.to_wkt() if source.crs else None)
        values = source.read(list(range(1, bands + 1)))
    cube = read_cube([scene], scene.grid.window)
    np.testing.assert_array_equal(cube.values[0], values)
    assert cube.values.dtype == values.dtype
    assert cube.valid.mean() * 100 == pytest.approx(share, abs=0.005)
    found = inspect_raster(odd / name, Silent())
    assert found.valid_share == cube.valid.mean()
    for band, layer in zip(found.bands, values, strict=True):
        inside = layer[cube.valid[0]]
        assert band.count == inside.size
        if inside.size:
            assert (band.low, band.high) == (inside.min(), inside.max())
            assert band.mean == pytest.approx(inside.mean(dtype=float), rel=1e-9)


def test_two_dates_of_lambert(odd: Path) -> None:
    config = ImageryConfig(folder=odd, pattern="l8_{date}_*.tif", date_format="%Y%m%d")
    scenes = select(config)
    assert [scene.id for scene in scenes] == ["2016-03-30", "2016-04-15"]
    assert read_cube(scenes, Window(3, 4, 10, 20)).values.shape == (2, 7, 10, 20)


def test_bands_of_one_tile_that_do_not_stack(odd: Path) -> None:
    entries = tuple(
        SceneEntry(file=odd / name) for name in ("s2_B01_reduced.tif", "s2_TCI_reduced_100m.tif")
    )
    with pytest.raises(GridMismatchError, match=r"size 183 x 183 against 1098 x 1098.*gdalwarp"):
        select(ImageryConfig(scenes=entries))


@pytest.mark.parametrize("name", ["gcps_only_uint16.tif", "netcdf_time_series.nc"])
def test_what_is_no_scene(odd: Path, name: str) -> None:
    with pytest.raises(GeosegError, match=rf"{name} .*first \(gdal"):
        select(ImageryConfig(scenes=(SceneEntry(file=odd / name),)))


def test_a_damaged_scene_is_named_when_it_is_read(odd: Path) -> None:
    (scene,) = select(ImageryConfig(scenes=(SceneEntry(file=odd / "truncated_corrupt.tif"),)))
    with pytest.raises(GeosegError, match=r"truncated_corrupt\.tif cannot be read"):
        read_cube([scene], scene.grid.window)


# Kinds of which no public file was at hand: made here.

COEFFICIENTS = RPC(
    height_off=1, height_scale=500, lat_off=38, lat_scale=0.1, long_off=10, long_scale=0.1,
    line_off=5, line_scale=5, samp_off=5, samp_scale=5,
    line_num_coeff=[0, 0, -1] + [0] * 17, line_den_coeff=[1] + [0] * 19,
    samp_num_coeff=[0, 1] + [0] * 18, samp_den_coeff=[1] + [0] * 19,
)  # fmt: skip

PLACE = Affine(1000, 0, 5e5, 0, -1000, 5e5)


def made(path: Path, values: NDArray[Any], dtype: str = "", **more: Any) -> Path:
    """A GeoTIFF of one band."""
    height, width = values.shape
    how = {"count": 1, "height": height, "width": width, "dtype": dtype or str(values.dtype)}
    with rasterio.open(path, "w", driver="GTiff", **how, **more) as target:
        target.write(values[np.newaxis])
    return path


@pytest.mark.parametrize("crs", [None, "EPSG:4326"])
def test_coefficients_are_no_grid(tmp_path: Path, geoseg: Command, crs: str | None) -> None:
    path = made(tmp_path / "2025-05-01.tif", np.ones((9, 9), np.uint16), crs=crs, rpcs=COEFFICIENTS)
    code, out, err = geoseg("inspect", str(path))
    assert code == 0, err
    assert "EPSG:4326" not in out
    assert "(RPC) and no grid: orthorectify it" in out
    with pytest.raises(GeosegError, match=r"2025-05-01\.tif.*\(RPC\) and no grid.*gdalwarp -rpc"):
        select(ImageryConfig(folder=tmp_path))
    ortho = made(tmp_path / "o.tif", np.ones((9, 9), np.uint16), crs="EPSG:32632", transform=PLACE,
                 rpcs=COEFFICIENTS)  # fmt: skip
    assert select(ImageryConfig(scenes=(SceneEntry(file=ortho),)))[0].grid.transform == PLACE


@pytest.mark.parametrize("dtype", ["complex_int16", "complex64", "complex128"])
def test_complex_numbers(tmp_path: Path, geoseg: Command, dtype: str) -> None:
    values = np.full((9, 9), 3 + 4j, np.complex128 if dtype == "complex128" else np.complex64)
    values[0, 0] = 6 + 8j
    path = made(tmp_path / "2025-05-01.tif", values, dtype, crs="EPSG:32632", transform=PLACE)
    code, out, err = geoseg("inspect", str(path))
    assert code == 0, err
    assert f"1 band(s) of {dtype}" in out
    assert re.search(r"band_1 +5 +10 +5\.0617", out)  # magnitudes; 5 and one pixel of 10
    assert "complex numbers" in out
    with pytest.raises(GeosegError, match=rf"2025-05-01\.tif holds complex numbers \({dtype}\)"):
        select(ImageryConfig(folder=tmp_path))


@pytest.mark.parametrize(
    ("crs", "note"),
    [
        (
            "+proj=eqc +R=3396190 +units=m",
            "another body than the Earth (ellipsoid unknown, 3396 km)",
        ),
        ("+proj=longlat +R=1737400", "1737 km"),
        ("+proj=geos +h=35785831 +lon_0=0 +sweep=y", "geostationary projection"),
        ("+proj=sinu +R=6371007.181", ""),  # MODIS
        ("EPSG:7405", ""),  # with heights
    ],
)
def test_rare_crs(tmp_path: Path, geoseg: Command, crs: str, note: str) -> None:
    path = made(tmp_path / "x.tif", np.ones((9, 9), np.uint16), crs=crs, transform=PLACE)
    code, out, err = geoseg("inspect", str(path))
    assert code == 0, err
    assert note in out
    assert ("another body" in out or "geostationary" in out) == bool(note)


@pytest.mark.parametrize(
    ("extreme", "nodata", "note"),
    [
        (1e300, None, "numbers up to 1e+300 are beyond those of 32 bits"),
        (-1.7976931348623157e308, None, "numbers up to 1.8e+308 are beyond"),
        (-1.7976931348623157e308, -1.7976931348623157e308, ""),
        (-3.4028234663852886e38, None, "-3.40282e+38 counts as data"),
        (-3.4028234663852886e38, -3.4028234e38, ""),
        (-np.inf, None, ""),
    ],
)
def test_extreme_numbers(
    tmp_path: Path, geoseg: Command, extreme: float, nodata: float | None, note: str
) -> None:
    values = np.arange(81.0).reshape(9, 9)
    values[0, 0] = extreme
    path = made(tmp_path / "x.tif", values, crs="EPSG:32632", transform=PLACE, nodata=nodata)
    code, out, err = geoseg("inspect", str(path))
    assert code == 0, err
    assert "Warning" not in err
    assert note in out
    assert ("beyond those" in out or "note: band_1: " in out) == bool(note)
