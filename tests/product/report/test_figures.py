"""What the report draws and counts: confidence, clear shares, pictures, places on the ground."""

from __future__ import annotations

import datetime as dt
import io
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from geoseg.grid import Grid
from geoseg.imagery.scenes import Asset, Mask, Scene
from geoseg.imagery.survey import clear_shares
from geoseg.io.raster import geotiffs, rasters
from geoseg.legend import NODATA, Legend, LegendClass
from geoseg.product import confidence_stats as certainties
from geoseg.product.areas import pixel_area
from geoseg.product.charts import histogram, timeline
from geoseg.product.confidence_stats import LOW, ConfidenceStats, confidence_stats
from geoseg.product.map_frame import MapFrame
from geoseg.product.pictures import RAMP, map_pictures

LEGEND = Legend((LegendClass(3, "wheat", "#e6b800"), LegendClass(7, "maize", "#0072b2")))
UTM = Grid("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_100_000), 300, 700)
DEGREES = Grid("EPSG:4326", Affine(0.001, 0, 20, 0, -0.03, 69), 300, 200)
NOWHERE = Grid(None, Affine.identity(), 60, 50)


def write(path: Path, values: NDArray[np.uint8], grid: Grid, nodata: int | None = NODATA) -> Path:
    with geotiffs.create(path, grid, geotiffs.RasterSpec("uint8", nodata=nodata)) as target:
        target.write(values, grid.window)
    return path


def noise(grid: Grid) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(1)
    codes = rng.choice([3, 7, NODATA], grid.window.shape, p=[0.5, 0.3, 0.2]).astype(np.uint8)
    percent = rng.integers(30, 101, codes.shape).astype(np.uint8)
    percent[codes == NODATA] = NODATA
    return codes, percent


def measure(
    folder: Path, codes: NDArray[np.uint8], percent: NDArray[np.uint8], grid: Grid
) -> ConfidenceStats:
    paths = write(folder / "c.tif", codes, grid), write(folder / "p.tif", percent, grid)
    return confidence_stats(*paths, LEGEND)


@pytest.mark.parametrize("grid", [UTM, DEGREES, NOWHERE])
def test_confidence_is_weighted_by_area(tmp_path: Path, grid: Grid) -> None:
    codes, percent = noise(grid)
    found = measure(tmp_path, codes, percent, grid)
    area = pixel_area(rasters.describe(tmp_path / "c.tif").grid)
    weights = np.ones(codes.shape) if area is None else np.broadcast_to(area[:, None], codes.shape)
    for entry, own in zip(LEGEND, found.classes, strict=True):
        here = codes == entry.code
        values, share = percent[here], weights[here] / weights[here].sum()
        assert own.mean == pytest.approx(float(values @ share))
        assert own.low_share == pytest.approx(share[values < LOW].sum())
        assert share[values < own.p10].sum() < 0.1 <= share[values <= own.p10].sum() + 1e-9
    mapped = codes != NODATA
    assert sum(found.histogram) == pytest.approx(1)
    assert found.histogram[60] == pytest.approx(
        weights[mapped & (percent == 60)].sum() / weights[mapped].sum()
    )


def test_places_of_low_confidence_are_found_where_they_are(tmp_path: Path) -> None:
    codes = np.full(UTM.window.shape, 3, np.uint8)
    percent = np.full(codes.shape, 90, np.uint8)
    percent[30:60, 300:360] = 20
    percent[200:209, 99:120] = 49
    percent[::17, ::19] = 10  # scattered pixels are no place
    found = measure(tmp_path, codes, percent, UTM)
    assert found.cell == 3
    first, second = found.places
    assert (first.row, first.col) == pytest.approx((45, 330), abs=1)
    assert first.pixels >= 1800
    assert first.hectares == pytest.approx(first.pixels / 100)
    assert (second.row, second.col) == pytest.approx((204.5, 109.5), abs=1)
    spot = MapFrame(UTM).spot(first.col, first.row)
    assert (first.lon, first.lat) == (spot.lon, spot.lat)


def test_a_wide_map_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, percent = noise(UTM)
    percent[30:60, 250:360] = 20
    whole = measure(tmp_path, codes, percent, UTM)
    monkeypatch.setattr(certainties, "ACROSS", 101)
    parts = measure(tmp_path, codes, percent, UTM)
    assert parts.places == whole.places != ()
    assert parts.histogram == pytest.approx(whole.histogram)
    assert [c.p10 for c in parts.classes] == [c.p10 for c in whole.classes]


def test_a_map_without_pixels_has_no_confidence(tmp_path: Path) -> None:
    empty = np.full(NOWHERE.window.shape, NODATA, np.uint8)
    found = measure(tmp_path, empty, empty, NOWHERE)
    assert (found.mean, found.p10, found.low_share, found.places) == (None, None, 0.0, ())


def open_picture(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def test_pictures_hold_the_legends_colours_and_no_data_is_clear(tmp_path: Path) -> None:
    codes, percent = noise(UTM)
    paths = write(tmp_path / "c.tif", codes, UTM), write(tmp_path / "p.tif", percent, UTM)
    found = map_pictures(*paths, LEGEND)
    drawn = open_picture(found.classes)
    assert drawn.shape == (*codes.shape, 4)
    for entry in LEGEND:
        assert ((drawn == (*entry.rgb, 255)).all(axis=-1) == (codes == entry.code)).all()
    sure = open_picture(found.confidence)
    assert ((sure[..., 3] == 0) == (codes == NODATA)).all()
    step = int(RAMP[95][1:], 16)
    dark = (sure[..., :3] == (step >> 16, step >> 8 & 255, step & 255)).all(axis=-1)
    assert (dark == ((percent >= 95) & (codes != NODATA))).all()


def test_a_picture_of_noise_keeps_within_its_room(tmp_path: Path) -> None:
    codes, percent = noise(UTM)
    paths = write(tmp_path / "c.tif", codes, UTM), write(tmp_path / "p.tif", percent, UTM)
    small = map_pictures(*paths, LEGEND, room=5_000)
    assert max(len(small.classes), len(small.confidence)) <= 5_000
    assert min(open_picture(small.classes).shape[:2]) > 20


def scene(folder: Path, grid: Grid, clouds: NDArray[np.uint8], name: str) -> Scene:
    image = write(folder / f"{name}.tif", np.ones(grid.window.shape, np.uint8), grid)
    mask = write(folder / f"{name}_mask.tif", clouds, grid, nodata=None)
    return Scene(name, None, grid, (Asset("b", image, 1),), Mask(mask, (1,)))


def test_clear_shares_are_counts_where_all_is_read(tmp_path: Path) -> None:
    clouds = (np.random.default_rng(0).random(UTM.window.shape) < 0.3).astype(np.uint8)
    found = clear_shares([scene(tmp_path, UTM, clouds, "a"), scene(tmp_path, UTM, 1 - clouds, "b")])
    assert found.read == 1
    assert found.shares == (1 - clouds.mean(), clouds.mean())


def test_clear_shares_are_estimates_where_a_part_is_read(tmp_path: Path) -> None:
    grid = Grid(None, Affine.identity(), 2100, 2300)
    clouds = np.zeros(grid.window.shape, np.uint8)
    clouds[:, :1000] = 1
    found = clear_shares([scene(tmp_path, grid, clouds, "a")], values=grid.window.size // 3)
    assert 0.15 < found.read < 0.35
    assert found.shares[0] == pytest.approx(1 - 1000 / 2300, abs=0.1)


def test_the_timeline_puts_images_on_their_days() -> None:
    days = ("2024-01-01", "2024-02-01", "2024-07-01")
    chart = timeline([{"id": d, "date": d, "clear_share": 0.4} for d in days], 45)
    assert chart is not None
    assert [tick.text for tick in chart.across] == ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul"]
    assert [tick.more for tick in chart.across if tick.more] == ["2024"]
    at = {tick.text: tick.at for tick in chart.across}
    for bar, month in zip(chart.bars, ("Jan", "Feb", "Jul"), strict=True):
        assert bar.left + bar.wide / 2 == pytest.approx(at[month], abs=bar.wide)
        assert bar.high == 40
    (gap,) = chart.gaps
    assert gap.text == "151 days"
    assert at["Feb"] < gap.left < gap.left + gap.wide < at["Jul"]
    assert timeline([{"id": "x", "date": None}], 45) is None


@given(st.lists(st.dates(dt.date(1972, 1, 1), dt.date(2972, 1, 1)), min_size=1, max_size=50))
@settings(max_examples=60, deadline=None)
def test_any_timeline_stays_on_its_paper(dates: list[dt.date]) -> None:
    chart = timeline([{"id": "x", "date": str(date)} for date in dates], 45)
    assert chart is not None
    assert 1 <= len(chart.across) <= 24
    for bar in (*chart.bars, *chart.gaps):
        assert 0 <= bar.left <= bar.left + bar.wide <= 100 + 1e-6


def test_the_histogram_adds_up() -> None:
    shares = np.random.default_rng(0).dirichlet(np.ones(101))
    chart = histogram(shares.tolist())
    top = float(chart.up[-1].text.rstrip(" %")) / 100
    assert sum(bar.high for bar in chart.bars) / 100 * top == pytest.approx(1, abs=1e-3)
    assert max(bar.high for bar in chart.bars) <= 100
    assert chart.bars[-1].high / 100 * top == pytest.approx(shares[95:].sum(), abs=1e-3)
    assert chart.bars[0].color == RAMP[0]
    assert chart.bars[-1].color == RAMP[95]


def test_north_turns_with_the_grid() -> None:
    def turned(*transform: float) -> float | None:
        return MapFrame(Grid("EPSG:32633", Affine(*transform), 10, 10)).north

    assert turned(10, 0, 0, 0, -10, 0) == 0
    assert turned(10, 0, 0, 0, 10, 0) == 180
    assert turned(0, 10, 0, 10, 0, 0) == 90
    assert turned(7, 7, 0, 7, -7, 0) == 45
    assert MapFrame(NOWHERE).north is None


def test_lengths_on_the_ground() -> None:
    assert MapFrame(UTM).width_metres == 7000
    assert MapFrame(DEGREES).width_metres == pytest.approx(200 * 0.001 * 111_320 * 0.42, rel=0.03)
    assert MapFrame(NOWHERE).width_metres is None
