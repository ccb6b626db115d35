"""The rasters as others see them: two validators, gdalinfo, and disks that lose pixels."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rio_cogeo.cogeo import cog_validate

from geoseg.config.products import LAYERS, ProductsConfig, band_slices
from geoseg.errors import OutputError, RasterError
from geoseg.feedback import Silent
from geoseg.grid import Grid, Window
from geoseg.io import files
from geoseg.io.raster import geotiffs, rasters
from geoseg.io.raster.scratch import scratch
from geoseg.legend import NODATA, PALETTE, Legend, LegendClass
from geoseg.product.raster import RasterOptions, mosaic

LEGEND = Legend(tuple(LegendClass(3 * i, f"crop {i}", PALETTE[i]) for i in range(4)))
GRID = Grid("EPSG:32633", Affine(10, 0, 5e5, 0, -10, 5e6), 1100, 1300)
TAGS = (("TIFFTAG_SOFTWARE", "geoseg 9"), ("GEOSEG_RUN", "ab12"), ("GEOSEG_DATES", "a/b"))
DEBIAN = Path("/usr/bin/python3")
VALIDATOR = "osgeo_utils.samples.validate_cloud_optimized_geotiff"


def stack(layers: tuple[str, ...] = LAYERS) -> NDArray[np.uint8]:
    """All bands of a map: fields, percents that vary from pixel to pixel, a corner of nodata."""
    rng = np.random.default_rng(1)
    fields = rng.choice(LEGEND.codes, (55, 65))
    codes = np.kron(fields, np.ones((20, 20), np.uint8))
    count = band_slices(layers, len(LEGEND))
    percents = rng.integers(0, 101, (max(s.stop for s in count.values()) - 1, *codes.shape))
    values = np.concatenate([codes[np.newaxis], percents.astype(np.uint8)])
    values[:, :600, :700] = NODATA
    return values


def write_parts(folder: Path, values: NDArray[np.uint8], side: int) -> list[tuple[Window, Path]]:
    parts = []
    for row in range(0, GRID.height, side):
        for col in range(0, GRID.width, side):
            window = Window(row, col, side, side).clip(GRID.window)
            path = folder / f"{row}_{col}.tif"
            here = Grid(None, Affine.identity(), *window.shape)
            with geotiffs.create(path, here, geotiffs.RasterSpec("uint8", len(values))) as part:
                part.write(values[:, *window.within(GRID.window)], here.window)
            parts.append((window, path))
    return parts


def make(folder: Path, side: int = 512, compression: str = "deflate") -> dict[str, Path]:
    (folder / "parts").mkdir(parents=True)
    options = RasterOptions(LAYERS, ProductsConfig(compression=compression).compression, TAGS)
    paths = {name: folder / f"m_{name}.tif" for name in band_slices(LAYERS, len(LEGEND))}
    parts = write_parts(folder / "parts", stack(), side)
    mosaic(parts, GRID, LEGEND, list(paths.values()), Silent(), options)
    return paths


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make(tmp_path_factory.mktemp("cogs"))


def require_valid(path: Path) -> None:
    """By rio-cogeo, and by GDAL's own validator where Debian's GDAL is there."""
    assert cog_validate(path, strict=True) == (True, [], []), path
    if shutil.which("gdalinfo") and DEBIAN.exists():
        run = subprocess.run(
            [DEBIAN, "-m", VALIDATOR, "--full-check=yes", path],
            capture_output=True,
            text=True,
            check=False,
        )
        if "No module named" not in run.stderr:
            assert "is a valid cloud optimized GeoTIFF" in run.stdout, run.stdout + run.stderr


@pytest.mark.parametrize("name", ["class", "confidence", *LAYERS])
def test_valid_cogs(products: dict[str, Path], name: str) -> None:
    require_valid(products[name])
    slices = band_slices(LAYERS, len(LEGEND))
    values, valid = rasters.read(
        products[name], range(1, 1 + slices[name].stop - slices[name].start), GRID.window
    )
    assert np.array_equal(values, stack()[slices[name]])
    assert np.array_equal(valid, stack()[0] != NODATA)


def test_a_plain_geotiff_is_no_cog(tmp_path: Path) -> None:
    with geotiffs.create(tmp_path / "x.tif", GRID, geotiffs.RasterSpec("uint8")) as target:
        target.write(stack()[:1], GRID.window)
    assert not cog_validate(tmp_path / "x.tif", strict=True)[0]


def test_bytes_do_not_depend_on_the_blocks(tmp_path: Path, products: dict[str, Path]) -> None:
    for name, path in make(tmp_path, side=300).items():
        assert path.read_bytes() == products[name].read_bytes(), name


def test_zstd(tmp_path: Path, products: dict[str, Path]) -> None:
    for name, path in make(tmp_path, compression="zstd").items():
        with rasterio.open(path) as source, rasterio.open(products[name]) as other:
            assert source.compression.name == "zstd"
            assert np.array_equal(source.read(), other.read())
        require_valid(path)


def test_tags_travel(products: dict[str, Path]) -> None:
    for path in products.values():
        assert dict(TAGS).items() <= rasters.tags(path).items()
    with rasterio.open(products["probabilities"]) as source:
        assert source.descriptions == tuple(f"{c.name} (percent)" for c in LEGEND)
    with rasterio.open(products["confidence_margin"]) as source:
        assert source.descriptions == ("confidence_margin (percent)",)


def test_only_what_holds_pixels_takes_room(tmp_path: Path) -> None:
    """A plain raster of 2.5 gigapixels with one tile of data: nodata is never written."""
    grid = Grid("EPSG:32633", Affine(10, 0, 0, 0, -10, 5e6), 50_000, 50_000)
    spec = geotiffs.RasterSpec("uint8", nodata=NODATA)
    with scratch(tmp_path / "x.tif", grid, spec) as target:
        target.write(np.full((1, 512, 512), NODATA, np.uint8), Window(0, 0, 512, 512))
        target.write(np.ones((1, 512, 512), np.uint8), Window(1024, 512, 512, 512))
        [path] = tmp_path.iterdir()
    assert not path.exists()


def test_pixels_that_get_lost_are_noticed(tmp_path: Path) -> None:
    """What a full disk does when GDAL tells nobody: tiles that were never written read as nodata."""
    spec = geotiffs.RasterSpec("uint8", nodata=NODATA)
    values = np.ones((1, *GRID.window.shape), np.uint8)
    with scratch(tmp_path / "x.tif", GRID, spec) as target:
        target.write(values, GRID.window)
        [path] = tmp_path.iterdir()
        target._dataset.close()
        with rasterio.open(path, "r+") as hole:
            hole.write(
                np.full((1, 512, 512), NODATA, np.uint8),
                window=rasterio.windows.Window(0, 0, 512, 512),
            )
        lost = r"x\.tif: cannot be written: 262144 of 1430000 values did not arrive.*free space"
        with (
            pytest.raises(OutputError, match=lost),
            files.replacing(tmp_path / "x.tif") as part,
        ):
            target.to_cog(part, "mode", "deflate")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_part_stops_it(tmp_path: Path) -> None:
    parts = write_parts(tmp_path, stack(()), 512)
    content = parts[3][1].read_bytes()
    parts[3][1].write_bytes(content[: len(content) // 2])
    with pytest.raises(RasterError, match=parts[3][1].name):
        mosaic(parts, GRID, LEGEND, [tmp_path / "a.tif", tmp_path / "b.tif"], Silent())
    assert not list(tmp_path.glob("*.part*"))
    assert not (tmp_path / "a.tif").exists()


def test_layers_in_any_order_are_the_same() -> None:
    found = ProductsConfig(layers=("probabilities", "confidence_margin"))
    assert found.layers == ("confidence_margin", "probabilities")
    with pytest.raises(ValueError, match="'confidence_margin' is there twice"):
        ProductsConfig(layers=("confidence_margin", "confidence_margin"))
    assert band_slices(found.layers, 4) == {
        "class": slice(0, 1),
        "confidence": slice(1, 2),
        "confidence_margin": slice(2, 3),
        "probabilities": slice(3, 7),
    }


def test_the_attribute_table(products: dict[str, Path]) -> None:
    """As ArcGIS reads it: beside the raster, in dBase, the pixels of each value counted."""
    frame = pyogrio.read_dataframe(products["class"].with_name("m_class.tif.vat.dbf"))
    codes = stack()[0]
    assert frame["Value"].tolist() == [c.code for c in LEGEND]
    assert frame["Class"].tolist() == list(LEGEND.names)
    assert frame["Count"].tolist() == [int((codes == c.code).sum()) for c in LEGEND]
    colors = zip(frame["Red"], frame["Green"], frame["Blue"], strict=True)
    assert list(colors) == [c.rgb for c in LEGEND]


PEAK = """
import resource, sys; from pathlib import Path; from affine import Affine
from geoseg.feedback import Silent; from geoseg.grid import Grid
from geoseg.legend import Legend, LegendClass; from geoseg.product.raster import mosaic
legend = Legend(tuple(LegendClass(i, str(i), "#000000") for i in range(2)))
grid = Grid("EPSG:32633", Affine(10, 0, 0, 0, -10, 0), int(sys.argv[2]), int(sys.argv[3]))
mosaic([], grid, legend, [Path(sys.argv[1]) / n for n in ("a.tif", "b.tif")], Silent())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak(folder: Path, height: int, width: int) -> int:
    """MiB that a process of its own needs for the rasters of such a grid."""
    command = [sys.executable, "-c", PEAK, folder, str(height), str(width)]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_raster(tmp_path: Path) -> None:
    small, tall, wide = (peak(tmp_path, *s) for s in ((9000, 9000), (9000, 60_000), (60_000, 9000)))
    assert max(tall, wide) < small + 100
