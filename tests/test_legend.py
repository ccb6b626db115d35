"""Names of people's making: one spelling at every door, and a difference that cannot be seen is shown."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
from affine import Affine
from shapely.geometry import Point, box

from geoseg.analysis.change.outputs import ChangeRequest, compare_files
from geoseg.analysis.control_points import score_points
from geoseg.analysis.parcels.verdicts import declarations
from geoseg.config import LabelsConfig
from geoseg.errors import ConfigError, LabelError, ParcelError
from geoseg.feedback import Silent
from geoseg.grid import Grid
from geoseg.imagery.labels import open_labels
from geoseg.io import configs
from geoseg.io.raster import geotiffs
from geoseg.legend import NODATA, UNKNOWN, Legend, LegendClass, show, spell
from geoseg.product import style
from geoseg.product.style import read_legend

NFC, NFD = unicodedata.normalize("NFC", "maïs"), unicodedata.normalize("NFD", "maïs")
LEGEND = Legend((LegendClass(1, NFC, "#ff0000"), LegendClass(2, "Mix 1.0", "#00ff00")))
SPELLINGS = [NFC, NFD, f" {NFC}", f"{NFC}\u00a0", f"\t{NFD} \n"]
GRID = Grid("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_100_000), 8, 8)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NFD, NFC),
        ("  a \u00a0 b\t c ", "a b c"),
        ("Wheat", "Wheat"),
        (3, "3"),
        (3.0, "3"),
        (np.float32(3), "3"),
        (3.5, "3.5"),
        ("3.0", "3.0"),
        ("Mix 1.0", "Mix 1.0"),
        ("088", "088"),
        (None, ""),
        (float("nan"), ""),
        (" ", ""),
    ],
)
def test_one_spelling(value: object, expected: str) -> None:
    assert spell(value) == expected


@pytest.mark.parametrize(
    ("text", "place"),
    [(NFC, 0), ("Mix 1.0", 1), ("1", 0), ("1.0", 0), ("2.00", 1), ("Mix 1", -1), ("3", -1)],
)
def test_names_before_codes(text: str, place: int) -> None:
    assert LEGEND.place(text) == place


def test_a_name_that_is_another_ones_code() -> None:
    legend = Legend((LegendClass(1, "2", "#000000"), LegendClass(2, "1.0", "#000000")))
    assert [legend.place(text) for text in ("1", "2", "1.0", "2.0")] == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("rye", "'rye'"),
        ("", "''"),
        ("m\u0430ïs", r"'m\\u0430\\xefs' \(looks like 'ma\\xefs', in Unicode it is another\)"),
        ("maïs\u200b", r"'ma\\xefs\\u200b' \(looks like"),
        ("mais", r"'mais' \(looks like 'ma\\xefs'"),
    ],
)
def test_what_cannot_be_seen_is_shown(name: str, shown: str) -> None:
    assert re.match(shown, show(name, LEGEND.names))


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_legend_in_any_spelling(tmp_path: Path, name: str) -> None:
    content: dict[str, Any] = {
        "name": "x",
        "imagery": {"folder": "images"},
        "labels": {"file": "labels.tif"},
        "legend": [{"code": 1, "name": name}, {"code": 2, "name": "Mix  1.0"}],
    }
    config = configs.parse(content, tmp_path, "x.yaml")
    assert config.make_legend().names == (NFC, "Mix 1.0")
    assert [c.name for c in config.legend] == [NFC, "Mix 1.0"]


def test_one_name_in_two_spellings_is_used_twice() -> None:
    classes = (LegendClass(1, NFC, "#000000"), LegendClass(2, NFD, "#000000"))
    with pytest.raises(ConfigError, match=r"spelled 'ma\\xefs' and 'mai\\u0308s'"):
        Legend(classes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("code,name\n1,a\n1,b\n", "code '1' is used twice"),
        ("code,name\n1,a\n2,a\n", "name 'a' is used twice"),
        ("code,name\n1,a\n", "at least two classes"),
    ],
)
def test_a_bad_legend_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "crops.csv").write_text(text)
    content = {"name": "x", "imagery": {"folder": "i"}, "labels": {"file": "l.tif"}}
    with pytest.raises(ConfigError, match=rf"crops\.csv: .*{message}"):
        configs.parse({**content, "legend": "crops.csv"}, tmp_path, "x.yaml")


def test_a_bad_entry_in_a_legend_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "crops.yaml").write_text("- {code: 999, name: a}\n- {code: 2, name: b}\n")
    content = {"name": "x", "imagery": {"folder": "i"}, "labels": {"file": "l.tif"}}
    with pytest.raises(ConfigError, match=r"crops\.yaml: legend\.0\.code"):
        configs.parse({**content, "legend": "crops.yaml"}, tmp_path, "x.yaml")


def labels(path: Path, crops: list[Any], ignore: tuple[Any, ...] = ()) -> tuple[int, ...]:
    """Codes found by the labels; one square of four pixels for each crop."""
    shapes = [box(500_020, 5_099_920, 500_040, 5_099_940)] * len(crops)
    geopandas.GeoDataFrame({"crop": crops}, geometry=shapes, crs=GRID.crs).to_file(path)
    found = open_labels(LabelsConfig(file=path, ignore=ignore), GRID, LEGEND)
    indices, _ = found.read(GRID.window)
    return tuple(LEGEND.codes[np.unique(indices[indices != UNKNOWN])].tolist())


@pytest.mark.parametrize("name", [*SPELLINGS, "1", "1.0", 1, 1.0])
def test_labels_in_any_spelling(tmp_path: Path, name: object) -> None:
    assert labels(tmp_path / "l.gpkg", [name]) == (1,)


def test_codes_with_a_gap_and_names_with_a_point(tmp_path: Path) -> None:
    assert labels(tmp_path / "a.gpkg", [2.0, None]) == (2,)
    assert labels(tmp_path / "b.gpkg", ["Mix 1.0"]) == (2,)
    with pytest.raises(LabelError, match=r"not in the legend: Mix 1 \(it has"):
        labels(tmp_path / "c.gpkg", ["Mix 1"])


@pytest.mark.parametrize("ignored", [NFD, f"{NFC} ", 1, "1"])
def test_what_to_ignore_in_any_spelling(tmp_path: Path, ignored: object) -> None:
    assert labels(tmp_path / "l.gpkg", ["Mix 1.0", NFC], (ignored,)) == (2,)


def test_a_stranger_that_looks_like_a_class(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"'m\\u0430\\xefs' \(looks like"):
        labels(tmp_path / "l.gpkg", ["m\u0430ïs"])


@pytest.mark.parametrize("name", SPELLINGS)
def test_declarations_in_any_spelling(tmp_path: Path, name: str) -> None:
    table = tmp_path / "t.csv"
    table.write_text(f'declared,class\n"{name}","{NFD} "\n', encoding="utf-8")
    texts = np.array([spell(name)], dtype=object)
    for known in (declarations(LEGEND, None), declarations(LEGEND, table)):
        assert known.to_indices(texts).tolist() == [0]
    table.write_text("declared,class\n1,m\u0430ïs\n", encoding="utf-8")
    with pytest.raises(ParcelError, match=r"'m\\u0430\\xefs' \(looks like"):
        declarations(LEGEND, table)


def write_map(path: Path, names: tuple[str, str], codes: tuple[int, int] = (1, 2)) -> Path:
    """The first class above the second, with a legend tag as another program may have left it."""
    values = np.repeat(np.array(codes, np.uint8), 4)[:, np.newaxis].repeat(8, axis=1)
    pairs = zip(codes, names, strict=True)
    legend = Legend(tuple(LegendClass(code, name, "#000000") for code, name in pairs))
    tag = style.legend_tag(legend)
    for given, kept in zip(names, legend.names, strict=True):
        quoted = given.encode("ascii", "backslashreplace").decode()
        tag = tag.replace(kept.encode("ascii", "backslashreplace").decode(), quoted)
        tag = tag.replace(kept, given)
    spec = geotiffs.RasterSpec("uint8", nodata=NODATA, tags=((style.LEGEND_TAG, tag),))
    with geotiffs.create(path, GRID, spec) as target:
        target.write(values[np.newaxis], GRID.window)
    return path


@pytest.mark.parametrize("other", [NFD, "ma\u0069\u0308s"])
def test_maps_that_differ_in_spelling_alone_do_not_differ(tmp_path: Path, other: str) -> None:
    before = write_map(tmp_path / "a_class.tif", (NFC, "winter  wheat"))
    after = write_map(tmp_path / "b_class.tif", (other, "winter wheat"), (9, 4))
    assert read_legend(after).names == (NFC, "winter wheat")
    lines = compare_files(ChangeRequest(before, after), tmp_path / "out", Silent())
    assert any(line.split() == ["unchanged", "64", "pixels", "0.6", "ha"] for line in lines)
    assert any(line.split() == ["changed", "0", "pixels", "0.0", "ha"] for line in lines)


@pytest.mark.parametrize("name", SPELLINGS)
def test_control_points_in_any_spelling(tmp_path: Path, name: str) -> None:
    path = write_map(tmp_path / "a_class.tif", (NFC, "Mix 1.0"))
    points = [Point(500_005, 5_099_995), Point(500_005, 5_099_925)]
    file = tmp_path / "p.gpkg"
    geopandas.GeoDataFrame({"crop": [name, "Mix 1.0"]}, geometry=points, crs=GRID.crs).to_file(file)
    score = score_points(path, LEGEND, file, "crop", None)
    assert (score.used, score.right) == (2, 2)
