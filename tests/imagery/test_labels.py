"""Labels from polygons: the same whatever the window, or one clear message."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from shapely.geometry import Point, Polygon, box

from geoseg.config import LabelsConfig
from geoseg.errors import GeosegError, LabelError
from geoseg.grid import Grid, Window
from geoseg.imagery.labels import Labels, open_labels
from geoseg.io.raster import rasters
from geoseg.legend import UNKNOWN, Legend, LegendClass

LEGEND = Legend(
    (
        LegendClass(7, "wheat", "#ff0000"),
        LegendClass(3, "maize", "#00ff00"),
        LegendClass(0, "other", "#0000ff"),
    )
)


def write_polygons(
    path: Path, shapes: list[Any], crops: list[Any], crs: str | None = "EPSG:32633"
) -> Path:
    frame = geopandas.GeoDataFrame(
        {"crop": crops, "n": range(len(crops))}, geometry=shapes, crs=crs
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame.to_file(path)
    return path


def square(col: float, row: float, side: float = 4) -> Polygon:
    """In pixels of ``tiny_grid``, whose upper left corner is at 500000, 5100000."""
    left, top = 500_000 + 10 * col, 5_100_000 - 10 * row
    return box(left, top - 10 * side, left + 10 * side, top)


def read_all(labels: Labels, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    return labels.read(grid.window)


def test_polygons(tmp_path: Path, tiny_grid: Grid) -> None:
    """The pixel belongs to the polygon that holds its centre, to the later one of two."""
    shapes = [square(2, 3), square(10, 10), square(12, 12), square(47.6, 0)]
    path = write_polygons(tmp_path / "x.gpkg", shapes, ["maize", "wheat", "other", "wheat"])
    indices, fields = read_all(open_labels(LabelsConfig(file=path), tiny_grid, LEGEND), tiny_grid)
    expected = np.zeros((40, 48), dtype=np.int32)
    expected[3:7, 2:6] = 1
    expected[10:14, 10:14] = 2
    expected[12:16, 12:16] = 3
    np.testing.assert_array_equal(fields, expected)  # of the fourth, no centre is inside
    np.testing.assert_array_equal(indices, np.array([UNKNOWN, 1, 0, 2])[expected])
    assert (indices.dtype, fields.dtype) == (np.int16, np.int32)


def test_polygons_in_another_crs(tmp_path: Path, tiny_grid: Grid) -> None:
    shapes = geopandas.GeoSeries([square(2.1, 3.1), square(20.1, 20.1)], crs="EPSG:32633")
    near = write_polygons(tmp_path / "a.gpkg", list(shapes), ["maize", "wheat"])
    far = write_polygons(
        tmp_path / "b.gpkg", list(shapes.to_crs("EPSG:3035")), ["maize", "wheat"], "EPSG:3035"
    )
    one, other = (
        read_all(open_labels(LabelsConfig(file=path), tiny_grid, LEGEND), tiny_grid)
        for path in (near, far)
    )
    np.testing.assert_array_equal(one, other)
    assert (one[0] == 1).sum() == 16


@pytest.mark.parametrize(
    ("crops", "ignore"),
    [
        (["wheat", "barley", None], ("barley",)),
        ([7, 99, None], (99,)),
        ([7.0, 99.0, np.nan], (99,)),
        ([7.0, 99.0, np.nan], ("99",)),
        (["7", "99", None], (99,)),
    ],
)
def test_names_or_codes_and_what_to_ignore(
    tmp_path: Path, tiny_grid: Grid, crops: list[Any], ignore: tuple[Any, ...]
) -> None:
    shapes = [square(2, 3), square(10, 10), square(20, 20)]
    path = write_polygons(tmp_path / "x.gpkg", shapes, crops)
    labels = open_labels(LabelsConfig(file=path, ignore=ignore), tiny_grid, LEGEND)
    indices, fields = read_all(labels, tiny_grid)
    assert (indices == 0).sum() == 16
    assert (indices >= 0).sum() == 16
    assert set(np.unique(fields)) == {0, 1}


def test_a_country_of_polygons(tmp_path: Path, tiny_grid: Grid) -> None:
    """Those elsewhere matter not: neither their crops nor their place on the globe."""
    shapes = [square(2, 3), square(9000, 9000), box(-70, -80, -60, -70)]
    geographic = geopandas.GeoSeries(shapes[:2], crs="EPSG:32633").to_crs("EPSG:4326")
    path = write_polygons(
        tmp_path / "x.gpkg", [*geographic, shapes[2]], ["wheat", "rice", "krill"], "EPSG:4326"
    )
    indices, fields = read_all(open_labels(LabelsConfig(file=path), tiny_grid, LEGEND), tiny_grid)
    assert (indices == 0).sum() > 0
    assert set(np.unique(fields)) == {0, 1}


def test_multipolygons_holes_and_bow_ties(tmp_path: Path, tiny_grid: Grid) -> None:
    holed = square(2, 2, 9).difference(square(4, 4, 3))
    parts = shapely.MultiPolygon([square(20, 2), square(30, 2)])
    corners = [(20, 10), (30, 20), (30, 10), (20, 20)]
    bow_tie = Polygon([(500_000 + 10 * col, 5_100_000 - 10 * row) for col, row in corners])
    path = write_polygons(tmp_path / "x.gpkg", [holed, parts, bow_tie], ["wheat", "maize", "other"])
    indices, fields = read_all(open_labels(LabelsConfig(file=path), tiny_grid, LEGEND), tiny_grid)
    assert (fields == 1).sum() == 81 - 9
    assert (fields == 2).sum() == 32
    assert (indices[10:20, 20:30] == 2).sum() > 20


@pytest.mark.parametrize(
    ("crop", "change", "message"),
    [
        ("rye", {}, r"not in the legend: rye \(it has wheat, maize, other\).*labels\.ignore"),
        (4, {}, "not in the legend: 4 "),
        (7.5, {}, r"not in the legend: 7\.5 "),
        ("wheat", {"attribute": "kind"}, "no column 'kind'; it has: crop, n"),
        ("wheat", {"layer": "y"}, "no layer 'y'"),
        (None, {}, "no polygon with a 'crop' meets the imagery"),
        ("wheat", {"ignore": ("wheat",)}, "no polygon with a 'crop' meets the imagery"),
    ],
)
def test_mistakes_in_names(
    tmp_path: Path, tiny_grid: Grid, crop: object, change: dict[str, Any], message: str
) -> None:
    path = write_polygons(tmp_path / "x.gpkg", [square(2, 2)], [crop])
    with pytest.raises(LabelError, match=rf"x\.gpkg: .*{message}"):
        open_labels(LabelsConfig(file=path, **change), tiny_grid, LEGEND)


def test_all_strange_names_at_once(tmp_path: Path, tiny_grid: Grid) -> None:
    names = [f"c{i:02d}" for i in range(13)]
    path = write_polygons(tmp_path / "x.gpkg", [square(2, 2)] * 13, names)
    with pytest.raises(
        LabelError, match=r"not in the legend: c00, c01, .*, c09 and 3 more \(it has"
    ):
        open_labels(LabelsConfig(file=path), tiny_grid, LEGEND)


@pytest.mark.parametrize(
    ("shape", "crs", "message"),
    [
        (square(2, 2), None, "no coordinate reference system.*a_srs"),
        (square(900, 2), "EPSG:32633", "no polygon with a 'crop' meets the imagery; check"),
        (square(2, 2), "EPSG:32634", "no polygon with a 'crop' meets the imagery; check"),
        (Point(500_010, 5_099_900), "EPSG:32633", "no polygon; labels are areas, not points"),
    ],
)
def test_mistakes_in_places(
    tmp_path: Path, tiny_grid: Grid, shape: Any, crs: str | None, message: str
) -> None:
    path = write_polygons(tmp_path / "x.gpkg", [shape], ["wheat"], crs)
    with pytest.raises(LabelError, match=rf"x\.gpkg: .*{message}"):
        open_labels(LabelsConfig(file=path), tiny_grid, LEGEND)


def test_files_that_are_no_labels(tmp_path: Path, tiny_grid: Grid, data: Path) -> None:
    def message(path: Path) -> str:
        with pytest.raises(GeosegError) as caught:
            open_labels(LabelsConfig(file=path), tiny_grid, LEGEND)
        assert path.name in str(caught.value)
        return str(caught.value)

    assert "no such file; check 'labels.file'" in message(tmp_path / "none.gpkg")
    (tmp_path / "text.gpkg").write_text("hello")
    assert "cannot be read as a vector file" in message(tmp_path / "text.gpkg")
    (tmp_path / "text.tif").write_text("hello")
    assert "cannot be read as a raster" in message(tmp_path / "text.tif")
    assert "layers with geometry" in message(data / "sinop_modis_jp2/samples_sinop_crop.csv")


def test_a_column_of_dates_names_no_class(data: Path) -> None:
    folder = data / "uzbekistan_ndvi_fields"
    grid = rasters.describe(folder / "ndvi.tif").grid
    config = LabelsConfig(file=folder / "fields.gpkg", attribute="date")
    with pytest.raises(LabelError, match=r"fields\.gpkg: not in the legend: "):
        open_labels(config, grid, LEGEND)


def test_imagery_without_a_place(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "x.gpkg", [square(2, 2)], ["wheat"])
    grid = Grid(None, Affine.identity(), 40, 48)
    with pytest.raises(LabelError, match="imagery without a CRS; give the labels as a raster"):
        open_labels(LabelsConfig(file=path), grid, LEGEND)


def test_real_fields_against_their_raster(data: Path) -> None:
    """The labels in the data's folder were burnt by pixel centre with another program."""
    folder = data / "uzbekistan_ndvi_fields"
    grid = rasters.describe(folder / "ndvi.tif").grid
    legend = Legend(
        tuple(
            LegendClass(code, name, "#000000")
            for code, name in ((1, "bare land"), (2, "cotton"), (3, "wheat"))
        )
    )
    config = LabelsConfig(file=folder / "fields.gpkg", attribute="crop")
    indices, fields = read_all(open_labels(config, grid, legend), grid)
    codes, _ = rasters.read(folder / "labels.tif", [1], grid.window)
    np.testing.assert_array_equal(np.where(indices == UNKNOWN, 0, indices + 1), codes[0])
    ids, _ = rasters.read(folder / "field_ids.tif", [1], grid.window)
    pairs = {(a, b) for a, b in zip(fields.ravel(), ids.ravel(), strict=True)}
    assert len(pairs) == 36


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> tuple[Labels, Grid]:
    """Polygons whose edges run through pixel centres, on a grid of crooked numbers."""
    transform = Affine(9.9948, 0.31, 465181.0522, -0.27, -9.9974, 5080254.633)
    grid = Grid("EPSG:32633", transform, 300, 560)
    rng = np.random.default_rng(0)
    shapes = []
    while len(shapes) < 300:
        points = (rng.integers(-40, 40, (5, 2)) + rng.integers(0, 560, 2)) + 0.5
        hull = shapely.convex_hull(shapely.MultiPoint([transform @ tuple(p) for p in points]))
        if isinstance(hull, Polygon):
            shapes.append(hull)
    path = tmp_path_factory.mktemp("edges") / "x.gpkg"
    write_polygons(path, shapes, rng.choice(["wheat", "maize"], len(shapes)).tolist())
    return open_labels(LabelsConfig(file=path), grid, LEGEND), grid


def test_any_window_is_a_part_of_the_whole(edges: tuple[Labels, Grid]) -> None:
    labels, grid = edges
    whole = read_all(labels, grid)
    assert len(np.unique(whole[1])) > 150

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 299), st.integers(0, 559), st.integers(1, 300), st.integers(1, 300))
    def check(row: int, col: int, height: int, width: int) -> None:
        window = Window(row, col, height, width).clip(grid.window)
        for part, full in zip(labels.read(window), whole, strict=True):
            np.testing.assert_array_equal(part, full[window.within(grid.window)])

    check()


def test_centres_decide(edges: tuple[Labels, Grid]) -> None:
    """Against another program's point in polygon, wherever a centre is not on an edge."""
    labels, grid = edges
    _, fields = read_all(labels, grid)
    rng = np.random.default_rng(1)
    shapes = labels.shapes  # type: ignore[attr-defined]
    for row, col in zip(rng.integers(0, 300, 80), rng.integers(0, 560, 80), strict=True):
        centre = grid.transform @ (col + 0.5, row + 0.5)
        near = [i for i, shape in enumerate(shapes) if shape.distance(Point(centre)) < 1e-6]
        if any(shapes[i].boundary.distance(Point(centre)) < 1e-6 for i in near):
            continue
        inside = [
            i for i, s in enumerate(shapes) if Outline(s.exterior.coords).contains_point(centre)
        ]
        assert fields[row, col] == (inside[-1] + 1 if inside else 0)
