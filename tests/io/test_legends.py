"""Legends: read from every kind of file, and their names back from every file of the products."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg.errors import ConfigError
from geoseg.feedback import Silent
from geoseg.grid import Grid
from geoseg.io import configs, legends, plain_yaml
from geoseg.io.raster import geotiffs
from geoseg.legend import Legend, LegendClass
from geoseg.product import style
from geoseg.product.raster import mosaic
from geoseg.product.style import read_legend

GOOD = Legend(
    (
        LegendClass(3, "озимая пшеница", "#e69f00"),
        LegendClass(1, 'maïs "grain", A & <B>', "#56b4e9"),
        LegendClass(200, "冬小麦; 大麦", "#009e73"),
        LegendClass(0, "l'herbe", "#000000"),
    )
)
CONFIG = {
    "name": "x",
    "imagery": {"folder": "images", "pattern": "{date}.tif"},
    "labels": {"file": "labels.tif"},
}


def is_name(text: str) -> bool:
    try:
        Legend((LegendClass(1, text, "#000000"), LegendClass(2, text + "x", "#000000")))
    except ConfigError:
        return False
    return True


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
classes = st.lists(
    st.tuples(st.integers(0, 254), names.filter(is_name), st.integers(0, 0xFFFFFF)),
    min_size=2,
    max_size=12,
    unique_by=(lambda c: c[0], lambda c: c[1]),
)
any_legend = classes.map(
    lambda found: Legend(tuple(LegendClass(code, n, f"#{color:06x}") for code, n, color in found))
)


def as_csv(legend: Legend, delimiter: str = ",") -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["code", "name", "color"])
    writer.writerows([c.code, c.name, c.color] for c in legend)
    return text.getvalue()


def as_colour_map(legend: Legend) -> str:
    lines = [f"{c.code},{','.join(map(str, c.rgb))},255,{c.name}" for c in legend]
    head = ["# QGIS Generated Color Map Export File", "INTERPOLATION:EXACT"]
    return "\n".join([*head, *lines]) + "\n"


def as_palette(legend: Legend) -> str:
    return "\n".join(f"{c.code} {' '.join(map(str, c.rgb))} 255 {c.name}" for c in legend)


def as_yaml(legend: Legend) -> str:
    entries = [{"code": c.code, "name": c.name, "color": c.color} for c in legend]
    return plain_yaml.dump(entries)


WRITERS: dict[str, Callable[[Legend], str]] = {
    "a.yaml": as_yaml,
    "a.csv": as_csv,
    "b.csv": lambda legend: as_csv(legend, ";"),
    "c.csv": lambda legend: as_csv(legend, "\t"),
    "d.csv": lambda legend: "\ufeff" + as_csv(legend),
    "a.qml": style.raster_style,
    "a.txt": as_colour_map,
    "a.clr": as_palette,
}


def read(path: Path) -> Legend:
    """As a config reads it."""
    content = {**CONFIG, "legend": path.name}
    return configs.parse(content, path.parent, "x.yaml").make_legend()


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(WRITERS[name](GOOD).encode())
    assert read(tmp_path / name) == GOOD


@pytest.mark.parametrize("name", WRITERS)
@given(legend=any_legend)
@settings(max_examples=60, deadline=None)
def test_any_legend_survives(name: str, legend: Legend) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(WRITERS[name](legend).encode())
        assert read(path) == legend


def test_a_config_is_a_legend(tmp_path: Path) -> None:
    entries = plain_yaml.load(as_yaml(GOOD))
    (tmp_path / "other.yaml").write_text(plain_yaml.dump({"name": "other", "legend": entries}))
    assert read(tmp_path / "other.yaml") == GOOD


def test_colours_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Name;Value\nwheat;4\n\nmaize;2\n")
    found = legends.read(tmp_path / "a.csv")
    assert found == [{"code": 4, "name": "wheat"}, {"code": 2, "name": "maize"}]
    assert len({c.color for c in read(tmp_path / "a.csv")}) == 2


def test_transparent_entries_are_nodata(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1,1,2,3,255,wheat\n2,3,2,1,255,maize\n255,0,0,0,0,\n")
    assert read(tmp_path / "a.txt").names == ("wheat", "maize")


MISTAKES: dict[str, tuple[str, bytes, str]] = {
    "no file": ("none.csv", b"", "none.csv: no such legend file"),
    "kind": ("a.xlsx", b"x", "a.xlsx: not a kind of legend.*.csv, .qml"),
    "encoding": ("a.csv", b"code,name\n1,a\n2,\xe9t\xe9\n", "a.csv, line 3: not UTF-8"),
    "empty": ("a.csv", b"", "a.csv: no class"),
    "heading": ("a.csv", b"1,wheat,#ffffff\n", "a.csv, line 1: no column 'code'.*'1', 'wheat'"),
    "code": ("a.csv", b"code,name\n1,a\n\nx,b\n", "a.csv, line 4: code 'x' is not a whole number"),
    "range": ("a.csv", b"code,name\n1,a\n255,b\n", "a.csv, line 3: code '255'.*0 to 254"),
    "name": ("a.csv", b"code,name\n1,\n", "a.csv, line 2: code 1 has no name"),
    "colour": (
        "a.csv",
        b"code,name,color\n1,a,red\n",
        "a.csv, line 2: colour 'red' is not #rrggbb",
    ),
    "quote": ("a.csv", b'code,name\n1,"a\n', "a.csv, line 2: not valid CSV"),
    "twice": ("a.csv", b"code,name\n1,a\n1,b\n", "code '1' is used twice"),
    "yaml": ("a.yaml", b"- {code: 1", "a.yaml: not valid YAML.*line 1"),
    "yaml kind": ("a.yaml", b"wheat: 1\n", "a.yaml: a legend is a list of classes"),
    "yaml key": ("a.yaml", b"- {code: 1, nam: a}\n", "legend.0.nam: unknown key"),
    "xml": ("a.qml", b"<qgis>\n<pipe>\n</qgis>", "a.qml, line 3: not valid XML"),
    "entities": ("a.qml", b'<!DOCTYPE a [<!ENTITY b "c">]><a/>', "a.qml declares XML entities"),
    "style": ("a.qml", b"<qgis/>", "a.qml: no paletted raster style"),
    "clr": ("a.clr", b"1 2 3 4\n", "a.clr, line 1: '1 2 3 4' is not"),
    "alpha": ("a.txt", b"# x\n1,2,3,4,256,a\n", "a.txt, line 2: colour 2,3,4,256 has a part above"),
    "no name": ("a.txt", b"1,2,3,4,255\n", "a.txt, line 1: code 1 has no name"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_name_file_and_line(tmp_path: Path, mistake: str) -> None:
    name, content, message = MISTAKES[mistake]
    if mistake != "no file":
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["", " a", "a\tb", "a\nb", "a\0", "\ud800", "\uffff"])
def test_names_that_no_file_can_hold(name: str) -> None:
    with pytest.raises(ConfigError, match=r"legend: the name .* of code 1"):
        Legend((LegendClass(1, name, "#000000"), LegendClass(2, "b", "#000000")))


def sld_names(text: str) -> dict[int, tuple[Any, Any]]:
    entries = ET.fromstring(text).iter("{http://www.opengis.net/sld}ColorMapEntry")
    return {int(e.get("quantity", "")): (e.get("label"), e.get("color")) for e in entries}


def qml_names(text: str) -> dict[int, tuple[Any, Any]]:
    entries = ET.fromstring(text).iter("paletteEntry")
    return {int(e.get("value", "")): (e.get("label"), e.get("color")) for e in entries}


def table_names(text: str) -> dict[int, tuple[Any, Any]]:
    rows = [[cell.text for cell in row] for row in ET.fromstring(text).iter("Row")]
    return {int(r[0] or ""): (r[2], "#" + bytes(map(int, r[3:6])).hex()) for r in rows}


@given(legend=any_legend)
@settings(max_examples=200, deadline=None)
def test_names_survive_in_styles(legend: Legend) -> None:
    expected = {c.code: (c.name, c.color) for c in legend}
    table = style.attribute_table(legend, [7] * len(legend))
    names = {c.code: c.name for c in legend}
    assert sld_names(style.raster_sld(legend)) == expected
    assert qml_names(style.raster_style(legend)) == expected
    assert table_names(style.category_names(names, table)) == expected


def gdal_names(path: Path) -> tuple[dict[int, str], dict[int, tuple[str, str]]]:
    """Category names and attribute table as GDAL tells them."""
    run = subprocess.run(["gdalinfo", path], capture_output=True, check=True)
    text = run.stdout.decode()
    listed = re.search(r"Categories:\n((?: +\d+: .*\n|  +\d+:\n)+)", text)
    assert listed
    found = re.findall(r"^ +(\d+): (.*)$", listed[1].partition("Color Table")[0], re.MULTILINE)
    categories = {int(code): name for code, name in found}
    lines = text.split("\n")
    table = "\n".join(lines[lines.index('<GDALRasterAttributeTable tableType="thematic">') :])
    end = table.index("</GDALRasterAttributeTable>") + len("</GDALRasterAttributeTable>")
    return categories, table_names(table[:end])


@pytest.mark.skipif(not shutil.which("gdalinfo"), reason="Debian's gdal-bin")
@given(legend=any_legend)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_names_survive_in_the_raster(legend: Legend) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, grid = Path(name), Grid(None, Affine.identity(), 8, 9)
        values = np.full((2, 8, 9), legend.codes[0], np.uint8)
        with geotiffs.create(folder / "b.tif", grid, geotiffs.RasterSpec("uint8", 2, 255)) as part:
            part.write(values, grid.window)
        paths = folder / "m_class.tif", folder / "m_confidence.tif"
        mosaic([(grid.window, folder / "b.tif")], grid, legend, paths, Silent())
        assert read_legend(paths[0]) == legend
        categories, table = gdal_names(paths[0])
        assert {c.code: c.name for c in legend}.items() <= categories.items()
        assert table == {c.code: (c.name, c.color) for c in legend}
