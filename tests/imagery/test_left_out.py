"""Polygons of labels that are left out or changed: counted by reason, with the first of them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from shapely.geometry import GeometryCollection, LineString, Point, Polygon, box

from geoseg.config import LabelsConfig
from geoseg.errors import LabelError
from geoseg.grid import Grid
from geoseg.imagery.labels import Labels, left_out_lines, open_labels
from geoseg.io.raster import rasters
from geoseg.legend import Legend, LegendClass
from geoseg.product.report.findings import findings
from geoseg.product.report.write import render, render_markdown

LEGEND = Legend((LegendClass(1, "wheat", "#ff0000"), LegendClass(2, "maize", "#00ff00")))
LOCAL = 'LOCAL_CS["a drawing",UNIT["metre",1]]'

Geoseg = Callable[..., tuple[int, str, str]]


def square(col: float, row: float, side: float = 4) -> Polygon:
    """In pixels of ``tiny_grid``, whose upper left corner is at 500000, 5100000."""
    left, top = 500_000 + 10 * col, 5_100_000 - 10 * row
    return box(left, top - 10 * side, left + 10 * side, top)


def line(col: float, row: float) -> LineString:
    return LineString(square(col, row).exterior.coords[:2])


def write(path: Path, shapes: list[Any], crops: list[Any], crs: str = "EPSG:32633") -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        geopandas.GeoDataFrame({"crop": crops}, geometry=shapes, crs=crs).to_file(path)
    return path


def labels(path: Path, grid: Grid, **more: Any) -> Labels:
    return open_labels(LabelsConfig(file=path, **more), grid, LEGEND)


def told(found: Labels) -> dict[str, tuple[int, int, str]]:
    """First words of each reason to rows, first row and name."""
    return {each.reason[:14]: (each.rows, each.row, each.name) for each in found.left_out}


def pixels(found: Labels, grid: Grid) -> dict[int, int]:
    """Pixels by field."""
    fields, counts = np.unique(found.read(grid.window)[1], return_counts=True)
    return dict(zip(fields.tolist(), counts.tolist(), strict=True))


def test_every_row_is_a_field_or_has_its_reason(tmp_path: Path, tiny_grid: Grid) -> None:
    bow = [(500_300, 5_099_900), (500_400, 5_099_800), (500_400, 5_099_900), (500_300, 5_099_800)]
    rows: list[tuple[Any, Any]] = [
        (square(1, 1), "wheat"),
        (None, "wheat"),
        (Polygon(), "maize"),
        (line(3, 3), "wheat"),
        (Point(500_010, 5_099_000), "maize"),
        (square(10, 1), None),
        (square(10, 1), "  "),
        (square(20, 1), "road"),
        (square(900, 1), "rye"),
        (Polygon(bow), "maize"),
        (square(5.1, 20.1, 0.2), "maize"),
    ]
    path = write(tmp_path / "x.gpkg", *map(list, zip(*rows, strict=True)))
    found = labels(path, tiny_grid, ignore=("road",))
    assert told(found) == {
        "no geometry, a": (2, 2, "wheat"),
        "no polygon: po": (2, 4, "wheat"),
        "no name": (2, 6, ""),
        "named in label": (1, 8, "road"),
        "outside the im": (1, 9, "rye"),
        "an invalid geo": (1, 10, "maize"),
        "no centre of a": (1, 11, "maize"),
    }
    gone = sum(each.rows for each in found.left_out if not each.used)
    fields = pixels(found, tiny_grid)
    assert gone + len(fields) - 1 == len(rows)
    assert 30 <= fields[2] <= 70, "both halves of the bow tie, of 50 pixels"
    assert next(left_out_lines(path, found.left_out)) == (
        "x.gpkg: 2 rows left out: no geometry, an empty one, or one that cannot be read "
        "(first row 2, 'wheat')"
    )


def test_nothing_left_out_is_nothing_told(tmp_path: Path, tiny_grid: Grid) -> None:
    path = write(tmp_path / "x.gpkg", [square(1, 1), square(5, 1)], ["wheat", "maize"])
    assert labels(path, tiny_grid).left_out == ()


@pytest.mark.parametrize("deep", [False, True])
def test_polygons_of_a_collection_are_labels(tmp_path: Path, tiny_grid: Grid, deep: bool) -> None:
    inner = GeometryCollection([square(1, 1), shapely.MultiPolygon([square(10, 1)]), line(2, 2)])
    whole = GeometryCollection([inner, Point(500_300, 5_099_900)]) if deep else inner
    lines = GeometryCollection([line(1, 1), line(5, 5)])
    path = write(tmp_path / "x.gpkg", [whole, lines], ["wheat", "maize"])
    found = labels(path, tiny_grid)
    assert pixels(found, tiny_grid) == {0: 40 * 48 - 32, 1: 32}
    assert told(found) == {"a collection, ": (1, 1, "wheat"), "no polygon: po": (1, 2, "maize")}


def test_overlaps_by_pixels(tmp_path: Path, tiny_grid: Grid) -> None:
    """Of three on each other the two below lose pixels; one below another is gone."""
    shapes = [square(1, 1, 6), square(3, 1, 6), square(5, 1, 6), square(20, 20, 2)]
    shapes += [square(19, 19, 5), square(30, 1, 4), square(34, 1, 4), square(33.9, 1, 0.3)]
    path = write(tmp_path / "x.gpkg", shapes, ["wheat"] * len(shapes))
    found = labels(path, tiny_grid)
    assert told(found) == {
        "overlapped by ": (2, 1, "wheat"),
        "covered by lat": (1, 4, "wheat"),
        "no centre of a": (1, 8, "wheat"),
    }
    assert pixels(found, tiny_grid) == {0: 40 * 48 - 117, 1: 12, 2: 12, 3: 36, 5: 25, 6: 16, 7: 16}


def test_a_polygon_as_large_as_the_world(tmp_path: Path, tiny_grid: Grid) -> None:
    """UTM has no place for most of the Earth: the part on the imagery is whole all the same."""
    near = geopandas.GeoSeries([square(1, 1)], crs="EPSG:32633").to_crs("EPSG:4326")[0]
    world = box(-180, -90, 180, 90)
    path = write(tmp_path / "x.gpkg", [world, near], ["wheat", "maize"], "EPSG:4326")
    found = labels(path, tiny_grid)
    assert pixels(found, tiny_grid) == {1: 40 * 48 - 16, 2: 16}
    assert told(found)["reaching far b"] == (1, 1, "wheat")


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:3035"])
def test_a_band_across_the_imagery_and_beyond(tmp_path: Path, tiny_grid: Grid, crs: str) -> None:
    """From pole to pole in degrees, on other projections; its edges are meridians."""
    middle = geopandas.GeoSeries([square(24, 20, 0.1)], crs="EPSG:32633").to_crs(crs)[0].centroid
    grid = Grid(crs, Affine(10, 0, middle.x - 200, 0, -10, middle.y + 200), 40, 40)
    lon = geopandas.GeoSeries([middle], crs=crs).to_crs("EPSG:4326")[0].x
    path = write(tmp_path / "x.gpkg", [box(-180, -90, lon, 90)], ["wheat"], "EPSG:4326")
    assert pixels(labels(path, grid), grid)[1] == pytest.approx(800, abs=45)


def test_what_cannot_be_carried_is_told(tmp_path: Path) -> None:
    """The Earth as seen from space: beyond its rim there is nothing."""
    grid = Grid("EPSG:4326", Affine(0.5, 0, -180, 0, -0.5, 85), 340, 720)
    rim = box(-7e6, -1e5, 0, 1e5)
    path = tmp_path / "x.gpkg"
    write(
        path,
        [box(-1e6, -1e6, 1e6, 1e6), rim],
        ["wheat", "maize"],
        "+proj=ortho +lat_0=45 +lon_0=15",
    )
    found = labels(path, grid)
    assert told(found) == {"beyond what th": (1, 2, "maize")}
    assert set(pixels(found, grid)) == {0, 1}


def test_a_strip_wider_than_utm_is_not_made_shorter(tmp_path: Path) -> None:
    grid = Grid("EPSG:4326", Affine(0.5, 0, -180, 0, -0.5, 85), 340, 720)
    path = write(tmp_path / "x.gpkg", [box(-2e7, 5e6, 2e7, 5.2e6)], ["wheat"], "EPSG:32633")
    with pytest.raises(
        LabelError, match="1 row left out: beyond what the imagery's CRS has a place"
    ):
        labels(path, grid)


@pytest.mark.parametrize(("mine", "theirs"), [("EPSG:32633", LOCAL), (LOCAL, "EPSG:32633")])
def test_no_way_between_two_crs(tmp_path: Path, tiny_grid: Grid, mine: str, theirs: str) -> None:
    path = write(tmp_path / "x.gpkg", [square(1, 1)], ["wheat"], mine)
    grid = Grid(theirs, tiny_grid.transform, tiny_grid.height, tiny_grid.width)
    with pytest.raises(LabelError, match=r"x\.gpkg: its CRS cannot be turned into the imagery's"):
        labels(path, grid)


def test_labels_of_a_drawing_on_its_imagery(tmp_path: Path, tiny_grid: Grid) -> None:
    path = write(tmp_path / "x.gpkg", [square(1, 1)], ["wheat"], LOCAL)
    grid = Grid(LOCAL, tiny_grid.transform, tiny_grid.height, tiny_grid.width)
    assert pixels(labels(path, grid), grid)[1] == 16


def test_a_geometry_that_is_none(tmp_path: Path, tiny_grid: Grid) -> None:
    """A ring of two points, which no reader can make a polygon of."""
    path = write(tmp_path / "x.geojson", [square(1, 1), square(9, 9)], ["wheat", "maize"])
    content = json.loads(path.read_text())
    content["features"][1]["geometry"]["coordinates"] = [
        [[500_010, 5_099_990], [500_020, 5_099_980]]
    ]
    path.write_text(json.dumps(content))
    assert told(labels(path, tiny_grid)) == {"no geometry, a": (1, 2, "maize")}


def test_inspect_and_report_tell_it(
    tmp_path: Path, season: Path, geoseg: Geoseg, tiny_grid: Grid
) -> None:
    shapes = [square(1, 1), square(10, 10), None, line(3, 3), square(20, 1), square(20, 10)]
    write(tmp_path / "x.gpkg", shapes, ["wheat", "maize", "maize", "wheat", "wheat", "maize"])
    (tmp_path / "c.yaml").write_text(
        f"name: m\nimagery: {{folder: {season}}}\nlabels: {{file: x.gpkg}}\n"
        "legend: [{code: 1, name: wheat}, {code: 2, name: maize}]\n"
        "split: {by: field, validation: 0.5}\ntrain: {patch: 32}\nmodel: {depth: 3}\n"
    )
    code, out, _ = geoseg("inspect", str(tmp_path / "c.yaml"))
    assert code == 0
    assert "note: x.gpkg: 1 row left out: no polygon: points or lines (row 4, 'wheat')" in out
    found = labels(tmp_path / "x.gpkg", tiny_grid)
    content = {
        "name": "m",
        "labels": {"file": "x.gpkg", "left_out": [asdict(e) for e in found.left_out]},
    }
    plain = {**content, "findings": findings(content), "summary": [], "citation": None}
    text = "1 row(s) of x.gpkg: no polygon: points or lines (first row 4, wheat)."
    assert text in [item["text"] for item in plain["findings"]]
    for page in (render_markdown(plain), render(plain, None)):
        assert "Labels left out" in page


def test_layers_are_as_they_were(tmp_path: Path, tiny_grid: Grid) -> None:
    """The row that is told is the row of the file, whatever came before it."""
    path = write(
        tmp_path / "x.gpkg", [square(900, 1)] * 6 + [line(1, 1), square(1, 1)], ["wheat"] * 8
    )
    assert told(labels(path, tiny_grid))["no polygon: po"] == (1, 7, "wheat")
    assert pyogrio.read_info(path)["features"] == 8


def test_real_fields_beyond_their_imagery(data: Path) -> None:
    """98 fields, 24 of them in a window without imagery, and a row without geometry (its README)."""
    folder = data / "flanders_fields_s2"
    grid = rasters.describe(next(folder.glob("*.tif"))).grid
    legend = Legend((LegendClass(1, "field", "#ff0000"), LegendClass(2, "other", "#00ff00")))
    config = LabelsConfig(file=folder / "fields.gpkg", attribute="label_name")
    found = open_labels(config, grid, legend)
    rows = {name: told(found)[name][0] for name in ("no geometry, a", "outside the im")}
    assert rows == {"no geometry, a": 1, "outside the im": 24}
    assert (found.read(grid.window)[0] == 0).sum() == 12061


def test_inspect_tells_of_labels_that_no_split_can_part(
    tmp_path: Path, season: Path, geoseg: Geoseg
) -> None:
    """One field of each class: labelling is under way, which is told and is no mistake."""
    write(tmp_path / "x.gpkg", [square(1, 1), square(10, 10)], ["wheat", "maize"])
    (tmp_path / "c.yaml").write_text(
        f"name: m\nimagery: {{folder: {season}}}\nlabels: {{file: x.gpkg}}\n"
        "legend: [{code: 1, name: wheat}, {code: 2, name: maize}]\n"
        "split: {by: field, validation: 0.5}\ntrain: {patch: 32}\nmodel: {depth: 3}\n"
    )
    code, out, _ = geoseg("inspect", str(tmp_path / "c.yaml"))
    assert code == 0
    assert "note: a run would end before it trains: no labelled pixel is left for" in out
