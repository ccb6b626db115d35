"""Which files make up a season: patterns, lists, alpha bands and masks."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from geoseg.config import ImageryConfig, MaskConfig, SceneEntry
from geoseg.errors import (
    ConfigError,
    EmptySelectionError,
    GridMismatchError,
    SceneError,
)
from geoseg.grid import Window
from geoseg.imagery.cube import read_cube
from geoseg.imagery.scenes import select
from tests.support.common import Raster


def touch(raster: Raster, *paths: Path) -> None:
    """One-band rasters of no interest."""
    for path in paths:
        raster(path, np.ones((1, 5, 6), dtype=np.uint16))


def test_a_file_of_bands_per_date(season: Path) -> None:
    scenes = select(ImageryConfig(folder=season))
    assert [scene.id for scene in scenes] == ["2025-05-01", "2025-06-01", "2025-07-01"]
    assert scenes[0].date == dt.date(2025, 5, 1)
    assert scenes[0].bands == ("red", "nir", "swir")
    assert [asset.number for asset in scenes[0].assets] == [1, 2, 3]


@pytest.mark.parametrize(
    ("pattern", "date_format", "names"),
    [
        ("{date}.tif", "%Y%m%d", {"20250601.tif", "20250501.tif"}),
        ("S2_{date}_*.tif", "%Y%m%dT%H%M%S", {"S2_20250501T101010_a.tif"}),
        ("LE7022049{date}EDC*.tif", "%Y%j", {"LE70220492025121EDC00.tif"}),
        ("a+b({date})[1].tif", "%Y-%m-%d", {"a+b(2025-05-01)[1].tif"}),
        ("{date}/*.tif", "%Y-%m", {"2025-05/x.tif", "2025-06/y.tif"}),
        ("{date}/{date}_x.tif", "%Y-%m", {"2025-05/2025-05_x.tif"}),
        ("*_{date}.tif", "%d %b %Y", {"x_01 May 2025.tif"}),
    ],
)
def test_patterns(
    tmp_path: Path, raster: Raster, pattern: str, date_format: str, names: set[str]
) -> None:
    touch(raster, *(tmp_path / name for name in names))
    others = ("x.txt", "2025-05/deeper/x.tif", "2025-05/2025-06_x.tif", ".20250501.ab.part.tif")
    touch(raster, *(tmp_path / name for name in others))
    if pattern == "{date}/*.tif":
        (tmp_path / "2025-05/2025-06_x.tif").unlink()
    scenes = select(ImageryConfig(folder=tmp_path, pattern=pattern, date_format=date_format))
    assert {str(path.relative_to(tmp_path)) for s in scenes for path in s.files} == names
    days = [dt.date(2025, 5, 1), dt.date(2025, 6, 1)]
    assert [scene.date for scene in scenes] == days[: len(names)]


def test_hidden_files_are_left_out(season: Path, raster: Raster) -> None:
    """A killed writer leaves ``.NAME.part.tif``, macOS leaves ``._NAME``: neither is an image."""
    touch(raster, season / "._2025-05-01.tif", season / ".2025-05-01.ab12.part.tif")
    assert len(select(ImageryConfig(folder=season, pattern="*{date}*.tif"))) == 3


def test_linked_folders_are_followed(tmp_path: Path, raster: Raster) -> None:
    touch(raster, tmp_path / "elsewhere" / "x.tif")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "2025-05-01").symlink_to(tmp_path / "elsewhere")
    assert len(select(ImageryConfig(folder=tmp_path / "in", pattern="{date}/x.tif"))) == 1


def test_steps_are_numbers(tmp_path: Path, raster: Raster) -> None:
    touch(raster, *(tmp_path / f"t{i}.tif" for i in (10, 9, 1)))
    scenes = select(ImageryConfig(folder=tmp_path, pattern="t{step}.tif"))
    assert [scene.id for scene in scenes] == ["step 1", "step 9", "step 10"]


def test_a_file_per_band_and_date(tmp_path: Path, raster: Raster) -> None:
    touch(
        raster, *(tmp_path / f"{d}_{b}.tif" for d in ("2025-05", "2025-06") for b in ("B8A", "B02"))
    )
    config = ImageryConfig(folder=tmp_path, pattern="{date}_{band}.tif", date_format="%Y-%m")
    assert [scene.bands for scene in select(config)] == [("B02", "B8A")] * 2
    config = config.model_copy(update={"bands": ("B8A", "B02")})
    scenes = select(config)
    assert scenes[1].bands == ("B8A", "B02")
    assert [asset.path.name for asset in scenes[1].assets] == ["2025-06_B8A.tif", "2025-06_B02.tif"]


def test_a_list_of_scenes(tmp_path: Path, raster: Raster, season: Path) -> None:
    """In time order whatever the order of the list; ids where given."""
    entries = (
        SceneEntry(date=dt.date(2025, 6, 1), file=season / "2025-06-01.tif"),
        SceneEntry(id="spring", date=dt.date(2025, 5, 1), file=season / "2025-05-01.tif"),
    )
    assert [s.id for s in select(ImageryConfig(scenes=entries))] == ["spring", "2025-06-01"]
    undated = tuple(SceneEntry(file=season / f"2025-0{m}-01.tif") for m in (7, 5))
    assert [s.id for s in select(ImageryConfig(scenes=undated))] == ["2025-07-01", "2025-05-01"]
    touch(raster, tmp_path / "r.tif", tmp_path / "n.tif")
    per_band = SceneEntry(files={"nir": tmp_path / "n.tif", "red": tmp_path / "r.tif"})
    (scene,) = select(ImageryConfig(scenes=(per_band,)))
    assert (scene.id, scene.bands) == ("n", ("nir", "red"))


def test_dates_choose(season: Path) -> None:
    days = (dt.date(2025, 7, 1), dt.date(2025, 5, 1), dt.date(2025, 7, 1))
    assert [s.id for s in select(ImageryConfig(folder=season, dates=days))] == [
        "2025-05-01",
        "2025-07-01",
    ]


def test_two_acquisitions_of_one_day_both_count(season: Path) -> None:
    day = dt.date(2025, 5, 1)
    entries = tuple(
        SceneEntry(id=name, date=day, file=season / f"2025-0{month}-01.tif")
        for name, month in (("east", 5), ("west", 6))
    )
    assert [s.id for s in select(ImageryConfig(scenes=entries, dates=(day,)))] == ["east", "west"]


def test_bands_by_name_in_any_order(season: Path, raster: Raster) -> None:
    """A file with another band order fits once the bands are named."""
    values = np.ones((3, 40, 48), dtype=np.uint16)
    raster(season / "2025-08-01.tif", values, 0, ("swir", "red", "nir"))
    message = r"2025-08-01\.tif has the bands swir, red, nir, but .*imagery\.bands.*band_names"
    with pytest.raises(SceneError, match=message):
        select(ImageryConfig(folder=season))
    scenes = select(ImageryConfig(folder=season, bands=("nir", "red")))
    assert [asset.number for asset in scenes[0].assets] == [2, 1]
    assert [asset.number for asset in scenes[-1].assets] == [3, 2]


def test_band_names(season: Path) -> None:
    scenes = select(ImageryConfig(folder=season, band_names=("a", "b", "c"), bands=("c",)))
    assert (scenes[0].bands, scenes[0].assets[0].number) == (("c",), 3)


# Alpha bands.


def test_an_alpha_band_is_no_data_unless_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "2025-05-01.tif"
    values = np.full((4, 6, 8), 50, dtype=np.uint8)
    values[3, :, :4] = 0
    with rasterio.open(
        path, "w", driver="GTiff", width=8, height=6, count=4, dtype="uint8"
    ) as target:
        target.write(values)
        target.colorinterp = (*target.colorinterp[:3], ColorInterp.alpha)

    def read(names: tuple[str, ...] = (), bands: tuple[str, ...] = ()) -> tuple[int, float]:
        scenes = select(ImageryConfig(folder=tmp_path, band_names=names, bands=bands))
        cube = read_cube(scenes, Window(0, 0, 6, 8))
        return cube.values.shape[1], cube.valid.mean()

    assert read() == (3, 0.5)
    assert read(names=("r", "g", "b")) == (3, 0.5)
    assert read(names=("r", "g", "b", "nir")) == (4, 1.0)
    assert read(bands=("band_1", "band_4")) == (2, 1.0)
    assert read(bands=("band_1",)) == (1, 0.5)
    with pytest.raises(SceneError, match=r"has 3 bands, 'imagery\.band_names' has 2"):
        read(names=("r", "g"))


# Masks.


@pytest.fixture
def clouds(tmp_path: Path, season: Path, raster: Raster) -> Path:
    """One mask per date beside the season: column number modulo 5."""
    values = np.broadcast_to(np.arange(48, dtype=np.uint8) % 5, (1, 40, 48)).copy()
    for path in season.iterdir():
        raster(tmp_path / "clouds" / f"m_{path.name}", values)
    return tmp_path / "clouds"


def test_masks(season: Path, clouds: Path) -> None:
    masks = MaskConfig(folder=clouds, pattern="m_{date}.tif", invalid=(1, 4))
    scenes = select(ImageryConfig(folder=season, masks=masks))
    cube = read_cube(scenes, Window(0, 0, 40, 48))
    expected = np.broadcast_to(~np.isin(np.arange(48) % 5, (1, 4)), (40, 48)).copy()
    expected[:6, :9] = False
    for valid in cube.valid:
        np.testing.assert_array_equal(valid, expected)
    entries = tuple(
        SceneEntry(file=path, mask=clouds / f"m_{path.name}") for path in sorted(season.iterdir())
    )
    listed = read_cube(
        select(ImageryConfig(scenes=entries, mask_invalid=(1, 4))), Window(0, 0, 40, 48)
    )
    np.testing.assert_array_equal(listed.valid, cube.valid)


def test_a_mask_without_data_is_no_permission(season: Path, clouds: Path) -> None:
    with rasterio.open(clouds / "m_2025-05-01.tif", "r+") as target:
        target.nodata = 2
    masks = MaskConfig(folder=clouds, pattern="m_{date}.tif", invalid=(1,))
    cube = read_cube(select(ImageryConfig(folder=season, masks=masks)), Window(10, 0, 1, 5))
    assert cube.valid[:, 0].tolist() == [
        [True, False, False, True, True],
        [True, False, True, True, True],
        [True, False, True, True, True],
    ]


def test_a_missing_mask(season: Path, clouds: Path) -> None:
    (clouds / "m_2025-06-01.tif").unlink()
    config = ImageryConfig(folder=season, masks=MaskConfig(folder=clouds, pattern="m_{date}.tif"))
    with pytest.raises(
        SceneError, match=r"no mask 'm_\{date\}\.tif' for 2025-06-01 .*imagery\.dates"
    ):
        select(config)
    # And the remedy that it names does help.
    days = (dt.date(2025, 5, 1), dt.date(2025, 7, 1))
    assert len(select(config.model_copy(update={"dates": days}))) == 2


def test_mistakes_in_masks(season: Path, clouds: Path, raster: Raster) -> None:
    def config(pattern: str = "m_{date}.tif", folder: Path = clouds) -> ImageryConfig:
        return ImageryConfig(folder=season, masks=MaskConfig(folder=folder, pattern=pattern))

    with pytest.raises(
        EmptySelectionError, match=r"no such folder; check 'imagery\.masks\.folder'"
    ):
        select(config(folder=clouds / "none"))
    with pytest.raises(EmptySelectionError, match=r"no file fits .*'imagery\.masks\.pattern'"):
        select(config(pattern="c_{date}.tif"))
    with pytest.raises(ConfigError, match=r"imagery\.masks\.pattern: \{date\} must be in both"):
        select(config(pattern="m_*.tif"))
    raster(clouds / "n_2025-05-01.tif", np.zeros((1, 40, 48), dtype=np.uint8))
    with pytest.raises(
        SceneError, match=r"m_2025-05-01\.tif and n_2025-05-01\.tif both match 'imagery\.masks"
    ):
        select(config(pattern="*_{date}.tif"))
    raster(clouds / "m_2025-05-01.tif", np.zeros((2, 40, 48), dtype=np.uint8))
    with pytest.raises(SceneError, match=r"m_2025-05-01\.tif has 2 bands, a mask has one"):
        select(config())
    raster(clouds / "m_2025-05-01.tif", np.zeros((1, 40, 47), dtype=np.uint8))
    with pytest.raises(GridMismatchError, match=r"m_2025-05-01\.tif is not on the grid of"):
        select(config())
    listed = ImageryConfig(
        scenes=(SceneEntry(file=season / "2025-05-01.tif"),),
        masks=MaskConfig(folder=clouds, pattern="m_{date}.tif"),
    )
    with pytest.raises(ConfigError, match=r"imagery\.masks goes with 'imagery\.folder'"):
        select(listed)
