"""The parcel check in a run, in its config and as a command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyogrio
import pytest

from geoseg.errors import ConfigError, GeosegError, ParcelError
from geoseg.io import configs, plain_yaml
from geoseg.pipeline.parcels import check_run, require_run
from geoseg.pipeline.run import Run
from geoseg.pipeline.select import select_scenes
from tests.support.parcel_map import box, write_layer

Geoseg = Callable[..., tuple[int, str, str]]


def test_a_run_checks_the_parcels_of_its_config(halves: Path, tmp_path: Path) -> None:
    write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)], crop=["maize"])
    config = {
        "name": "m",
        "imagery": {"folder": ".", "pattern": "{date}.tif"},
        "model": {"bundle": "model"},
        "parcels": {"file": "p.gpkg", "declared": "crop", "above": 95},
    }
    (tmp_path / "m.yaml").write_text(plain_yaml.dump(config))
    run = Run.open(tmp_path / "m.yaml", tmp_path)
    record = check_run(run)
    assert record["parcels"]["limits"] == {"above": 95, "share": 50, "mapped": 50}
    assert record["parcels"]["checks"]["unsure"]["parcels"] == 1
    assert run.recorded("parcels") == record
    assert pyogrio.read_info(run.folder.parcels, layer="parcels")["features"] == 1
    (tmp_path / "m.yaml").write_text(plain_yaml.dump(config | {"parcels": None}))
    run = Run.open(tmp_path / "m.yaml", tmp_path)
    assert check_run(run) == {} == run.recorded("parcels")


def test_a_run_tells_of_bad_parcels_before_it_begins(season: Path, tmp_path: Path) -> None:
    write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)], crop=["maize"])
    content = {
        "name": "m",
        "imagery": {"folder": str(season), "pattern": "{date}.tif"},
        "legend": [{"code": 1, "name": "a"}, {"code": 2, "name": "b"}],
        "labels": {"file": "labels.tif"},
    }
    for section, message in (
        ({"file": "p.gpkg"}, None),
        ({"file": "p.gpkg", "declared": "crop"}, None),
        ({"file": "q.gpkg"}, "no such file"),
        ({"file": "p.gpkg", "declared": "kultur"}, "no column 'kultur'"),
        ({"file": "p.gpkg", "declared": "crop", "mapping": "c.csv"}, r"c\.csv: No such file"),
    ):
        (tmp_path / "m.yaml").write_text(plain_yaml.dump(content | {"parcels": section}))
        run = Run.open(tmp_path / "m.yaml", tmp_path / "out")
        if message is None:
            require_run(run)
            continue
        with pytest.raises(ParcelError, match=message):
            select_scenes(run)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"file": "p.gpkg", "mapping": "c.csv"}, "parcels: 'mapping' needs 'declared'"),
        ({"file": "p.gpkg", "above": 101}, r"parcels\.above: .* 100"),
        ({"fil": "p.gpkg"}, r"parcels\.fil: unknown key; did you mean 'file'"),
    ],
)
def test_mistakes_in_the_config(section: dict[str, Any], message: str) -> None:
    content = {
        "name": "m",
        "imagery": {"folder": ".", "pattern": "{date}.tif"},
        "model": {"bundle": "model"},
        "parcels": section,
    }
    with pytest.raises(ConfigError, match=message):
        configs.parse(content, Path("/area"), "m.yaml")


def test_the_command(halves: Path, tmp_path: Path, geoseg: Geoseg) -> None:
    layer = write_layer(tmp_path / "p.gpkg", [box(2, 2, 5, 5)] * 2, crop=["maize", "oats"])
    code, out, _ = geoseg("parcels", str(halves), str(layer), "--declared", "crop")
    assert code == 0
    assert f"parcels: {tmp_path / 'm_parcels.gpkg'}" in out
    assert "agrees" in out
    assert "declared 'oats' (1) is not in the legend" in out
    summary = json.loads((tmp_path / "m_parcels.summary.json").read_text())
    assert summary["hectares_agreed"] == 0.25
    code, _, err = geoseg("parcels", str(halves), str(tmp_path / "none.gpkg"))
    assert (code, "none.gpkg: no such file" in err) == (2, True)
    assert issubclass(ParcelError, GeosegError)
