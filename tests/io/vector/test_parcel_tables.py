"""The table of checked parcels: its columns, types, formats and style, and a full disk."""

from __future__ import annotations

import datetime
import json
import os
import resource
import signal
import sqlite3
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pytest

from geoseg.analysis.parcels.check import check_parcels
from geoseg.analysis.parcels.verdicts import CHECKS
from geoseg.errors import OutputError
from geoseg.feedback import Silent
from tests.support.parcel_map import CRS, box, check, request, write_layer


def test_column_names_that_are_taken_or_strange(halves: Path, tmp_path: Path) -> None:
    columns = {
        "fid": [5, 5],
        "geom": ["a", "b"],
        "CHECK": [1, 2],
        "check_2": [3, 4],
        "select": [True, False],
        'say "so"': ["'", '"; drop table parcels; --'],
        "название": ["поле №1", "О'Хара"],
        "maize": [None, 2.5],
        "pct_maize": ["x", "y"],
    }
    shapes = [box(1, 1, 2, 2), box(2, 1, 2, 2)]
    table = geopandas.GeoDataFrame({**columns, "crop": ["maize"] * 2, "geometry": shapes}, crs=CRS)
    layer = tmp_path / "p.geojson"
    pyogrio.write_dataframe(table, layer, driver="GeoJSON")
    out, summary = check(halves, layer, declared="crop")
    for name, values in columns.items():
        assert out[name].astype(object).where(out[name].notna(), None).tolist() == values, name
    assert out.check_3.tolist() == ["agrees"] * 2
    assert out.pct_maize_2.tolist() == [100, 100]
    assert summary["renamed_columns"] == {"check": "check_3", "pct_maize": "pct_maize_2"}


def test_attributes_of_all_types_are_kept(halves: Path, tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        "big": pd.array([2**62 + 1, None, -1], dtype="Int64"),
        "time": pd.to_datetime(["2025-05-01", None, "1999-12-31"]),
        "zone": pd.to_datetime(["2025-05-01T08:00Z", None, "1999-12-31T23:59Z"], utc=True),
        "day": [datetime.date(2025, 5, 1), None, datetime.date(1900, 1, 1)],
        "yes": pd.array([True, None, False], dtype="boolean"),
        "ratio": [0.1, np.nan, 1e300],
        "text": ["", None, "x" * 5000],
    }
    layer = write_layer(tmp_path / "p.gpkg", [box(1, 1, 2, 2)] * 3, **columns)
    check(halves, layer)
    found, given = (
        pyogrio.read_dataframe(path, layer=name)[list(columns)]
        for path, name in ((halves.with_name("out.gpkg"), "parcels"), (layer, "p"))
    )
    pd.testing.assert_frame_equal(found, given)


def test_formats_out(halves: Path, tmp_path: Path) -> None:
    layer = write_layer(
        tmp_path / "p.gpkg", [box(2, 2, 5, 5), None], crop=["maize", 'О"Хара'], n=[1, 2]
    )
    tables = {}
    for suffix in ("gpkg", "parquet", "csv"):
        path = tmp_path / f"out.{suffix}"
        check_parcels(request(halves, layer, declared="crop"), path, Silent())
        read = {
            "gpkg": partial(pyogrio.read_dataframe, layer="parcels"),
            "parquet": geopandas.read_parquet,
        }
        tables[suffix] = read.get(suffix, pd.read_csv)(path)
    assert tables["parquet"].crs == tables["gpkg"].crs == CRS
    assert tables["parquet"].geometry[0].equals(tables["gpkg"].geometry[0])
    assert list(tables["gpkg"].drop(columns="geometry")) == list(tables["csv"])
    for table in tables.values():
        assert table.crop.tolist() == ["maize", 'О"Хара']
        assert table.check.tolist() == ["agrees", "unknown declaration"]
        assert table.map_share[0] == 100
        assert np.isnan(table.map_share[1])
    with pytest.raises(OutputError, match=r"out\.shp: parcels are written as .gpkg, .parquet or"):
        check_parcels(request(halves, layer), tmp_path / "out.shp", Silent())


def test_the_same_input_gives_the_same_bytes(halves: Path, tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "p.gpkg", [box(1, 1, 5, 5)] * 50, crop=["maize"] * 50)
    for suffix in ("gpkg", "parquet", "csv"):
        paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
        for path in paths:
            check_parcels(request(halves, layer, declared="crop"), path, Silent())
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_geopackage_is_styled_by_the_check(halves: Path, tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)], Check=["maize"])
    for more, attribute, word in (
        ({"declared": "Check"}, "check_2", "disagrees"),
        ({}, "map_code", "winter wheat"),
    ):
        check(halves, layer, **more)
        with sqlite3.connect(tmp_path / "out.gpkg") as database:
            qml, table = database.execute(
                "select styleQML, f_table_name from layer_styles"
            ).fetchone()
        assert table == "parcels"
        assert f'attr="{attribute}"' in qml
        assert word in qml


def test_qgis_shows_the_verdicts(halves: Path, tmp_path: Path) -> None:
    """Debian's QGIS takes the style out of the GeoPackage: each verdict with its colour."""
    python = Path("/usr/bin/python3")
    script = (
        "import sys, json; from qgis.core import QgsApplication, QgsVectorLayer\n"
        "app = QgsApplication([], False); app.initQgis()\n"
        "layer = QgsVectorLayer(sys.argv[1] + '|layername=parcels', 'p')\n"
        "renderer = layer.renderer()\n"
        "feature = next(layer.getFeatures())\n"
        "entries = {c.value(): c.symbol().color().name() for c in renderer.categories()}\n"
        "print(json.dumps([layer.isValid(), renderer.classAttribute(), entries, feature['поле']]))\n"
    )
    probe = subprocess.run([python, "-c", "import qgis.core"], check=False, capture_output=True)
    if probe.returncode:
        pytest.skip(f"{python} cannot import qgis.core (Debian's python3-qgis)")
    # The style must go with the geometry column, whose name is taken here.
    columns = {"crop": ["maize"], "поле": ["О'Хара"], "geom": ["x"]}
    layer = write_layer(tmp_path / "p.geojson", [box(2, 2, 5, 5)], **columns)
    check(halves, layer, declared="crop")
    shown = subprocess.run(
        [python, "-c", script, tmp_path / "out.gpkg"],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={"QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path), "PATH": os.defpath},
    )
    assert json.loads(shown.stdout.splitlines()[-1]) == [True, "check", CHECKS, "О'Хара"]


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "csv"])
def test_no_room_leaves_the_old_table(halves: Path, tmp_path: Path, suffix: str) -> None:
    """A limit on file sizes acts as a full disk."""
    rng = np.random.default_rng(0)
    text = [rng.bytes(40).hex() for _ in range(4000)]
    layer = write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)] * 4000, text=text)
    target = tmp_path / f"out.{suffix}"
    target.write_text("as it was")
    before = sorted(path.name for path in tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=rf"out\.{suffix}.*cannot be written"):
            check_parcels(request(halves, layer), target, Silent())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert target.read_text() == "as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == before
