"""What ``geoseg inspect CONFIG`` tells before hours are spent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from geoseg.feedback import Silent
from geoseg.operations import preview

ROOT = Path(__file__).parents[1]


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
