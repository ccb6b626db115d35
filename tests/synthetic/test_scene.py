"""The synthetic scene: the same whatever the blocks, true to its labels, and hard per pixel."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.features import rasterize
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from geoseg.errors import ConfigError
from geoseg.feedback import Silent
from geoseg.grid import Window
from geoseg.io.files import sha256
from geoseg.io.raster import rasters
from geoseg.legend import NODATA
from geoseg.synthetic import LEGEND, SceneSpec, SyntheticScene, noise, phenology, scene, write_scene
from geoseg.synthetic.geometry import area
from geoseg.synthetic.parcels import fields
from geoseg.synthetic.sky import CLOUD, OUTSIDE, SHADOW, sky, weather

SMALL = SceneSpec(width=620, height=530, dates=3)


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScene:
    return write_scene(tmp_path_factory.mktemp("season"), SMALL, Silent())


def pixels(path: Path) -> NDArray[np.generic]:
    with rasterio.open(path) as source:
        return np.asarray(source.read())


def all_files(made: SyntheticScene) -> tuple[Path, ...]:
    return (*made.images, *made.clouds, made.truth, made.labels)


# --- the same bytes, whatever the blocks ------------------------------------------------------


def test_same_spec_same_bytes(season: SyntheticScene, tmp_path: Path) -> None:
    again = write_scene(tmp_path, SMALL, Silent())
    assert [sha256(p) for p in all_files(season)] == [sha256(p) for p in all_files(again)]


def test_block_size_changes_no_pixel(season: SyntheticScene, tmp_path: Path) -> None:
    other = write_scene(tmp_path, SMALL, Silent(), block=200)
    for mine, theirs in zip(all_files(season)[:-1], all_files(other)[:-1], strict=True):
        np.testing.assert_array_equal(pixels(mine), pixels(theirs), err_msg=mine.name)
    assert sha256(season.labels) == sha256(other.labels)


WHOLE = SceneSpec(width=300, height=260, dates=2)
WHOLE_GROUND = scene.ground(WHOLE, WHOLE.grid.window)
WHOLE_IMAGE, WHOLE_SKY = scene.image(WHOLE, WHOLE_GROUND, 1)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_window_equals_the_same_part_of_the_whole(data: st.DataObject) -> None:
    row, col = data.draw(st.integers(0, 259)), data.draw(st.integers(0, 299))
    height, width = data.draw(st.integers(1, 260 - row)), data.draw(st.integers(1, 300 - col))
    window = Window(row, col, height, width)
    part = window.within(WHOLE.grid.window)
    ground = scene.ground(WHOLE, window)
    image, over = scene.image(WHOLE, ground, 1)
    np.testing.assert_array_equal(ground.truth, WHOLE_GROUND.truth[part])
    np.testing.assert_array_equal(image, WHOLE_IMAGE[(slice(None), *part)])
    np.testing.assert_array_equal(over.mask, WHOLE_SKY.mask[part])


@pytest.mark.parametrize("change", [{"seed": 8}, {"labelled": 0.6}, {"cloudiness": 0.3}])
def test_each_setting_changes_what_it_names(change: dict[str, float]) -> None:
    spec = replace(WHOLE, **change)  # type: ignore[arg-type]
    ground = scene.ground(spec, spec.grid.window)
    _, over = scene.image(spec, ground, 1)
    marks = [plot.labelled for plot in fields(spec, spec.grid.window)]
    before = [plot.labelled for plot in fields(WHOLE, WHOLE.grid.window)]
    assert (not np.array_equal(ground.truth, WHOLE_GROUND.truth)) == ("seed" in change)
    assert (marks != before) == ("seed" in change or "labelled" in change)
    assert (not np.array_equal(over.mask, WHOLE_SKY.mask)) == ("labelled" not in change)


# --- fields and labels ------------------------------------------------------------------------


def test_labels_agree_with_the_truth_everywhere_inside(season: SyntheticScene) -> None:
    table = geopandas.read_file(season.labels)
    assert table.crs.to_epsg() == 32632
    codes = [LEGEND.classes[LEGEND.names.index(name)].code for name in table["crop"]]
    drawn = rasterize(
        zip(table.geometry, codes, strict=True),
        out_shape=(SMALL.height, SMALL.width),
        transform=SMALL.grid.transform,
        fill=0,
        dtype="uint8",
    )
    truth = pixels(season.truth)[0]
    np.testing.assert_array_equal(truth[drawn > 0], drawn[drawn > 0])
    assert 0.2 < (drawn > 0).sum() / (truth != NODATA).sum() < 0.4
    assert table["field_id"].is_unique
    assert len(table) == season.labelled_fields


def test_reference_scene_has_thousands_of_uneven_fields() -> None:
    spec = SceneSpec()
    plots = list(fields(spec, spec.grid.window))
    hectares = np.array([area(plot.outline) for plot in plots]) * spec.pixel**2 / 10_000
    assert 3000 < len(plots) < 5000
    assert 3 < hectares.mean() < 8
    assert hectares.std() > 0.3 * hectares.mean()
    assert 0.27 < np.mean([plot.labelled for plot in plots]) < 0.33
    assert len({plot.field_id for plot in plots}) == len(plots)
    shares = np.bincount([plot.crop for plot in plots], minlength=9)[1:] / len(plots)
    assert shares.min() > 0.035
    assert shares.max() < 0.3


def test_fields_do_not_overlap_and_roads_lie_between(season: SyntheticScene) -> None:
    truth = pixels(season.truth)[0]
    plots = list(fields(SMALL, SMALL.grid.window))
    counts = rasterize(
        [(({"type": "Polygon", "coordinates": [[*p.outline, p.outline[0]]]}), 1) for p in plots],
        out_shape=truth.shape,
        merge_alg=rasterio.enums.MergeAlg.add,
        dtype="uint8",
    )
    assert counts.max() == 1
    assert 0.04 < (counts == 0).mean() < 0.2
    assert (truth[counts == 0] == NODATA).all()


def test_all_classes_are_there(season: SyntheticScene) -> None:
    assert set(np.unique(pixels(season.truth))) == {*range(1, 9), NODATA}


# --- the sky ----------------------------------------------------------------------------------


def test_every_date_has_clouds_shadows_and_a_swath_edge(season: SyntheticScene) -> None:
    for image_path, mask_path in zip(season.images, season.clouds, strict=True):
        image, mask = pixels(image_path), pixels(mask_path)[0]
        assert {CLOUD, SHADOW, OUTSIDE} <= set(np.unique(mask))
        np.testing.assert_array_equal((image == 0).all(axis=0), mask == OUTSIDE)
        np.testing.assert_array_equal((image == 0).any(axis=0), mask == OUTSIDE)


def test_a_corner_that_no_date_sees_has_no_truth(season: SyntheticScene) -> None:
    never = np.all([pixels(path)[0] == OUTSIDE for path in season.clouds], axis=0)
    assert never[0, 0]
    assert 0 < never.mean() < 0.1
    assert (pixels(season.truth)[0][never] == NODATA).all()


def test_swath_edges_differ_and_slant() -> None:
    spec = SceneSpec(width=200, height=200)
    masks = [sky(weather(spec, i), spec.grid.window).mask == OUTSIDE for i in range(spec.dates)]
    widths = {int(mask[0].sum()) for mask in masks}
    assert len(widths) > 3
    widest = max(masks, key=lambda mask: int(mask.sum()))
    assert widest[0].sum() > widest[-1].sum() + 20


def test_clouds_are_bright_and_shadows_dark_in_the_same_fields() -> None:
    spec = SceneSpec(width=700, height=700, sensor_noise=0.0)
    ground = scene.ground(spec, spec.grid.window)
    image, over = scene.image(spec, ground, 6)
    nir = image[3] / scene.SCALE
    beet = ground.truth == 1 + LEGEND.names.index("sugar beet")
    clear = beet & (over.mask == 0)
    assert image[0][over.cloud > 0.9].mean() / scene.SCALE > 0.5
    deep = beet & (over.shade > 0.9) & (over.cloud == 0)
    assert deep.any()
    assert nir[deep].mean() < 0.5 * nir[clear].mean()
    # What the mask leaves as clear is nearly so.
    assert over.cloud[over.mask == 0].max() < 0.15


def test_shadow_is_the_cloud_moved() -> None:
    spec = SceneSpec(width=600, height=600)
    state = replace(weather(spec, 4), offset=(-20.0, -12.0))
    over = sky(state, spec.grid.window)
    cloud, shade = over.cloud[20:, 12:] > 0.99, over.shade[:-20, :-12] > 0.99
    assert cloud.any()
    assert shade[cloud].all()


# --- phenology and noise ----------------------------------------------------------------------


def test_cover_shares_are_shares() -> None:
    green, dry, bloom = phenology.curves()
    assert green.min() >= 0
    assert dry.min() >= 0
    assert (green + dry).max() <= 1 + 1e-6
    assert bloom.max() <= 1
    assert sum(crop.weight for crop in phenology.CROPS) == pytest.approx(1)


def test_crops_are_green_in_their_season() -> None:
    green, _, bloom = phenology.curves()
    at = {LEGEND.names[i]: green[i, phenology.LEAD :] for i in range(8)}
    assert at["winter wheat"][130] > 0.8
    assert at["winter wheat"][225] < 0.2
    assert at["maize"][120] < 0.1
    assert at["maize"][215] > 0.8
    assert at["winter barley"].argmax() < at["winter wheat"].argmax() < at["maize"].argmax()
    assert bloom[LEGEND.names.index("rapeseed"), phenology.LEAD + 120] == pytest.approx(1)


def test_noise_is_normal_and_independent() -> None:
    fields_ = noise.normals(noise.key(1, 2), Window(5, 9, 400, 400), 6)
    assert np.abs(fields_.mean(axis=(1, 2))).max() < 0.015
    assert np.abs(fields_.std(axis=(1, 2)) - 1).max() < 0.015
    flat = fields_.reshape(6, -1)
    assert np.abs(np.corrcoef(flat) - np.eye(6)).max() < 0.015
    for step in ((1, 0), (0, 1)):
        moved = np.roll(fields_[0], step, axis=(0, 1))
        assert abs(np.corrcoef(fields_[0].ravel(), moved.ravel())[0, 1]) < 0.015


def test_smooth_noise_is_smooth_and_moves() -> None:
    still = noise.smooth(3, Window(0, 0, 600, 600), 40, 4)
    assert abs(still.std() - 1) < 0.2
    assert np.abs(np.diff(still, axis=0)).std() < 0.3
    moved = noise.smooth(3, Window(0, 0, 600, 600), 40, 4, shift=(10, 7))
    np.testing.assert_allclose(moved[10:, 7:], still[:-10, :-7], atol=1e-3)


def test_a_field_tells_what_a_single_pixel_does_not() -> None:
    """The scene proves the method: context is needed, and with context the crops are distinct."""
    spec = SceneSpec(width=900, height=800)
    window = spec.grid.window
    ground = scene.ground(spec, window)
    plots = tuple(fields(spec, window))
    slot, _ = scene._draw(plots, window)
    slot[ground.truth == NODATA] = -1
    inside = slot.ravel() >= 0
    owner = slot.ravel()[inside]
    crops = np.array([plot.crop for plot in plots])
    single, means = [], []
    for index in range(spec.dates):
        image, over = scene.image(spec, ground, index)
        clear = (over.mask == 0).ravel()[inside]
        count = np.maximum(np.bincount(owner[clear], minlength=len(plots)), 1)
        for band in image.reshape(5, -1)[:, inside].astype(np.float64):
            middle = band[clear].mean()
            total = np.bincount(owner[clear], band[clear] - middle, minlength=len(plots))
            means.append(total / count)
            single.append(np.where(clear, band - middle, 0))
    train = np.arange(len(plots)) % 2 == 0
    chosen = np.random.default_rng(0).permutation(inside.sum())[:12000]
    at, X = owner[chosen], np.array(single)[:, chosen].T
    pixel = LinearDiscriminantAnalysis().fit(X[train[at]], crops[at][train[at]])
    assert 0.6 < pixel.score(X[~train[at]], crops[at][~train[at]]) < 0.8
    F = np.array(means).T
    field = LinearDiscriminantAnalysis().fit(F[train], crops[train])
    assert field.score(F[~train], crops[~train]) > 0.93


# --- files ------------------------------------------------------------------------------------


def test_files_say_what_they_are(season: SyntheticScene) -> None:
    assert [p.name for p in season.images] == ["2025-03-15.tif", "2025-07-15.tif", "2025-11-15.tif"]
    infos = [rasters.describe(path) for path in all_files(season)[:-1]]
    assert len({info.grid for info in infos}) == 1
    grid = infos[0].grid
    assert grid.transform == SMALL.grid.transform
    assert (grid.height, grid.width) == (SMALL.height, SMALL.width)
    assert (grid.transform.c % 10, grid.transform.f % 10) == (0, 0)
    for info in infos[:3]:
        assert info.bands == ("blue", "green", "red", "nir", "swir")
        assert (info.dtype, info.nodata) == ("uint16", 0)
    for info in infos[3:]:
        assert (info.count, info.dtype, info.nodata) == (1, "uint8", 255)
    with rasterio.open(season.truth) as source:
        assert source.colormap(1)[1][:3] == LEGEND.by_code(1).rgb
        assert source.crs.to_epsg() == 32632
    with rasterio.open(season.images[0]) as source:
        assert source.block_shapes[0] == (512, 512)
        assert source.compression.value == "DEFLATE"


@pytest.mark.parametrize(("width", "height", "dates"), [(1, 1, 1), (37, 700, 2), (513, 20, 13)])
def test_any_size_and_number_of_dates(tmp_path: Path, width: int, height: int, dates: int) -> None:
    spec = SceneSpec(width=width, height=height, dates=dates)
    made = write_scene(tmp_path, spec, Silent())
    assert len(set(made.images)) == dates
    assert pixels(made.images[-1]).shape == (5, height, width)
    assert pixels(made.truth).shape == (1, height, width)
    assert made.labels.exists()


@pytest.mark.parametrize("dates", [1, 2, 5, 12, 13, 30, 365])
def test_dates_are_distinct_and_spread_over_the_year(dates: int) -> None:
    days = SceneSpec(dates=dates).days()
    assert len(set(days)) == dates
    assert list(days) == sorted(days)
    assert {day.year for day in days} == {2025}
    middle = np.mean([day.timetuple().tm_yday for day in days])
    assert 160 < middle < 210


@pytest.mark.parametrize(
    ("change", "name"),
    [({"width": 0}, "width"), ({"dates": 366}, "dates"), ({"labelled": 1.5}, "labelled")],
)
def test_impossible_scenes_are_refused(change: dict[str, float], name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        SceneSpec(**change)  # type: ignore[arg-type]


MEASURE = """
import sys
from pathlib import Path
from geoseg.feedback import Silent
from geoseg.synthetic import SceneSpec, write_scene
side = int(sys.argv[2])
write_scene(Path(sys.argv[1]), SceneSpec(width=side, height=side, dates=1), Silent(), block=256)
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""
# VmHWM and not ru_maxrss: that one starts at the size of the process that started this one.


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read in /proc")
def test_memory_does_not_grow_with_the_scene(tmp_path: Path) -> None:
    """25 times the pixels, and less additional memory than the one image (66 MB) would take."""
    # The cache of GDAL takes a share of the machine's memory unless it is told; here it is told.
    env = {**os.environ, "GDAL_CACHEMAX": "16"}
    peaks = [
        float(
            subprocess.run(
                [sys.executable, "-c", MEASURE, str(tmp_path / str(side)), str(side)],
                env=env,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for side in (512, 2560)
    ]
    assert peaks[1] - peaks[0] < 60, peaks
