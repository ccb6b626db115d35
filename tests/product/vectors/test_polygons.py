"""Polygons of the map: the same as those of the whole raster, whatever the strips."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from rasterio.features import shapes

from geoseg.errors import RasterError
from geoseg.feedback import Silent
from geoseg.grid import Grid
from geoseg.io.raster import geotiffs
from geoseg.legend import NODATA
from geoseg.product.areas import area_table
from geoseg.product.vectors import polygons, strips
from geoseg.product.vectors.polygons import vectorize
from geoseg.product.vectors.regions import OpenRegions, RegionTable
from tests.support.class_maps import GRIDS, LEGEND, UTM, Codes, blobs, write

COLUMNS = ["code", "crop", "area_m2", "area_ha", "perimeter_m", "pixels"]
COLUMNS += ["confidence", "confidence_p10", "run"]


def by_gdal(codes: Codes) -> list[tuple[int, bytes]]:
    """The whole raster at once by another program, in pixel coordinates."""
    found = shapes(codes, codes != NODATA, connectivity=4)
    return sorted((int(v), canonical(shapely.geometry.shape(s))) for s, v in found)


def canonical(polygon: shapely.Polygon) -> bytes:
    """Corners only: GDAL knows of no points where others' borders meet."""
    return bytes(shapely.to_wkb(shapely.normalize(polygon.simplify(0))))


def by_strips(codes: Codes, rows: int) -> tuple[RegionTable, NDArray[np.object_]]:
    """Regions and outlines, read ``rows`` at a time; the code is the confidence too."""
    height, width = codes.shape
    open_regions, found = OpenRegions(width), RegionTable.none()
    for row in range(0, height, rows):
        strip = codes[row : row + rows]
        found = found.concat(open_regions.add(strip, strip, row))
    found = found.concat(open_regions.finish(height))
    return found, found.rings.polygons(Grid(None, Affine.identity(), height, width))


maps = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
    elements=st.sampled_from([0, 0, 1, 1, 2, NODATA]),
    fill=st.nothing(),
)


@settings(max_examples=150, deadline=None)
@given(maps, st.integers(1, 6))
def test_strips_change_nothing_and_gdal_agrees(codes: Codes, rows: int) -> None:
    whole, outlines = by_strips(codes, len(codes))
    cut, cut_outlines = by_strips(codes, rows)
    assert shapely.to_wkb(cut_outlines).tolist() == shapely.to_wkb(outlines).tolist()
    for name in ("code", "pixels", "last"):
        assert np.array_equal(getattr(cut.regions, name), getattr(whole.regions, name)), name
    assert np.array_equal(cut.confidence.key, whole.confidence.key)
    assert np.array_equal(cut.confidence.count, whole.confidence.count)
    assert shapely.coverage_is_valid(cut_outlines)
    found = zip(whole.regions.code.tolist(), map(canonical, outlines), strict=True)
    assert sorted(found) == by_gdal(codes)


@settings(max_examples=100, deadline=None)
@given(maps, st.integers(1, 6))
def test_polygons_are_valid_and_count_their_pixels(codes: Codes, rows: int) -> None:
    found, outlines = by_strips(codes, rows)
    regions = found.regions
    assert shapely.is_valid(outlines).all()
    assert shapely.area(outlines).tolist() == regions.pixels.tolist()
    assert regions.pixels.sum() == (codes != NODATA).sum()
    assert np.array_equal(found.confidence.means(len(found)), regions.code)
    assert (np.diff(regions.last) > 0).all()


PINCHED = np.array(
    [
        [1, 1, 1, 1, 1],
        [1, 2, 1, 1, 1],
        [1, 1, 2, 2, 1],
        [1, 2, 2, 1, 1],
        [1, 1, 1, 2, 2],
    ],
    dtype=np.uint8,
)


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_areas_that_touch_at_points(rows: int) -> None:
    """A hole that touches the rim at a point, holes that touch, a ring closed by a diagonal."""
    found, outlines = by_strips(PINCHED, rows)
    ours = zip(found.regions.code.tolist(), map(canonical, outlines), strict=True)
    assert sorted(ours) == by_gdal(PINCHED)
    one = outlines[found.regions.code == 1]
    assert [len(polygon.interiors) for polygon in one] == [2]


def spiral(size: int) -> Codes:
    """Class 2 winds inwards, one pixel wide; class 1 is what is between."""
    near, far = np.indices((size, size)), size - 1 - np.indices((size, size))
    depth = np.minimum(near, far).min(axis=0)
    codes = np.where(depth % 2, 1, 2).astype(np.uint8)
    for ring in range(0, size // 2 - 1, 2):
        codes[ring + 1, ring] = 1
        codes[ring + 2, ring + 1] = 2
    return codes


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_arms_that_meet_late_are_one_field(rows: int) -> None:
    """In narrow strips a spiral looks like many regions until the last one joins them."""
    codes = spiral(21)
    found, outlines = by_strips(codes, rows)
    assert len(found) == 2
    ours = zip(found.regions.code.tolist(), map(canonical, outlines), strict=True)
    assert sorted(ours) == by_gdal(codes)


def test_a_map_wider_than_16_bits() -> None:
    codes = np.zeros((4, 70_000), np.uint8)
    codes[1:3, 65_530:65_545:3] = 1
    codes[2, 65_530:65_545] = 2
    codes[:, 69_990:] = blobs(4, 10)
    found, outlines = by_strips(codes, 2)
    ours = zip(found.regions.code.tolist(), map(canonical, outlines), strict=True)
    assert sorted(ours) == by_gdal(codes)


def test_rings_turn_as_the_standard_says() -> None:
    """On a north-up map exteriors run counter-clockwise, holes clockwise."""
    codes = np.pad(np.full((2, 2), 2, np.uint8), 2, constant_values=1)
    open_regions = OpenRegions(6)
    found = open_regions.add(codes, codes, 0).concat(open_regions.finish(6))
    outlines = found.rings.polygons(Grid(UTM, Affine(10, 0, 5e5, 0, -10, 5e6), 6, 6))
    assert shapely.is_ccw(shapely.get_exterior_ring(outlines)).all()
    holes = [hole for polygon in outlines for hole in polygon.interiors]
    assert [shapely.is_ccw(hole) for hole in holes] == [False]


@pytest.mark.parametrize("name", GRIDS)
def test_file_of_polygons(tmp_path: Path, name: str) -> None:
    grid, codes = GRIDS[name], blobs(83, 120)
    paths = write(tmp_path, codes, grid)
    count = vectorize(paths, LEGEND, [tmp_path / "m_crops.gpkg"], Silent()).polygons
    table = geopandas.read_file(tmp_path / "m_crops.gpkg", layer="crops")
    assert list(table.columns) == [*COLUMNS, "geometry"]
    assert len(table) == count
    assert (table.crs is None) == (grid.crs is None)
    if grid.crs:
        assert table.crs == grid.crs

    # Back in pixels, corners are whole numbers again.
    back = ~grid.transform
    matrix = [back.a, back.b, back.d, back.e, back.c, back.f]
    pixels = table.geometry.affine_transform(matrix).to_numpy()
    pixels = shapely.transform(pixels, lambda points: np.rint(points) + 0.0)
    ours = zip(table["code"].tolist(), map(canonical, pixels), strict=True)
    assert sorted(ours) == by_gdal(codes)

    areas = area_table(*paths, LEGEND)
    for row in areas:
        mine = table[table["code"] == row.code]
        assert set(mine["crop"]) == {row.name}
        assert mine["pixels"].sum() == row.pixels
        assert (mine["confidence"] * mine["pixels"]).sum() / row.pixels == pytest.approx(
            row.mean_confidence, abs=0.01
        )
        if row.hectares is None:
            assert mine["area_ha"].isna().all()
        else:
            assert mine["area_ha"].sum() == pytest.approx(row.hectares, rel=1e-6)


def test_bytes_do_not_depend_on_the_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(tmp_path, blobs(83, 120), GRIDS["utm"])
    monkeypatch.setattr(polygons, "_BATCH", 1000)
    written = set()
    for rows in (7, 20, 512):
        monkeypatch.setattr(strips, "STRIP", rows)
        vectorize(paths, LEGEND, [tmp_path / "crops.gpkg"], Silent())
        written.add((tmp_path / "crops.gpkg").read_bytes())
    assert len(written) == 1
    whole = pyogrio.read_dataframe(tmp_path / "crops.gpkg", layer="crops")
    monkeypatch.setattr(polygons, "_BATCH", 10**9)
    vectorize(paths, LEGEND, [tmp_path / "crops.gpkg"], Silent())
    assert whole.equals(pyogrio.read_dataframe(tmp_path / "crops.gpkg", layer="crops"))


def test_batches_are_bounded_by_their_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polygons, "_BATCH", 300)
    whole, _ = by_strips(blobs(83, 120), 10)
    sizes = whole.rings.points()
    batches = list(polygons._batches(iter([whole, RegionTable.none(), whole])))
    assert sum(len(batch) for batch in batches) == 2 * len(whole)
    assert len(batches) > 2 * sizes.sum() / (300 + sizes.max())
    assert max(len(batch.rings.x) for batch in batches) < 300 + sizes.max()


def test_a_map_of_nodata_is_an_empty_layer(tmp_path: Path) -> None:
    codes = np.full((83, 120), NODATA, np.uint8)
    paths = write(tmp_path, codes, GRIDS["utm"])
    assert vectorize(paths, LEGEND, [tmp_path / "m.gpkg"], Silent()).polygons == 0
    info = pyogrio.read_info(tmp_path / "m.gpkg", layer="crops")
    assert (info["features"], info["crs"]) == (0, "EPSG:32632")
    assert list(info["fields"]) == COLUMNS


def test_a_code_outside_the_legend_leaves_no_file(tmp_path: Path) -> None:
    codes = blobs(83, 120)
    codes[60, 60] = 77
    paths = write(tmp_path, codes, GRIDS["utm"])
    with pytest.raises(RasterError, match="holds the value 77"):
        vectorize(paths, LEGEND, [tmp_path / "m.gpkg"], Silent())
    assert not (tmp_path / "m.gpkg").exists()


def test_other_rasters_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    with geotiffs.create(path, GRIDS["utm"], geotiffs.RasterSpec("float32")):
        pass
    with pytest.raises(RasterError, match=r"float\.tif holds 1 band\(s\) of float32"):
        vectorize((path, path), LEGEND, [tmp_path / "m.gpkg"], Silent())
