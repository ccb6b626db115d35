"""What is read from a season: values, validity, features, and the survey of it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window as RasterioWindow

from geoseg.config import ImageryConfig, LabelsConfig
from geoseg.feedback import Silent
from geoseg.grid import Window
from geoseg.imagery import inspect
from geoseg.imagery.cube import read_cube, to_features
from geoseg.imagery.labels import open_labels
from geoseg.imagery.scenes import Scene, select
from geoseg.imagery.survey import survey
from geoseg.io import configs
from geoseg.legend import Legend, LegendClass
from geoseg.normalization import Normalization
from tests.support.common import ROOT, Raster


def real_season(name: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Scene, ...]:
    monkeypatch.setenv("GEOSEG_DATA", str(data))
    if name == "flanders":
        folder = data / "flanders_worldcereal_patch_2020_21"
        return select(
            ImageryConfig(folder=folder, pattern="monthly_{date}.tif", date_format="%Y-%m")
        )
    if name == "sinop":
        folder = data / "sinop_modis_jp2"
        return select(ImageryConfig(folder=folder, pattern="*_NDVI_{date}.jp2"))
    if name == "chiapas":
        return select(
            ImageryConfig(
                folder=data / "chiapas_landsat7_two_dates",
                pattern="LE7022049{date}EDC*_stack.tif",
                date_format="%Y%j",
                # The last band is called "band_8" in one file and "Band 8" in the other.
                band_names=("b1", "b2", "b3", "b4", "b5", "b7", "b6", "fmask"),
                nodata=-9999,
            )
        )
    return select(configs.load(ROOT / f"configs/{name}.yaml").imagery)


@pytest.mark.parametrize(
    ("name", "dates"),
    [("slovenia", 5), ("maipo", 8), ("flanders", 12), ("sinop", 12), ("chiapas", 2)],
)
def test_cube_against_rasterio(
    data: Path, name: str, dates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = real_season(name, data, monkeypatch)
    assert len(scenes) == dates
    grid = scenes[0].grid

    @settings(max_examples=6, deadline=None)
    @given(st.integers(0, grid.height - 1), st.integers(0, grid.width - 1), st.integers(1, 200))
    def check(row: int, col: int, side: int) -> None:
        window = Window(row, col, side, side).clip(grid.window)
        place = RasterioWindow(window.col, window.row, window.width, window.height)
        cube = read_cube(scenes, window)
        for scene, values, valid in zip(scenes, cube.values, cube.valid, strict=True):
            with rasterio.open(scene.assets[0].path) as source:
                expected = source.read(window=place)
                present = (source.read_masks(window=place) > 0).all(axis=0)
            if name == "chiapas":
                present = (expected != -9999).all(axis=0)
            if scene.mask:
                with rasterio.open(scene.mask.path) as source:
                    present &= source.read(1, window=place) != 1
            np.testing.assert_array_equal(values, expected)
            np.testing.assert_array_equal(valid, present)
        np.testing.assert_array_equal(cube.mapped, cube.valid.any(axis=0))

    check()


def test_bands_of_several_files_keep_their_order(tmp_path: Path, raster: Raster) -> None:
    """Bands that alternate between files, and one that is missing data elsewhere."""
    for band, value in (("a", 1), ("b", 2), ("c", 3)):
        values = np.full((1, 5, 6), value, dtype=np.uint16)
        values[0, 0, value] = 0
        raster(tmp_path / f"2025-05-01_{band}.tif", values, 0)
    config = ImageryConfig(folder=tmp_path, pattern="{date}_{band}.tif", bands=("c", "a", "b"))
    cube = read_cube(select(config), Window(0, 0, 5, 6))
    assert cube.values[0, :, 2, 2].tolist() == [3, 1, 2]
    assert cube.valid[0, 0].tolist() == [True, False, False, False, True, True]
    assert cube.valid[0, 1:].all()


def test_features_are_zero_where_a_date_has_no_data(season: Path, raster: Raster) -> None:
    floats = np.full((3, 40, 48), 7, dtype=np.float32)
    floats[:, :, 20:] = np.nan
    raster(season / "2025-05-01.tif", floats, np.nan, ("red", "nir", "swir"))
    cube = read_cube(select(ImageryConfig(folder=season)), Window(0, 0, 40, 48))
    normalization = Normalization(
        transform="none", knee=(1,) * 9, mean=tuple(range(9)), std=(2,) * 9
    )
    features, mapped = to_features(cube, normalization)
    assert np.isfinite(features).all()
    assert (features[:3, :, 20:] == 0).all()
    assert (features[:, :6, 9:20] != 0).any()
    np.testing.assert_array_equal(mapped[:6, :9], cube.valid[0, :6, :9])
    expected = (cube.values[2, 1].astype(np.float32) - 7) / 2
    expected[~cube.valid[2]] = 0
    np.testing.assert_array_equal(features[7], expected)


def test_numbers_that_no_network_can_be_fed(season: Path, raster: Raster) -> None:
    """Some programs' nodata value is the lowest float64; it must not warn, nor get through."""
    floats = np.full((3, 40, 48), 7, dtype=np.float64)
    floats[:, :, 20:] = -1.7976931348623157e308
    raster(season / "2025-05-01.tif", floats, None, ("red", "nir", "swir"))
    cube = read_cube(select(ImageryConfig(folder=season)), Window(0, 0, 40, 48))
    plain = Normalization(transform="none", knee=(1,) * 9, mean=(0,) * 9, std=(1,) * 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features, _ = to_features(cube, plain)
    assert np.isfinite(features).all()
    assert not cube.valid[0, :, 20:].any()


@pytest.mark.parametrize("change", [{"std": (0.0, 1.0)}, {"knee": (1, np.nan)}, {"mean": (1,)}])
def test_statistics_that_would_spoil_the_map(change: dict[str, Any]) -> None:
    good = {"transform": "none", "knee": (1, 1), "mean": (0, 0), "std": (1, 1)}
    Normalization(**good)
    with pytest.raises(ValueError, match=next(iter(change))):
        Normalization(**{**good, **change})


def test_survey(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the counts that the data's own description gives."""
    monkeypatch.setenv("GEOSEG_DATA", str(data))
    config = configs.load(ROOT / "configs/slovenia.yaml")
    scenes = select(config.imagery)
    assert config.labels is not None
    labels = open_labels(config.labels, scenes[0].grid, config.make_legend())
    found = survey(scenes, labels, 5, Silent())
    assert found.pixels == 101 * 100
    assert found.valid == (10_100, 0, 0, 10_100, 10_100)
    assert found.mapped == 10_100
    assert found.labelled == (11, 7601, 1777, 358, 198)
    assert found.fields == (0,) * 5
    config = configs.load(ROOT / "configs/maipo.yaml")
    scenes = select(config.imagery)
    assert config.labels is not None
    labels = open_labels(config.labels, scenes[0].grid, config.make_legend())
    found = survey(scenes, labels, 4, Silent())
    assert found.labelled == (591, 571, 1368, 1881)
    assert sum(found.fields) == 230
    assert set(found.valid) == {found.mapped}
    assert found.without_data == 0


@pytest.mark.parametrize("room", [1, 10_000, 2**27])
def test_survey_of_gaps(
    season: Path, raster: Raster, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Dates that miss different parts, labels where none has data; in strips of any height."""
    for month, missing in ((5, slice(0, 30)), (6, slice(20, 40)), (7, slice(0, 40))):
        values = np.full((3, 40, 48), 9, dtype=np.uint16)
        values[1, missing] = 0  # one band is enough
        raster(season / f"2025-0{month}-01.tif", values, 0, ("red", "nir", "swir"))
    codes = np.zeros((1, 40, 48), dtype=np.uint8)
    codes[0, 18:25, :10] = 1
    codes[0, 39, :4] = 2
    ids = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None] // 20 + 1, (1, 40, 48)).copy()
    paths = (raster(season / "codes", codes, 0), raster(season / "ids", ids, 0))
    names = [path.rename(path.with_suffix(".tif")) for path in paths]
    legend = Legend((LegendClass(2, "a", "#000000"), LegendClass(1, "b", "#000000")))
    scenes = select(ImageryConfig(folder=season))
    labels = open_labels(LabelsConfig(file=names[0], fields=names[1]), scenes[0].grid, legend)
    monkeypatch.setattr(inspect, "ROOM", room)
    found = survey(scenes, labels, 2, Silent())
    assert found.valid == (10 * 48, 20 * 48, 0)
    assert found.mapped == 30 * 48
    assert found.labelled == (4, 70)
    assert found.fields == (1, 2)
    assert found.without_data == 50


@pytest.mark.parametrize("transform", ["none", "asinh"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_huge_nodata_is_normalized_without_a_warning(transform: Any, kind: type) -> None:
    values = np.full((1, 2, 2), 5, dtype=kind)
    values[0, 0] = np.finfo(kind).min, np.finfo(np.float32).max
    small = Normalization(transform=transform, knee=(0.01,), mean=(-3e38,), std=(0.001,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small.apply(values)
        small.stretch(values)
