"""One message for each mistake in a season: the file or key, the value, the remedy."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.config import ImageryConfig, LabelsConfig, SceneEntry
from geoseg.errors import (
    EmptySelectionError,
    GeosegError,
    GridMismatchError,
    RasterError,
    SceneError,
)
from geoseg.grid import Grid
from geoseg.imagery.labels import open_labels
from geoseg.imagery.scenes import select
from geoseg.legend import Legend, LegendClass
from tests.support.common import Raster


def touch(raster: Raster, *paths: Path) -> None:
    """One-band rasters of no interest."""
    for path in paths:
        raster(path, np.ones((1, 5, 6), dtype=np.uint16))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"dates": [dt.date(2025, 5, 1), dt.date(2025, 9, 9)]},
            r"imagery\.dates: no image of 2025-09-09 \(there are: 2025-05-01, .*2025-07-01\); add",
        ),
        (
            {"pattern": "x_{date}.tif"},
            r"no file fits 'x_\{date\}\.tif' .*it holds 2025-05-01\.tif, .*'imagery\.pattern'",
        ),
        (
            {"pattern": "{date}_{datum}.tif"},
            r"imagery\.pattern: \{datum\} .*use \{date\}, \{step\}, \{band\}",
        ),
        ({"date_format": "%Y%m%d"}, "no file fits .*'imagery.date_format'"),
        ({"date_format": "YYYY-MM-DD"}, "no file fits .*'YYYY-MM-DD'"),
        ({"date_format": "%Y-%d-%m"}, None),
        (
            {"folder": Path("/nowhere/at/all")},
            r"/nowhere/at/all: no such folder; check 'imagery\.folder'",
        ),
        (
            {"bands": ("red", "blue")},
            r"2025-05-01\.tif: no band 'blue'; it has red, nir, swir\. Correct 'imagery\.bands'",
        ),
        ({"bands": ("red", "nir", "red")}, r"imagery\.bands: 'red' is there twice"),
        ({"band_names": ("a", "b")}, r"2025-05-01\.tif has 3 bands, 'imagery\.band_names' has 2"),
        ({"pattern": "{date}.{band}"}, "has 3 bands where one per file is wanted"),
        (
            {"pattern": "{date}.{band}", "band_names": ("a",)},
            r"imagery\.band_names names the bands inside",
        ),
    ],
)
def test_mistakes(season: Path, change: dict[str, Any], message: str | None) -> None:
    config = ImageryConfig(folder=season).model_copy(update=change)
    if message is None:
        assert select(config)[0].id == "2025-01-05"
        return
    with pytest.raises(GeosegError, match=message):
        select(config)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(EmptySelectionError, match=r"no file fits .*it holds nothing"):
        select(ImageryConfig(folder=tmp_path))


@pytest.mark.parametrize(
    ("name", "date_format"),
    [("2025-02-30.tif", "%Y-%m-%d"), ("2025-13-01.tif", "%Y-%m-%d"), ("2025 2025.tif", "%Y %Y")],
)
def test_an_impossible_date(tmp_path: Path, raster: Raster, name: str, date_format: str) -> None:
    touch(raster, tmp_path / name)
    with pytest.raises(
        SceneError, match=rf"{re.escape(name)}: .* is no date of the format .*rename"
    ):
        select(ImageryConfig(folder=tmp_path, date_format=date_format))


def test_rival_files_of_one_date(tmp_path: Path, raster: Raster) -> None:
    touch(raster, tmp_path / "a_2025-05-01_red.tif", tmp_path / "b_2025-05-01_red.tif")
    with pytest.raises(SceneError, match=r"2025-05-01: a_.*tif and b_.*tif both match .*\{band\}"):
        select(ImageryConfig(folder=tmp_path, pattern="*_{date}_*.tif"))
    with pytest.raises(SceneError, match=r"2025-05-01 band red: a_.* and b_.* both match"):
        select(ImageryConfig(folder=tmp_path, pattern="*_{date}_{band}.tif"))


def test_days_where_there_are_none(tmp_path: Path, raster: Raster, season: Path) -> None:
    touch(raster, tmp_path / "t1.tif")
    day = (dt.date(2025, 5, 1),)
    with pytest.raises(SceneError, match=r"imagery\.dates names days, but the images have none"):
        select(ImageryConfig(folder=tmp_path, pattern="t{step}.tif", dates=day))
    with pytest.raises(SceneError, match=r"imagery\.dates names days, but the images have none"):
        select(ImageryConfig(scenes=(SceneEntry(file=season / "2025-05-01.tif"),), dates=day))


def test_a_date_with_a_band_less(tmp_path: Path, raster: Raster) -> None:
    touch(
        raster, *(tmp_path / name for name in ("2025-05_a.tif", "2025-05_b.tif", "2025-06_a.tif"))
    )
    config = ImageryConfig(folder=tmp_path, pattern="{date}_{band}.tif", date_format="%Y-%m")
    with pytest.raises(
        SceneError, match=r"2025-06_a\.tif has the bands a, but .*2025-05_a\.tif has a, b"
    ):
        select(config)
    with pytest.raises(SceneError, match=r"2025-06_a\.tif: no band 'b'; it has a"):
        select(config.model_copy(update={"bands": ("a", "b")}))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"height": 39}, "size 48 x 40 against 48 x 39"),
        ({"transform": Affine(10, 0, 500_000 + 1, 0, -10, 5_100_000)}, "transform"),
        (
            {"crs": "EPSG:32634"},
            "CRS EPSG:32633 WGS 84 / UTM zone 33N against EPSG:32634 WGS 84 / UTM zone 34N",
        ),
        ({"crs": None}, "CRS EPSG:32633 WGS 84 / UTM zone 33N against none"),
    ],
)
def test_another_grid(
    season: Path, raster: Raster, tiny_grid: Grid, change: dict[str, Any], what: str
) -> None:
    fields = {"crs": tiny_grid.crs, "transform": tiny_grid.transform, "height": 40, "width": 48}
    grid = Grid(**{**fields, **change})
    values = np.ones((3, grid.height, grid.width), dtype=np.uint16)
    raster(season / "2025-08-01.tif", values, 0, ("red", "nir", "swir"), grid)
    with pytest.raises(GridMismatchError) as caught:
        select(ImageryConfig(folder=season))
    text = str(caught.value)
    assert "2025-08-01.tif is not on the grid of" in text
    assert "2025-05-01.tif" in text
    assert what in text
    assert "gdalwarp" in text
    assert len(text) < 600  # no page of WKT


def test_one_crs_in_two_spellings(data: Path) -> None:
    """The stack names its CRS UTM_Zone_42N, its labels WGS 84 / UTM zone 42N: one EPSG code."""
    folder = data / "uzbekistan_ndvi_fields"
    (scene,) = select(ImageryConfig(scenes=(SceneEntry(file=folder / "ndvi.tif"),)))
    legend = Legend(tuple(LegendClass(i, f"c{i}", "#000000") for i in (1, 2, 3)))
    labels = open_labels(LabelsConfig(file=folder / "labels.tif"), scene.grid, legend)
    indices, _ = labels.read(scene.grid.window)
    assert np.bincount(indices[indices >= 0]).tolist() == [363, 1262, 2079]


def test_numbers_of_two_scales(season: Path) -> None:
    with rasterio.open(season / "2025-06-01.tif", "r+") as target:
        target.offsets = (-1000, -1000, -1000)
    with pytest.raises(
        SceneError, match=r"2025-06-01\.tif: band red has scale and offset .*gdal_translate"
    ):
        select(ImageryConfig(folder=season))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("netcdf_time_series.nc", r"container of 2 subdatasets.*gdal_translate"),
        ("gcps_only_uint16.tif", r"210 ground control points and no grid.*gdalwarp"),
    ],
)
def test_what_is_no_image_yet(data: Path, name: str, message: str) -> None:
    with pytest.raises(RasterError, match=rf"{name} .*{message}"):
        select(ImageryConfig(scenes=(SceneEntry(file=data / "odd_rasters" / name),)))
