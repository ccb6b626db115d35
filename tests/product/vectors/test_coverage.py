"""Simplified, smoothed and merged polygons: one valid coverage, whatever the strips."""

from __future__ import annotations

import re
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pyproj import Geod
from rasterio.features import rasterize
from typer.testing import CliRunner

from geoseg.cli.app import app
from geoseg.config import VectorsConfig
from geoseg.errors import ConfigError
from geoseg.feedback import Silent
from geoseg.grid import Grid, Window
from geoseg.io.raster import geotiffs
from geoseg.legend import NODATA
from geoseg.product.style import LEGEND_TAG, legend_tag
from geoseg.product.vectors import polygons, strips
from geoseg.product.vectors.arcs import Arcs
from geoseg.product.vectors.generalize import simplify, smooth
from geoseg.product.vectors.polygons import vectorize
from geoseg.product.vectors.regions import ConfidenceHistogram, OpenRegions, RegionTable
from geoseg.product.vectors.sieve import merge_small
from geoseg.product.vectors.vertex_index import VertexIndex
from tests.support.class_maps import GRIDS, LEGEND, blobs, write

Codes = NDArray[np.uint8]
SHAPES = {
    "plain": VectorsConfig(),
    "simplified": VectorsConfig(simplify=1.0),
    "smoothed": VectorsConfig(smooth=2),
    "both": VectorsConfig(simplify=1.5, smooth=3),
    "merged": VectorsConfig(minimum_pixels=6),
    "all": VectorsConfig(simplify=1.0, smooth=1, minimum_pixels=6),
}


def drawn(codes: Codes, rows: int, tolerance: float, power: int) -> NDArray[np.object_]:
    """Outlines in pixel coordinates, read ``rows`` at a time and each strip's shaped at once."""
    height, width = codes.shape
    grid = Grid(None, Affine.identity(), height, width)
    vertex_index = VertexIndex(height, width, Path.cwd())
    open_regions = OpenRegions(width, vertex_index)

    def shape(found: RegionTable) -> NDArray[np.object_]:
        if not len(found):
            return np.array([], dtype=object)
        arcs = Arcs.of(found.rings.framed(grid))
        return smooth(arcs, simplify(arcs, tolerance, vertex_index), power, vertex_index).polygons(
            grid
        )

    parts = [
        shape(open_regions.add(codes[row : row + rows], codes[row : row + rows], row))
        for row in range(0, height, rows)
    ]
    return np.concatenate([*parts, shape(open_regions.finish(height))])


def enlarged(codes: Codes, factor: int) -> Codes:
    return np.kron(codes, np.ones((factor, factor), np.uint8))


def waves(size: int, long: float, high: float) -> Codes:
    """Curved borders, thin fields, islands."""
    y, x = np.indices((size, size))
    values = (np.sin(x / long + y / 7) + np.cos(y / 3)) * high
    return (np.round(values).astype(np.int64) % 4).astype(np.uint8)


def table_of_maps() -> st.SearchStrategy[Codes]:
    noise = hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 12), st.integers(1, 12)),
        elements=st.sampled_from([0, 0, 1, 1, 2, NODATA]),
        fill=st.nothing(),
    )
    curves = st.builds(waves, st.integers(4, 20), st.floats(1, 6), st.floats(0.5, 2))
    return noise | st.builds(enlarged, noise, st.integers(2, 3)) | curves


maps = table_of_maps()


@settings(max_examples=80, deadline=None)
@given(maps, st.sampled_from([0.0, 0.8, 1.0, 2.0, 6.0]), st.integers(0, 3), st.integers(1, 7))
def test_shaped_polygons_are_one_coverage(
    codes: Codes, tolerance: float, power: int, rows: int
) -> None:
    found = drawn(codes, len(codes), tolerance, power)
    assert shapely.is_valid(found).all()
    assert shapely.coverage_is_valid(found)
    assert (shapely.area(found) > 0).all()
    plain = drawn(codes, len(codes), 0, 0)
    assert len(found) == len(plain)
    if len(found):
        assert holes(found) == holes(plain), "a gap has opened or a field has closed one"
    cut = drawn(codes, rows, tolerance, power)
    assert shapely.to_wkb(cut).tolist() == shapely.to_wkb(found).tolist()


def holes(outlines: NDArray[np.object_]) -> tuple[int, int]:
    """Parts and holes of everything together."""
    parts = shapely.get_parts(shapely.coverage_union_all(outlines))
    return len(parts), int(shapely.get_num_interior_rings(parts).sum())


@settings(max_examples=60, deadline=None)
@given(maps, st.sampled_from([0.8, 1.5, 4.0]))
def test_no_border_moves_by_more_than_the_tolerance(codes: Codes, tolerance: float) -> None:
    plain, found = drawn(codes, len(codes), 0, 0), drawn(codes, len(codes), tolerance, 0)
    for before, after in zip(plain, found, strict=True):
        corners = shapely.points(shapely.get_coordinates(before))
        assert shapely.distance(corners, after.boundary).max() <= tolerance + 1e-9


def test_steps_become_straight() -> None:
    codes = np.triu(np.ones((40, 40), np.uint8))
    before, after = drawn(codes, 40, 0, 0), drawn(codes, 40, 1, 0)
    assert shapely.get_num_coordinates(before).min() > 80
    # The diagonal becomes one edge, bent at most once.
    assert shapely.get_num_coordinates(after).max() <= 7


def test_a_sliver_between_two_fields_stays() -> None:
    """Both borders of a field of one pixel's width, between the same two ends, cannot be straight."""
    codes = np.zeros((9, 9), np.uint8)
    codes[5:] = 1
    codes[4, 2:7] = 2
    found = drawn(codes, 9, 6, 0)
    assert len(found) == 3
    assert shapely.coverage_is_valid(found)
    assert (shapely.area(found) > 0).all()


@pytest.mark.parametrize("tolerance", [0.0, 8.0])
def test_a_corner_with_an_island_in_it_stays(tolerance: float) -> None:
    """Rounded off or cut, the corner of the large square would leave the island outside."""
    codes = np.zeros((40, 40), np.uint8)
    codes[10:30, 10:30] = 1
    codes[11, 11] = 2
    codes[28, 27] = NODATA
    found = drawn(codes, 40, tolerance, 3)
    assert shapely.coverage_is_valid(found)
    assert shapely.is_valid(found).all()
    whole = shapely.coverage_union_all(found)
    assert shapely.area(found).sum() == pytest.approx(whole.area)


def test_the_rim_of_the_map_stays(tmp_path: Path) -> None:
    codes, grid = blobs(83, 120), GRIDS["utm"]
    codes[codes == NODATA] = 1
    paths = write(tmp_path, codes, grid)
    found = vectorize(paths, LEGEND, [tmp_path / "m.gpkg"], Silent(), SHAPES["both"])
    assert sum(row.difference_ha or 0 for row in found.classes) == pytest.approx(0, abs=1e-3)
    table = geopandas.read_file(tmp_path / "m.gpkg", layer="crops")
    whole = shapely.coverage_union_all(table.geometry.to_numpy())
    assert whole.normalize().equals(shapely.box(*grid.bounds))


def test_a_pixel_between_the_maps_corner_and_a_neighbour_stays() -> None:
    codes = np.full((3, 3), NODATA, np.uint8)
    codes[0, 0], codes[1, 1] = 1, 2
    assert shapely.area(drawn(codes, 3, 4, 0)).tolist() == [1, 1]


def test_smooth_corners_turn_little() -> None:
    codes = np.zeros((30, 30), np.uint8)
    codes[8:22, 8:22] = 1
    island = shapely.get_exterior_ring(drawn(codes, 30, 0, 3)[0])
    x, y = np.diff(shapely.get_coordinates(island), axis=0).T
    turns = np.abs(np.diff(np.unwrap(np.arctan2(y, x))))
    assert turns.max() < np.radians(30)


@pytest.mark.parametrize("name", SHAPES)
def test_bytes_do_not_depend_on_the_strips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    paths = write(tmp_path, blobs(83, 120), GRIDS["degrees"])
    monkeypatch.setattr(polygons, "_BATCH", 1000)
    written, told = set(), set()
    for rows in (7, 20, 512):
        monkeypatch.setattr(strips, "STRIP", rows)
        files = [tmp_path / f"crops.{suffix}" for suffix in ("gpkg", "parquet", "fgb")]
        told.add(vectorize(paths, LEGEND, files, Silent(), SHAPES[name]).classes)
        written.add(tuple(file.read_bytes() for file in files))
    assert len(written) == len(told) == 1


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("place", ["utm", "none"])
def test_areas_are_reconciled(tmp_path: Path, place: str, name: str) -> None:
    codes, grid = blobs(83, 120), GRIDS[place]
    paths = write(tmp_path, codes, grid)
    found = vectorize(paths, LEGEND, [tmp_path / "m.gpkg"], Silent(), SHAPES[name], "r1")
    table = geopandas.read_file(tmp_path / "m.gpkg", layer="crops")
    assert shapely.coverage_is_valid(table.geometry.to_numpy())
    assert table["pixels"].sum() == (codes != NODATA).sum()
    assert set(table["run"]) == {"r1"}
    assert found.polygons == len(table)
    for row in found.classes:
        mine = table[table["code"] == row.code]
        assert row.polygons == len(mine)
        exact = SHAPES[name].exact
        assert (row.merged_pixels > 0) == (SHAPES[name].minimum_pixels > 0)
        if place == "none":
            assert row.raster_ha is None
            assert row.difference_ha is None
        else:
            assert row.raster_ha == pytest.approx((codes == row.code).sum() * 0.01)
            assert row.polygons_ha == pytest.approx(mine["area_ha"].sum(), abs=1e-3)
            assert row.difference_ha == pytest.approx(row.polygons_ha - row.raster_ha, abs=2e-4)
            drawn_area = mine.geometry.area.sum() / 1e4
            assert drawn_area == pytest.approx(row.polygons_ha, abs=1e-3)
        assert row.difference_percent is not None
        assert (row.difference_percent == 0) == exact


def test_merged_map_rasterizes_to_the_merged_raster(tmp_path: Path) -> None:
    codes, grid = blobs(83, 120), GRIDS["utm"]
    paths = write(tmp_path, codes, grid)
    vectorize(paths, LEGEND, [tmp_path / "m.gpkg"], Silent(), SHAPES["merged"])
    table = geopandas.read_file(tmp_path / "m.gpkg", layer="crops")
    pairs = zip(table.geometry, table["code"], strict=True)
    back = rasterize(pairs, codes.shape, fill=NODATA, transform=grid.transform, dtype="uint8")
    expected, _ = by_oracle(codes, 6)
    assert np.array_equal(back, expected)
    assert table["pixels"].min() >= 6


def regions_of(codes: Codes) -> tuple[NDArray[np.int64], list[int]]:
    """Regions in the order of their first pixels, pixel by pixel."""
    number, code = np.full(codes.shape, -1), []
    for start in zip(*np.nonzero(codes != NODATA), strict=True):
        if number[start] >= 0:
            continue
        queue = [start]
        number[start] = len(code)
        while queue:
            y, x = queue.pop()
            for place in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                inside = 0 <= place[0] < codes.shape[0] and 0 <= place[1] < codes.shape[1]
                if inside and number[place] < 0 and codes[place] == codes[start]:
                    number[place] = len(code)
                    queue.append(place)
        code.append(int(codes[start]))
    return number, code


def by_oracle(codes: Codes, limit: int) -> tuple[Codes, list[int]]:
    """The rule of the minimum mapping unit, region by region; also the classes of those merged."""
    joined: list[int] = []
    while True:
        number, code = regions_of(codes)
        size = np.bincount(number[number >= 0], minlength=len(code))
        shared: dict[int, dict[int, int]] = {}
        across = (number[:, :-1], number[:, 1:]), (number[:-1], number[1:])
        for one, other in across:
            for a, b in zip(one.ravel().tolist(), other.ravel().tolist(), strict=True):
                if a != b and a >= 0 and b >= 0:
                    for here, there in ((a, b), (b, a)):
                        row = shared.setdefault(here, {})
                        row[there] = row.get(there, 0) + 1
        onto = {k: k for k in range(len(code))}
        for k in onto:
            if size[k] < limit and k in shared:
                onto[k] = min(shared[k], key=lambda o, k=k: (-shared[k][o], code[o], o))
        ends = {k: end_of(k, onto, size) for k in onto}
        moved = [k for k in ends if ends[k] != k]
        if not moved:
            return codes, sorted(joined)
        joined += [code[k] for k in moved]
        codes = np.array([*(code[ends[k]] for k in onto), NODATA], np.uint8)[number]


def end_of(k: int, onto: dict[int, int], size: NDArray[np.int64]) -> int:
    while onto[k] != k:
        other = onto[k]
        if onto[other] == k:
            return min(k, other, key=lambda one: (-size[one], one))
        k = other
    return k


small_maps = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 10), st.integers(1, 10)),
    elements=st.sampled_from([0, 0, 1, 1, 2, NODATA]),
    fill=st.nothing(),
)


@settings(max_examples=80, deadline=None)
@given(small_maps, st.integers(1, 8), st.integers(1, 5))
def test_small_regions_join_as_the_rule_says(codes: Codes, limit: int, rows: int) -> None:
    height, width = codes.shape
    windows = list(Grid(None, Affine.identity(), height, width).windows(rows))
    grid, weights = Grid(None, Affine.identity(), height, width), np.ones(height, np.int64)

    def read(window: Window) -> Codes:
        return codes[window.row : window.row_stop]

    merged = merge_small(read, windows, grid, weights, limit, Path.cwd())
    found = np.concatenate([merged.read(window) for window in windows])
    expected, joined = by_oracle(codes, limit)
    assert np.array_equal(found, expected)
    assert np.array_equal(merged.regions, np.bincount(joined, minlength=256))
    assert np.array_equal(found == NODATA, codes == NODATA)


def test_hectares_of_a_map_that_is_nowhere(tmp_path: Path) -> None:
    paths = write(tmp_path, blobs(83, 120), GRIDS["none"])
    config = VectorsConfig(minimum_area=0.5)
    with pytest.raises(ConfigError, match=r"minimum_area is 0.5 hectares.*minimum_pixels"):
        vectorize(paths, LEGEND, [tmp_path / "m.gpkg"], Silent(), config)
    assert not (tmp_path / "m.gpkg").exists()


def test_hectares_are_of_the_ground(tmp_path: Path) -> None:
    """A pixel of the degree grid has 1.66 ha: of six pixels are 9.96 ha, of seven 11.6."""
    codes = np.zeros((83, 120), np.uint8)
    codes[40, 10:16], codes[40, 30:37] = 1, 2
    paths = write(tmp_path, codes, GRIDS["degrees"])
    config = VectorsConfig(minimum_area=10.0)
    found = vectorize(paths, LEGEND, [tmp_path / "m.gpkg"], Silent(), config)
    table = geopandas.read_file(tmp_path / "m.gpkg", layer="crops")
    assert sorted(table["pixels"]) == [7, codes.size - 7]
    assert table["area_ha"].min() == pytest.approx(11.6, abs=0.1)
    merged = {row.name: (row.merged_regions, row.merged_pixels) for row in found.classes}
    assert merged == {"crop 0": (0, 0), "crop 1": (1, 6), "crop 2": (0, 0), "crop 9": (0, 0)}


@pytest.mark.parametrize("name", ["plain", "both"])
def test_areas_and_perimeters_on_the_ellipsoid(tmp_path: Path, name: str) -> None:
    paths = write(tmp_path, blobs(83, 120), GRIDS["degrees"])
    vectorize(paths, LEGEND, [tmp_path / "m.gpkg"], Silent(), SHAPES[name])
    table = geopandas.read_file(tmp_path / "m.gpkg", layer="crops")
    geod = Geod(ellps="WGS84")
    for row in table.sort_values("pixels").tail(20).itertuples():
        area, _ = geod.geometry_area_perimeter(row.geometry)
        # The ellipsoid's shortest lines are not quite the parallels along which the pixels lie.
        assert row.area_m2 == pytest.approx(abs(area), rel=1e-4)
        around = geod.geometry_length(row.geometry.boundary)
        assert row.perimeter_m == pytest.approx(around, rel=2e-5)


def test_the_command_line_names_what_moved(tmp_path: Path) -> None:
    codes, grid = blobs(83, 120), GRIDS["utm"]
    write(tmp_path, codes, grid)
    tags = ((LEGEND_TAG, legend_tag(LEGEND)), ("GEOSEG_RUN", "run 7"))
    spec = geotiffs.RasterSpec("uint8", nodata=NODATA, tags=tags)
    with geotiffs.create(tmp_path / "m_class.tif", grid, spec) as writer:
        writer.write(codes, grid.window)
    target = tmp_path / "fields.parquet"
    options = ["-o", str(target), "--simplify", "1", "--minimum-pixels", "6"]
    done = CliRunner().invoke(app, ["vectorize", str(tmp_path / "m_class.tif"), *options])
    assert done.exit_code == 0, done.output
    table = geopandas.read_parquet(target)
    assert f"fields.parquet ({len(table)})" in done.output
    assert re.search(r"crop 9: [0-9.]+ ha, [+-][0-9.]+ ha \([+-][0-9.]+ %\)", done.output)
    assert set(table["run"]) == {"run 7"}
    assert table["pixels"].min() >= 6


@given(
    hnp.arrays(np.int32, st.just((5, 9)), elements=st.integers(-1, 3)),
    hnp.arrays(np.uint8, st.just((5, 9)), elements=st.integers(0, 100)),
    st.integers(1, 4),
)
def test_percentiles_are_exact(
    places: NDArray[np.int32], values: NDArray[np.uint8], cut: int
) -> None:
    present, numbered = np.unique(places[places >= 0], return_inverse=True)
    places = places.copy()
    places[places >= 0] = numbered
    upper, lower = (
        ConfidenceHistogram.of(places[:cut], values[:cut]),
        ConfidenceHistogram.of(places[cut:], values[cut:]),
    )
    histogram = upper.concat(lower, 0).joined(np.arange(len(present), dtype=np.int32))
    found = histogram.percentiles(len(present), 10), histogram.means(len(present))
    for region in range(len(present)):
        mine = values[places == region]
        assert found[0][region] == np.percentile(mine, 10, method="inverted_cdf")
        assert found[1][region] == pytest.approx(mine.mean())
