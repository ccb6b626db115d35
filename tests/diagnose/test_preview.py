"""What ``geoseg inspect CONFIG`` tells before hours are spent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from geoseg.diagnose import preview
from geoseg.feedback import Silent
from geoseg.grid import Grid
from geoseg.imagery import flags
from tests.support.common import ROOT, Raster


def told(name: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GEOSEG_DATA", str(data))
    return "\n".join(preview.describe(ROOT / f"configs/{name}.yaml", Silent()))


def test_clouded_dates_are_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = told("slovenia", data, monkeypatch)
    for line in (
        "  CRS         EPSG:32633 WGS 84 / UTM zone 33N",
        "    2015-07-11      100.00%  s2_l1c_2015-07-11.tif, cloudmask_2015-07-11.tif",
        "    2015-07-31        0.00%  s2_l1c_2015-07-31.tif, cloudmask_2015-07-31.tif",
        "  mapped      100.00% of the pixels: usable on some date",
        "    8     artificial surface              198        -",
        "  blocks      4 of 64 px",
    ):
        assert line in text
    assert "note: no usable pixel on 2015-07-31, 2015-08-20: " in text


def test_fields_are_counted(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = told("maipo", data, monkeypatch)
    assert "step 8            0.28%  landsat8_t8.tif" in text
    assert "4411 pixels, 0.28% of the area" in text
    assert "    1     crop1                           591       33" in text
    assert "note:" not in text


@pytest.mark.parametrize(
    ("part", "text"),
    [(0, "0.00%"), (1e-9, "0.01%"), (0.5, "50.00%"), (1 - 1e-9, "99.99%"), (1, "100.00%")],
)
def test_nearly_is_not_all(part: float, text: str) -> None:
    share: Callable[[float], str] = preview._share
    assert share(part) == text


CHIAPAS = """name: chiapas
imagery:
  folder: {folder}
  pattern: "LE7022049{{date}}EDC*_stack.tif"
  date_format: "%Y%j"
  band_names: [b1, b2, b3, b4, b5, b7, b6, fm]
  nodata: -9999
{more}
legend: [{{code: 1, name: forest}}, {{code: 2, name: water}}, {{code: 3, name: herbaceous}},
  {{code: 4, name: barren}}, {{code: 5, name: urban}}]
labels: {{file: {folder}/training_data.tif}}
split: {{tile: 16}}
"""


def chiapas(data: Path, folder: Path, more: str = "") -> str:
    text = CHIAPAS.format(folder=data / "chiapas_landsat7_two_dates", more=more)
    (folder / "c.yaml").write_text(text)
    return "\n".join(preview.describe(folder / "c.yaml", Silent()))


def test_a_cloud_band_that_counts_as_data_is_named(data: Path, tmp_path: Path) -> None:
    """27 % of the second date are flagged in the last band, yet all of it is usable as it is read."""
    text = chiapas(data, tmp_path)
    assert "2002-04-16      100.00%" in text
    note = next(line for line in text.splitlines() if "quality" in line)
    for word in ("band fm ", "3 different values (0, 2, 4)", "imagery.masks", "imagery.bands"):
        assert word in note
    assert text.count("quality band") == 1
    text = chiapas(data, tmp_path, "  bands: [b1, b2, b3, b4, b5, b7, b6]")
    assert "quality" not in text  # band 8 has no telling name in the file, and is not read


def test_a_cloud_band_is_named_for_a_file_alone(data: Path) -> None:
    path = data / "chiapas_landsat7_two_dates/LE70220492002106EDC00_stack.tif"
    text = "\n".join(preview.describe(path, Silent()))
    assert "band Band 8 looks like a quality band (it has 3 different values (0, 2, 4))" in text
    assert text.count("looks like a quality band") == 1
    path = data / "s2_mixed_resolution_29RKH/SCL.tif"
    assert "(SCL) is that of a quality band" in "\n".join(preview.describe(path, Silent()))


@pytest.mark.parametrize(
    "name",
    [
        "slovenia_s2_eopatch/s2_l1c_2015-07-11.tif",
        "maipo_landsat8_west/landsat8_t1.tif",
        "flanders_worldcereal_patch_2020_21/monthly_2020-12.tif",
        "flanders_worldcereal_patch_2020_21/model_cropland_map.tif",
        "flanders_fields_s2/BEFL-TEST-s2_2023-05-01_2023-07-01_B08-B04-B03_min_byte.tif",
        "odd_rasters/many_bands_206_float64.tif",
        "s2_mixed_resolution_29RKH/B01.tif",
        "chiapas_landsat7_two_dates/training_data.tif",
    ],
)
def test_ordinary_bands_do_not_look_like_quality(data: Path, name: str) -> None:
    assert "quality" not in "\n".join(preview.describe(data / name, Silent()))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("BQA", "BQA"), ("QA60", "QA60"), ("LC08_T1_QA_PIXEL", "QA_PIXEL"), ("pixel_qa", "pixel_qa"),
        ("SCL_20m", "SCL"), ("Fmask", "Fmask"), ("cloudmask_2015-07-11", "cloudmask"), ("udm2", "udm2"),
        ("MSK_CLDPRB_20m", "MSK"), ("B8A", ""), ("coastal_aerosol", ""), ("cirrus", ""), ("swir16", ""),
        ("landmaskless", ""), ("aqua", ""), ("NDVI_max", ""),
        ("monthly_2020-12", ""), ("sclerophyll", ""),
    ],
)  # fmt: skip
def test_names_of_quality_bands(name: str, part: str) -> None:
    assert flags.named(name) == part


def test_files_and_bands_that_mask_nothing_are_named(
    season: Path, raster: Raster, tmp_path: Path, tiny_grid: Grid
) -> None:
    values = np.random.default_rng(1).integers(1, 4000, (4, 40, 48)).astype(np.uint16)
    for path in sorted(season.iterdir()):
        raster(path, values, 0, ("red", "nir", "swir", "QA_PIXEL"))
        raster(path.with_name(f"{path.stem}_SCL.tif"), values[:1])
    codes = np.repeat(np.uint8([[1], [2]]), 20, axis=0).repeat(48, axis=1)
    raster(tmp_path / "labels.tif", codes[np.newaxis])
    text = f"""name: x
imagery: {{folder: {season}, bands: [red, nir]}}
legend: [{{code: 1, name: wheat}}, {{code: 2, name: maize}}]
labels: {{file: labels.tif}}
split: {{tile: 8}}
train: {{patch: 64}}
"""
    (tmp_path / "x.yaml").write_text(text)
    told = "\n".join(preview.describe(tmp_path / "x.yaml", Silent()))
    assert (
        "2025-05-01_SCL.tif and 2 more beside the imagery, by name of quality, masks noth" in told
    )
    assert "2025-05-01.tif has QA_PIXEL, by name of quality, which masks nothing" in told
    masks = f"bands: [red, nir], masks: {{folder: {season}, pattern: '{{date}}_SCL.tif'}}"
    (tmp_path / "x.yaml").write_text(text.replace("bands: [red, nir]", masks))
    assert "quality" not in "\n".join(preview.describe(tmp_path / "x.yaml", Silent()))
