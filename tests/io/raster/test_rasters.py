"""Every read against rasterio itself; validity from every source; what is no raster."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import RasterError
from geoseg.grid import Window
from geoseg.io.raster import geotiffs, rasters
from tests.support.common import Raster

REAL = (
    "slovenia_s2_eopatch/s2_l1c_2015-07-11.tif",
    "maipo_landsat8_west/landsat8_t1.tif",
    "flanders_worldcereal_patch_2020_21/monthly_2020-12.tif",
    "chiapas_landsat7_two_dates/LE70220491999322EDC01_stack.tif",
    "flevoland_airsar/t3_9bands.tif",
    "uzbekistan_ndvi_fields/ndvi.tif",
    "sinop_modis_jp2/TERRA_MODIS_012010_NDVI_2013-09-14.jp2",
    "odd_rasters/nodata0_rgb_utm18.tif",
    "odd_rasters/nan_nodata_latlon_float32.tif",
    "odd_rasters/rotated_with_crs.tif",
    "odd_rasters/internal_mask_rgb.tif",
    "odd_rasters/alpha_band_webmercator.tif",
    "odd_rasters/many_bands_206_float64.tif",
    "odd_rasters/float_no_crs_2x3.tif",
    "odd_rasters/esri_wkt_2x2.tif",
)
ALPHA = {"odd_rasters/alpha_band_webmercator.tif": 3}
"""Number of data bands where the last band is alpha."""


def draw_window(draw: st.DrawFn, height: int, width: int, longest: int = 300) -> Window:
    row, col = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return Window(
        row,
        col,
        draw(st.integers(1, min(longest, height - row))),
        draw(st.integers(1, min(longest, width - col))),
    )


@pytest.mark.parametrize("name", REAL)
def test_every_read_is_rasterios(data: Path, name: str) -> None:
    path = data / name

    @settings(max_examples=12, deadline=None)
    @given(st.data())
    def check(choice: st.DataObject) -> None:
        with rasterio.open(path) as source:
            window = choice.draw(st.composite(draw_window)(source.height, source.width))
            numbers = st.integers(1, ALPHA.get(name, source.count))
            bands = choice.draw(st.lists(numbers, min_size=1, max_size=8, unique=True))
            place = RasterioWindow(window.col, window.row, window.width, window.height)
            values = source.read(bands, window=place)
            present = (source.read_masks(bands, window=place) > 0).all(axis=0)
        if values.dtype.kind == "f":
            present &= np.isfinite(values).all(axis=0)
        found, valid = rasters.read(path, bands, window)
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)
        np.testing.assert_array_equal(valid, present)

    check()


@pytest.mark.parametrize("name", REAL)
def test_a_copy_is_the_same_to_the_last_bit(data: Path, name: str, tmp_path: Path) -> None:
    info = rasters.describe(data / name)
    values, _ = rasters.read(data / name, range(1, info.count + 1), info.grid.window)
    copy = tmp_path / "copy.tif"
    spec = geotiffs.RasterSpec(info.dtype, info.count, info.nodata, info.bands)
    with geotiffs.create(copy, info.grid, spec) as target:
        target.write(values, info.grid.window)
    found = rasters.describe(copy)
    assert found.grid.differences(info.grid) == []
    assert found.grid.transform == info.grid.transform
    assert (found.count, found.dtype, found.bands) == (info.count, info.dtype, info.bands)
    again, _ = rasters.read(copy, range(1, info.count + 1), info.grid.window)
    np.testing.assert_array_equal(again, values)


# Validity.


@pytest.mark.parametrize(
    ("dtype", "nodata", "invalid"),
    [
        ("uint16", (7, None), [7]),
        ("uint16", (None, 7), [7]),
        ("uint16", (7, 9), [7]),  # the file's own word counts
        ("uint16", (None, None), []),
        ("uint8", (None, -9999), []),  # a value the type cannot hold
        ("int16", (-9999, None), [-9999]),
        ("float32", (-9999.9, None), [-9999.9, np.nan, np.inf]),
        ("float32", (np.nan, None), [np.nan, -np.inf]),
        ("float64", (None, None), [np.nan, 1e300]),  # no network can be fed 1e300
        ("float32", (-3.4028234663852886e38, None), [-3.4028234663852886e38, -3.40282e38]),
        ("float32", (-3.40282e38, None), [-3.4028234663852886e38, -3.4e38, -np.inf]),
        ("float32", (None, -3.40282e38), [-3.4028234663852886e38, -3.40282e38]),
        ("float32", (None, -9999.0001), [-9999, -9999.003]),
        ("float32", (0.1, None), [0.1, 0.10000002]),
        ("float64", (0.1, None), [0.1, np.float32(0.1)]),
        ("float64", (None, 0.1), [0.1, np.float32(0.1)]),
        ("float32", (None, 1e39), [np.inf]),  # a value the type cannot hold
        ("float32", (0, None), [0.0, -0.0]),
        ("int16", (None, 7.9), [7]),
        ("uint8", (None, np.nan), []),
        ("uint8", (None, np.inf), []),
    ],
)
def test_nodata(
    tmp_path: Path,
    raster: Raster,
    dtype: str,
    nodata: tuple[float | None, float | None],
    invalid: list[float],
) -> None:
    """``nodata``: what the file says, and what the config says for files that do not."""
    own, otherwise = nodata
    values = np.full((2, 3, 5), 9, dtype=dtype)
    values[0, 0, : len(invalid)] = invalid
    path = raster(tmp_path / "x.tif", values, own)
    expected = np.ones((3, 5), dtype=bool)
    expected[0, : len(invalid)] = False
    _, valid = rasters.read(path, [1, 2], Window(0, 0, 3, 5), otherwise)
    np.testing.assert_array_equal(valid, expected)
    assert rasters.read(path, [2], Window(0, 0, 3, 5), otherwise)[1].all()


near = st.floats(-1e-6, 1e-6)
sizes = st.floats(-30, 30).map(lambda power: 10.0**power) | st.sampled_from([9999.0, 32768.0, 3.0])


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["float32", "float64", "int16", "uint32"]),
    sizes,
    st.sampled_from([1, -1]),
    st.lists(near, min_size=20, max_size=20),
)
def test_nodata_is_what_the_mask_of_gdal_says(
    dtype: str, size: float, sign: int, off: list[float]
) -> None:
    """For the file's own value, and for the same value from a config."""
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        nodata = float(np.clip(round(sign * min(size, 1e9), 1), limits.min, limits.max))
        values = np.clip(nodata + np.arange(-10, 10), limits.min, limits.max).astype(kind)
    else:
        nodata = float(kind.type(sign * size))
        values = (nodata * (1 + np.array(off))).astype(kind)
    shape = {"count": 1, "height": 1, "width": len(values), "dtype": dtype}
    with MemoryFile() as tagged, MemoryFile() as plain:
        for memory, own in ((tagged, nodata), (plain, None)):
            with memory.open(driver="GTiff", nodata=own, **shape) as target:
                target.write(values[np.newaxis, np.newaxis])
        with tagged.open() as source, plain.open() as other:
            said = source.read_masks(1) > 0
            window = Window(0, 0, 1, len(values))
            np.testing.assert_array_equal(rasters.read_open(source, [1], window)[1], said)
            np.testing.assert_array_equal(rasters.read_open(other, [1], window, nodata)[1], said)


def test_nodata_of_a_float_band_read_beside_one_of_double_precision(
    tmp_path: Path, raster: Raster
) -> None:
    """The values come in the common type; -9999.0001 is another number there than in float32."""
    first = np.full((1, 5, 6), -9999.0001, dtype=np.float32)
    first[0, 2:] = 4
    raster(tmp_path / "a.tif", first)
    raster(tmp_path / "b.tif", np.ones((1, 5, 6)))
    path = tmp_path / "x.vrt"
    text = VRT.replace("UInt16", "Float32", 1).replace('"Float32" band="2"', '"Float64" band="2"')
    path.write_text(text.replace(">3<", ">-9999.0001<"))
    values, valid = rasters.read(path, [1, 2], Window(0, 0, 5, 6))
    assert values.dtype == np.float64
    assert valid.all(axis=1).tolist() == [False, False, True, True, True]
    there = rasters.has_numbers(path, [1, 2], Window(0, 0, 5, 6))
    assert there[0].all(axis=1).tolist() == [False, False, True, True, True]
    assert there[1].all()


@pytest.fixture(scope="module")
def four_bands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 bits, the fourth band marked as alpha: half of the pixels are see-through."""
    path = tmp_path_factory.mktemp("alpha") / "rgba.tif"
    values = np.full((4, 6, 8), 50, dtype=np.uint8)
    values[3, :, :4] = 0
    with rasterio.open(
        path, "w", driver="GTiff", width=8, height=6, count=4, dtype="uint8", nodata=None
    ) as target:
        target.write(values)
        target.colorinterp = (*target.colorinterp[:3], ColorInterp.alpha)
    return path


def test_alpha_is_validity_unless_read_as_data(four_bands: Path) -> None:
    assert rasters.describe(four_bands).alpha == 4
    window = Window(0, 0, 6, 8)
    for bands in ([1, 2, 3], [2]):
        _, valid = rasters.read(four_bands, bands, window)
        assert valid[:, 4:].all()
        assert not valid[:, :4].any()
    for bands in ([1, 2, 3, 4], [4], [4, 1]):
        values, valid = rasters.read(four_bands, bands, window)
        assert valid.all()
        assert set(np.unique(values[bands.index(4)])) == {0, 50}


def test_alpha_counts_beside_a_nodata_value(four_bands: Path, tmp_path: Path) -> None:
    """GDAL itself forgets the alpha band of a file that also has a nodata value."""
    path = tmp_path / "both.tif"
    path.write_bytes(four_bands.read_bytes())
    with rasterio.open(path, "r+") as target:
        target.nodata = 0
    _, valid = rasters.read(path, [1, 2, 3], Window(0, 0, 6, 8))
    assert not valid[:, :4].any()


def test_four_bands_of_our_own_have_no_alpha(tmp_path: Path, raster: Raster) -> None:
    path = raster(tmp_path / "x.tif", np.zeros((4, 5, 6), dtype=np.uint8))
    assert rasters.describe(path).alpha == 0
    assert rasters.read(path, [1, 2, 3], Window(0, 0, 5, 6))[1].all()


def test_mask_file_beside_the_raster(tmp_path: Path, raster: Raster) -> None:
    path = raster(tmp_path / "x.tif", np.full((2, 5, 6), 8, dtype=np.uint16))
    mask = np.zeros((5, 6), dtype=np.uint8)
    mask[2:] = 255
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as target:
        target.write_mask(mask)
    assert path.with_suffix(".tif.msk").exists()
    assert rasters.describe(path).masked
    np.testing.assert_array_equal(rasters.read(path, [2], Window(0, 0, 5, 6))[1], mask > 0)


VRT = """<VRTDataset rasterXSize="6" rasterYSize="5">
<VRTRasterBand dataType="UInt16" band="1"><NoDataValue>3</NoDataValue><SimpleSource>
<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>1</SourceBand>
</SimpleSource></VRTRasterBand>
<VRTRasterBand dataType="Float32" band="2"><NoDataValue>4</NoDataValue><SimpleSource>
<SourceFilename relativeToVRT="1">b.tif</SourceFilename><SourceBand>1</SourceBand>
</SimpleSource></VRTRasterBand></VRTDataset>"""


def test_bands_of_different_types_and_nodata(tmp_path: Path, raster: Raster) -> None:
    first = np.arange(30, dtype=np.uint16).reshape(1, 5, 6)
    second = np.arange(30, dtype=np.float32).reshape(1, 5, 6) + 0.5
    second[0, 1, 1] = 4
    raster(tmp_path / "a.tif", first)
    raster(tmp_path / "b.tif", second)
    path = tmp_path / "x.vrt"
    path.write_text(VRT)
    values, valid = rasters.read(path, [1, 2], Window(0, 0, 5, 6))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.concatenate([first, second]))
    np.testing.assert_array_equal(valid, (first[0] != 3) & (second[0] != 4))
    (tmp_path / "b.tif").unlink()
    with pytest.raises(RasterError, match=r"x\.vrt cannot be read.*b\.tif"):
        rasters.read(path, [1, 2], Window(0, 0, 5, 6))


def test_band_names_in_another_encoding(tmp_path: Path, raster: Raster) -> None:
    path = raster(tmp_path / "x.tif", np.zeros((1, 5, 6), dtype=np.uint8), bands=("abcXY",))
    assert rasters.describe(path).bands == ("abcXY",)
    path.write_bytes(path.read_bytes().replace(b"abcXY", b"abc\xe9\xe8"))
    assert rasters.describe(path).bands == ("band_1",)


# What is no raster.


def test_no_raster(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("hello")
    (tmp_path / "empty.tif").touch()
    (tmp_path / "bad.vrt").write_text("<VRTDataset rasterXSize='6'")
    for name in ("text.tif", "empty.tif", "bad.vrt"):
        with pytest.raises(RasterError, match=rf"{name} cannot be read as a raster: .*gdalinfo"):
            rasters.describe(tmp_path / name)
    with pytest.raises(RasterError, match="is a folder"):
        rasters.describe(tmp_path)
    for name in ("none.tif", "x" * 400, "a\0b"):
        with pytest.raises(RasterError, match="no such file"):
            rasters.describe(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path, raster: Raster) -> None:
    path = raster(tmp_path / "x.tif", np.zeros((1, 5, 6), dtype=np.uint8))
    path.chmod(0)
    with pytest.raises(RasterError, match=r"x\.tif cannot be read"):
        rasters.describe(path)


def test_damaged_tiles(data: Path) -> None:
    path = data / "odd_rasters/truncated_corrupt.tif"
    window = rasters.describe(path).grid.window
    with pytest.raises(
        RasterError, match=r"truncated_corrupt\.tif cannot be read .*fetch it again"
    ):
        rasters.read(path, [1, 2, 3], window)


def test_every_cut_is_noticed(tmp_path: Path, raster: Raster) -> None:
    """A file cut anywhere in its pixels is an error, never pixels of zero."""
    noise = np.random.default_rng(0).integers(0, 60_000, (2, 90, 80)).astype(np.uint16)
    path = raster(tmp_path / "x.tif", noise)
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(RasterError, match=r"x\.tif cannot be read"):
            rasters.read(path, [1, 2], Window(0, 0, 90, 80))
