"""QGIS shows the products with names and colours, without any setting."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from affine import Affine
from rasterio import CRS

from geoseg.feedback import Silent
from geoseg.grid import Grid
from geoseg.io.raster import geotiffs
from geoseg.legend import NODATA, PALETTE, Legend, LegendClass
from geoseg.product.raster import mosaic
from geoseg.product.vectors.polygons import vectorize
from tests.support.common import ROOT

PYTHON = Path("/usr/bin/python3")
"""Debian's own: QGIS is installed for it alone."""

NAMES = ("озимая пшеница", 'maïs "grain"', "a < b & c, d", "冬小麦")
LEGEND = Legend(tuple(LegendClass(3 * i, n, PALETTE[i]) for i, n in enumerate(NAMES)))
GRID = Grid(str(CRS.from_epsg(32631).to_wkt()), Affine(10, 0, 6e5, 0, -10, 5.8e6), 400, 600)


def has_qgis() -> bool:
    if not PYTHON.exists():
        return False
    found = subprocess.run([PYTHON, "-c", "import qgis.core"], check=False, capture_output=True)
    return found.returncode == 0


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What QGIS tells of a map of large fields, three quarters of them with a class."""
    if not has_qgis():
        pytest.skip(f"{PYTHON} cannot import qgis.core (Debian's python3-qgis)")
    folder = tmp_path_factory.mktemp("qgis")
    rng = np.random.default_rng(0)
    codes = np.kron(rng.choice(LEGEND.codes, (8, 12)), np.ones((50, 50), np.uint8))
    codes[:, :150] = NODATA
    block, small = folder / "block.tif", Grid(None, Affine.identity(), 400, 600)
    with geotiffs.create(block, small, geotiffs.RasterSpec("uint8", 2)) as writer:
        writer.write(np.stack([codes, np.where(codes == NODATA, NODATA, 80)]), GRID.window)
    paths = folder / "m_class.tif", folder / "m_confidence.tif"
    mosaic([(GRID.window, block)], GRID, LEGEND, paths, Silent())
    count = vectorize(paths, LEGEND, [folder / "m_crops.gpkg"], Silent()).polygons
    script = ROOT / "tests/support/qgis_render.py"
    run = subprocess.run(
        [PYTHON, script, paths[0], folder / "m_crops.gpkg", folder],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={"QT_QPA_PLATFORM": "offscreen", "HOME": str(folder), "PATH": os.defpath},
    )
    told = dict(json.loads(run.stdout))
    assert told["polygons"]["count"] == count
    for path in folder.glob("*.png"):
        assert path.stat().st_size > 2000
    return {**told, "folder": {"path": str(folder)}}


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["raster", "polygons"])
def test_layers_load_with_names_and_colours(seen: dict[str, dict], layer: str) -> None:
    assert seen[layer]["valid"]
    assert seen[layer]["crs"] == "EPSG:32631"
    assert seen[layer]["legend"] == {c.name: c.color for c in LEGEND}
    assert [name for name in seen[layer]["tree"] if name in NAMES] == list(NAMES)


def color_map(path: Path) -> list[tuple[str, ...]]:
    """Kind of the colour map and its entries, wherever it stands in the document."""
    [found] = ET.parse(path).iter("{http://www.opengis.net/sld}ColorMap")
    keys = ("quantity", "color", "label")
    return [(found.get("type", ""),), *(tuple(e.get(key, "") for key in keys) for e in found)]


@pytest.mark.slow
def test_the_sld_says_what_that_of_qgis_says(seen: dict[str, dict]) -> None:
    """QGIS reads no SLD of rasters, but writes it: for the same raster, the same colour map."""
    folder = Path(seen["folder"]["path"])
    ours, theirs = color_map(folder / "m_class.sld"), color_map(folder / "qgis.sld")
    assert ours == theirs == [("values",), *((str(c.code), c.color, c.name) for c in LEGEND)]


@pytest.mark.slow
def test_the_attribute_table(seen: dict[str, dict]) -> None:
    pixels = [int(float(text)) for text in seen["table"].pop("Count")]
    assert sum(pixels) == 400 * 450
    assert seen["table"] == {
        "Value": [str(c.code) for c in LEGEND],
        "Class": list(NAMES),
        "Red": [str(c.rgb[0]) for c in LEGEND],
        "Green": [str(c.rgb[1]) for c in LEGEND],
        "Blue": [str(c.rgb[2]) for c in LEGEND],
        "Alpha": ["255"] * len(LEGEND),
    }


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["raster", "polygons"])
def test_the_picture_holds_the_legends_colours(seen: dict[str, dict], layer: str) -> None:
    colors = seen[layer]["colors"]
    total = sum(colors.values())
    for entry in LEGEND:
        assert colors[entry.color] > 0.08 * total, entry.name
    # Nodata shows the page.
    assert 0.2 < colors["#ffffff"] / total < 0.3
    known = sum(colors[c.color] for c in LEGEND)
    assert known + colors["#ffffff"] > 0.95 * total, "thin outlines are all the rest"
