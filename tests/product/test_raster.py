"""The class and confidence rasters, and the table of areas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from geoseg.errors import GridMismatchError, RasterError
from geoseg.feedback import Silent
from geoseg.grid import Grid, Window
from geoseg.io.raster import geotiffs, rasters
from geoseg.legend import NODATA, PALETTE, Legend, LegendClass
from geoseg.product.areas import area_table, pixel_area
from geoseg.product.pictures import write_quicklook
from geoseg.product.raster import mosaic
from geoseg.product.style import read_legend
from geoseg.tiling import Lattice, Plan

LEGEND = Legend(
    (
        LegendClass(1, "wheat", PALETTE[0]),
        LegendClass(7, 'maïs "A" & <B>', PALETTE[1]),
        LegendClass(0, "other", PALETTE[2]),
        LegendClass(254, "grass", PALETTE[3]),
    )
)


def wkt(name: str) -> str:
    return str(rasterio.CRS.from_user_input(name).to_wkt())


UTM = Grid(wkt("EPSG:32633"), Affine(10, 0, 499980.0, 0, -10, 5000040.3), 700, 1301)


def scene(grid: Grid, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A map of squares with a slanted edge of nodata."""
    rng = np.random.default_rng(seed)
    squares = rng.choice(LEGEND.codes, (grid.height // 37 + 1, grid.width // 37 + 1))
    codes = np.kron(squares, np.ones((37, 37), np.uint8))[: grid.height, : grid.width].copy()
    confidence = rng.integers(0, 101, codes.shape).astype(np.uint8)
    rows, cols = np.indices(codes.shape)
    gone = rows + 3 * cols < 300
    codes[gone], confidence[gone] = NODATA, NODATA
    return codes, confidence


def blocks(folder: Path, grid: Grid, block: int) -> Iterator[tuple[Window, Path]]:
    """The scene as finished blocks of a plan."""
    stack = np.stack(scene(grid))
    lattice = Lattice(grid.height, grid.width, core=32, margin=0)
    for part in Plan(lattice, block):
        path = folder / f"{part.id}.tif"
        rows, cols = part.core.within(grid.window)
        shape = Grid(None, Affine.identity(), *part.core.shape)
        with geotiffs.create(path, shape, geotiffs.RasterSpec("uint8", 2, NODATA)) as writer:
            writer.write(stack[:, rows, cols], shape.window)
        yield part.core, path


def make(folder: Path, grid: Grid = UTM, block: int = 512) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    work = folder / "blocks"
    work.mkdir()
    paths = folder / "m_class.tif", folder / "m_confidence.tif"
    mosaic(list(blocks(work, grid, block)), grid, LEGEND, paths, Silent())
    return paths


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make(tmp_path_factory.mktemp("product"))


def test_pixels_arrive_where_they_belong(product: tuple[Path, Path]) -> None:
    for path, expected in zip(product, scene(UTM), strict=True):
        values, valid = rasters.read(path, [1], UTM.window)
        assert np.array_equal(values[0], expected)
        assert np.array_equal(valid, expected != NODATA)


GRIDS = {
    "utm": UTM,
    "degrees": Grid(wkt("EPSG:4326"), Affine(1 / 3600, 0, 8.1, 0, -1 / 3600, 47.3), 90, 140),
    "rotated": Grid(wkt("EPSG:3035"), Affine(7.1, 2.3, 4e6, 1.9, -8.2, 3e6 + 1 / 3), 60, 50),
    "none": Grid(None, Affine.identity(), 40, 33),
    "feet": Grid(wkt("EPSG:2263"), Affine(3, 0, 9e5 + 0.1, 0, -3, 2e5), 1, 600),
}


@pytest.mark.parametrize("name", GRIDS)
def test_the_grid_is_kept_to_the_last_bit(tmp_path: Path, name: str) -> None:
    for path in make(tmp_path, GRIDS[name]):
        assert rasters.describe(path).grid == GRIDS[name]


def test_bytes_do_not_depend_on_the_blocks(tmp_path: Path, product: tuple[Path, Path]) -> None:
    for block in (64, 704, 1024):
        paths = make(tmp_path / str(block), block=block)
        for path, other in zip(paths, product, strict=True):
            assert path.read_bytes() == other.read_bytes(), f"{path.name}, blocks of {block}"


def test_both_are_cloud_optimized(product: tuple[Path, Path]) -> None:
    for path in product:
        with rasterio.open(path) as source:
            assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert source.block_shapes == [(512, 512)]
            assert source.nodata == NODATA
            assert source.overviews(1) == [2, 4]


def test_overviews_never_mix_classes(product: tuple[Path, Path]) -> None:
    with rasterio.open(product[0], overview_level=0) as source:
        seen = source.read(1)
    assert set(np.unique(seen)) == {*LEGEND.codes.tolist(), NODATA}
    # Colours would average too, to that of a third class: each value must be one of those below it.
    below = np.pad(scene(UTM)[0], ((1, 3), (1, 3)), mode="edge")
    height, width = seen.shape
    around = [below[r : r + 2 * height : 2, c : c + 2 * width : 2]
              for r in range(4) for c in range(4)]  # fmt: skip
    assert np.any([seen == values for values in around], axis=0).all()


def test_overviews_average_confidence(product: tuple[Path, Path]) -> None:
    with rasterio.open(product[1], overview_level=1) as source:
        seen = source.read(1)
    whole = scene(UTM)[1]
    mean, known = seen[seen != NODATA], whole[whole != NODATA]
    assert mean.mean() == pytest.approx(known.mean(), abs=0.5)
    assert mean.std() < known.std() / 3, "noise averages out; nearest neighbour would keep it"


def test_names_and_colours_travel_with_the_raster(product: tuple[Path, Path]) -> None:
    assert read_legend(product[0]) == LEGEND
    with rasterio.open(product[0]) as source:
        colors = source.colormap(1)
        assert {c.code: colors[c.code][:3] for c in LEGEND} == {c.code: c.rgb for c in LEGEND}
        assert colors[NODATA][3] == 0
        assert source.descriptions == ("crop class",)
    with rasterio.open(product[1]) as source:
        assert source.descriptions == ("confidence (percent)",)
    names = ET.parse(f"{product[0]}.aux.xml").findall(".//Category")
    assert {c.code: names[c.code].text for c in LEGEND} == {c.code: c.name for c in LEGEND}
    entries = ET.parse(product[0].with_suffix(".qml")).findall(".//paletteEntry")
    assert [(int(e.get("value", "")), e.get("label"), e.get("color")) for e in entries] == [
        (c.code, c.name, c.color) for c in LEGEND
    ]


def test_nothing_else_is_left(product: tuple[Path, Path]) -> None:
    left = {path.name for path in product[0].parent.iterdir()} - {"blocks"}
    side = {
        f"m_class.{suffix}"
        for suffix in ("tif.aux.xml", "tif.vat.dbf", "tif.vat.cpg", "qml", "sld")
    }
    assert left == {"m_class.tif", "m_confidence.tif"} | side


def test_a_hole_is_nodata(tmp_path: Path) -> None:
    parts = list(blocks(tmp_path, UTM, 512))
    hole, _ = parts.pop(1)
    paths = tmp_path / "c.tif", tmp_path / "p.tif"
    mosaic(parts, UTM, LEGEND, paths, Silent())
    for path, whole in zip(paths, scene(UTM), strict=True):
        values, _ = rasters.read(path, [1], UTM.window)
        whole[hole.within(UTM.window)] = NODATA
        assert np.array_equal(values[0], whole)


def test_a_part_of_another_size_is_refused(tmp_path: Path) -> None:
    parts = [(Window(0, 0, 64, 64), path) for _, path in blocks(tmp_path, GRIDS["none"], 32)]
    with pytest.raises(RasterError, match=r"r0000_c0000\.tif.*32 x 32.*64 x 64.*run again"):
        mosaic(parts, UTM, LEGEND, [tmp_path / "c.tif", tmp_path / "p.tif"], Silent())
    assert {path.name[0] for path in tmp_path.iterdir()} == {"r"}, "no half-made file"


def test_a_raster_without_legend_says_so(tmp_path: Path, product: tuple[Path, Path]) -> None:
    with pytest.raises(RasterError, match=r"m_confidence\.tif carries no legend"):
        read_legend(product[1])
    with pytest.raises(RasterError, match="no such file"):
        read_legend(tmp_path / "none.tif")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '[{"code": 1}]',
        '[{"code": "1", "name": "a", "color": "#000000"}]',
        '[{"code": 1, "name": "a", "color": "#000000;}</style>"}]',
        '[{"code": 1, "name": "a", "color": "#000000"}, {"code": 1, "name": "b", "color": "#000000"}]',
    ],
)
def test_a_damaged_legend_says_so(tmp_path: Path, text: str) -> None:
    path, grid = tmp_path / "x.tif", GRIDS["none"]
    spec = geotiffs.RasterSpec("uint8", tags=(("GEOSEG_LEGEND", text),))
    with geotiffs.create(path, grid, spec) as writer:
        writer.write(np.zeros((grid.height, grid.width), np.uint8), grid.window)
    with pytest.raises(RasterError, match=r"x\.tif: its legend .* is damaged"):
        read_legend(path)


def test_table_of_areas(product: tuple[Path, Path]) -> None:
    codes, confidence = scene(UTM)
    table = area_table(*product, LEGEND)
    assert [(row.code, row.name, row.color) for row in table] == [
        (c.code, c.name, c.color) for c in LEGEND
    ]
    for row in table:
        here = codes == row.code
        assert row.pixels == here.sum() > 0
        assert row.hectares == pytest.approx(row.pixels * 0.01, rel=1e-12)
        assert row.mean_confidence == pytest.approx(confidence[here].mean(), rel=1e-12)
    assert sum(row.share for row in table) == pytest.approx(1)


def test_table_without_crs_and_without_pixels(tmp_path: Path) -> None:
    grid = GRIDS["none"]
    for name, value in (("c.tif", NODATA), ("p.tif", NODATA)):
        with geotiffs.create(tmp_path / name, grid, geotiffs.RasterSpec("uint8")) as writer:
            writer.write(np.full((grid.height, grid.width), value, np.uint8), grid.window)
    for row in area_table(tmp_path / "c.tif", tmp_path / "p.tif", LEGEND):
        assert (row.pixels, row.hectares, row.share, row.mean_confidence) == (0, None, 0, None)


def test_a_code_outside_the_legend_is_refused(product: tuple[Path, Path]) -> None:
    short = Legend(LEGEND.classes[:3])
    with pytest.raises(RasterError, match=r"m_class\.tif holds the value 254.*1 wheat"):
        area_table(*product, short)


def test_rasters_of_two_runs_are_refused(tmp_path: Path, product: tuple[Path, Path]) -> None:
    other = make(tmp_path, GRIDS["utm"].__class__(UTM.crs, UTM.transform, 700, 1300))
    with pytest.raises(GridMismatchError, match="1301 x 700 against 1300 x 700"):
        area_table(product[0], other[1], LEGEND)


def test_planar_areas() -> None:
    assert pixel_area(GRIDS["none"]) is None
    utm = pixel_area(UTM)
    assert utm is not None
    assert np.array_equal(utm, np.full(700, 0.01))
    foot = 1200 / 3937  # US survey foot, metres
    feet = pixel_area(GRIDS["feet"])
    assert feet == pytest.approx([9 * foot**2 / 1e4])
    rotated = pixel_area(GRIDS["rotated"])
    assert rotated == pytest.approx(np.full(60, (7.1 * 8.2 + 2.3 * 1.9) / 1e4))


def geodesic_hectares(grid: Grid, row: int) -> float:
    """The first pixel of a row as a polygon on the ellipsoid (Karney 2013), its sides cut finely."""
    steps = np.linspace(0, 1, 50, endpoint=False)
    x = np.concatenate([steps, np.ones(50), 1 - steps, np.zeros(50)])
    y = np.concatenate([np.zeros(50), steps, np.ones(50), 1 - steps])
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    x, y = a * x + b * (row + y) + c, d * x + e * (row + y) + f
    to_degrees = pyproj.Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(x, y)
    return abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0]) / 1e4


@pytest.mark.parametrize(
    "grid",
    [
        Grid(wkt("EPSG:4326"), Affine(0.25, 0, 5, 0, -0.25, 90), 720, 8),
        Grid(wkt("EPSG:4326"), Affine(1e-3, 0, 5, 0, 1e-3, -60), 2000, 8),
        Grid(wkt("EPSG:3857"), Affine(500, 0, 6e5, 0, -500, 8e6), 2000, 8),
    ],
    ids=["world", "south up", "web mercator"],
)
def test_areas_on_the_ellipsoid(grid: Grid) -> None:
    areas = pixel_area(grid)
    assert areas is not None
    for row in (0, 7, grid.height // 3, grid.height - 1):
        assert areas[row] == pytest.approx(geodesic_hectares(grid, row), rel=1e-3), f"row {row}"


def test_areas_of_the_world_add_up() -> None:
    areas = pixel_area(Grid(wkt("EPSG:4326"), Affine(0.5, 0, -180, 0, -0.5, 90), 360, 720))
    assert areas is not None
    surface = 510_065_621.724  # km², WGS 84 (Moritz 1980, GRS 80: 510 065 622)
    assert areas.sum() * 720 / 100 == pytest.approx(surface, rel=1e-7)


def colors_of(path: Path) -> dict[tuple[int, ...], int]:
    """Pixels of each colour in a picture."""
    with rasterio.open(path) as picture:
        red, green, blue = picture.read([1, 2, 3]).astype(np.int64)
    values, counts = np.unique(red << 16 | green << 8 | blue, return_counts=True)
    return {
        (value >> 16, value >> 8 & 255, value & 255): count
        for value, count in zip(values.tolist(), counts.tolist(), strict=True)
    }


def test_quicklook_shows_the_legends_colours(tmp_path: Path, product: tuple[Path, Path]) -> None:
    write_quicklook(product[0], LEGEND, tmp_path / "quicklook.png", "A map")
    found = colors_of(tmp_path / "quicklook.png")
    codes = scene(UTM)[0]
    for entry in LEGEND:
        # The map is drawn pixel for pixel; the legend's own patch adds some hundreds.
        assert 0 <= found[entry.rgb] - (codes == entry.code).sum() < 2500, entry.name


@pytest.mark.parametrize("name", [name for name in GRIDS if name != "feet"])
def test_quicklook_of_any_grid(tmp_path: Path, name: str) -> None:
    """Four classes in the four quarters, smaller or larger than the picture."""
    grid = GRIDS[name]
    rows, cols = np.indices((grid.height, grid.width))
    codes = LEGEND.codes[2 * (rows * 2 // grid.height) + cols * 2 // grid.width]
    with geotiffs.create(tmp_path / "c.tif", grid, geotiffs.RasterSpec("uint8")) as writer:
        writer.write(codes, grid.window)
    write_quicklook(tmp_path / "c.tif", LEGEND, tmp_path / "quicklook.png", name)
    with rasterio.open(tmp_path / "quicklook.png") as picture:
        pixels = np.moveaxis(picture.read([1, 2, 3]), 0, -1)
    assert 700 <= max(pixels.shape) <= 2400
    spans = []
    for entry in LEGEND:
        here = np.nonzero((pixels == entry.rgb).all(axis=-1))
        # The classes' patches beside the map are less than the outer tenths.
        spans.append([np.quantile(along, [0.1, 0.9]) for along in here])
    (top, left), (_, right), (bottom, _), _ = spans
    assert top[1] < bottom[0]
    assert left[1] < right[0]


def test_quicklook_of_a_single_line(tmp_path: Path) -> None:
    grid = GRIDS["feet"]
    with geotiffs.create(tmp_path / "c.tif", grid, geotiffs.RasterSpec("uint8")) as writer:
        writer.write(scene(grid)[0], grid.window)
    write_quicklook(tmp_path / "c.tif", LEGEND, tmp_path / "quicklook.png", "one line " * 30)
    assert set(colors_of(tmp_path / "quicklook.png")) >= {c.rgb for c in LEGEND}
