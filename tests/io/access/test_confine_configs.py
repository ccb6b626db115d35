"""Configs that would run code, bring out secrets, fill the memory or send work elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoseg.config import ClusterConfig
from geoseg.engine.executors.cluster import ClusterSettings, check
from geoseg.errors import ConfigError, ConfinedError
from geoseg.io import configs, legends
from geoseg.io.access import confine

GOOD = {"name": "x", "imagery": {"folder": "i"}, "model": {"bundle": "m"}}


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "PREFECT_API_AUTH_STRING"])
def test_no_secret_gets_into_a_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for asked in (name, f"GEOSEG_{name}"):
        monkeypatch.setenv(asked, "hunter2")
        content = {**GOOD, "truth": f"/data/${{{asked}}}.tif"}
        with pytest.raises(ConfigError, match=rf"truth: .*{asked}") as told:
            configs.parse(content, tmp_path, "x.yaml")
        assert "hunter2" not in str(told.value)


@pytest.mark.parametrize("name", ["PATH", "BOTO_CONFIG", "PGSERVICEFILE"])
def test_only_some_variables_may_be_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/x")
    message = rf"truth: .*variable {name} may not be named.*export GEOSEG_{name} instead"
    with pytest.raises(ConfigError, match=message):
        configs.parse({**GOOD, "truth": f"${{{name}}}/a.tif"}, tmp_path, "x.yaml")
    monkeypatch.setenv(f"GEOSEG_{name}", "/data")
    config = configs.parse({**GOOD, "truth": f"${{GEOSEG_{name}}}/a.tif"}, tmp_path, "x.yaml")
    assert config.truth == Path("/data/a.tif")


def test_an_address_in_the_environment_gets_into_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOSEG_DB", "postgresql://geoseg:hunter2@host/db")
    with pytest.raises(ConfigError, match=r"truth: .*an address") as told:
        configs.parse({**GOOD, "truth": "${GEOSEG_DB}"}, tmp_path, "x.yaml")
    assert "hunter2" not in str(told.value)


def test_text_is_not_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOSEG_X", "hunter2")
    content = {
        **GOOD,
        "title": "${GEOSEG_X}",
        "imagery": {"folder": "i", "pattern": "${GEOSEG_X}{date}"},
    }
    assert "hunter2" not in configs.parse(content, tmp_path, "x.yaml").model_dump_json()


def test_yaml_is_data(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for trick in (
        f"name: !!python/object/apply:os.system ['touch {marker}']",
        f"name: !!python/object/new:subprocess.Popen [['touch', '{marker}']]",
        "name: !!python/name:os.system",
    ):
        (tmp_path / "x.yaml").write_text(trick)
        with pytest.raises(ConfigError, match="not valid YAML: could not determine a constructor"):
            configs.load(tmp_path / "x.yaml")
    assert not marker.exists()


@pytest.mark.parametrize("merge", [False, True])
def test_a_yaml_bomb(tmp_path: Path, merge: bool) -> None:
    lines = ["a0: &a0 {x: 1}" if merge else "a0: &a0 [x, x]"]
    for level in range(1, 30):
        same = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} " + (f"{{<<: [{same}]}}" if merge else f"[{same}]"))
    (tmp_path / "x.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="more than 50000 values"):
        configs.load(tmp_path / "x.yaml")


def test_a_style_with_entities(tmp_path: Path) -> None:
    bomb = "<!DOCTYPE q [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;'>]><qgis>&b;</qgis>"
    outside = "<!DOCTYPE q [<!ENTITY % p SYSTEM 'file:///etc/passwd'>%p;]><qgis/>"
    for text in (bomb, outside):
        (tmp_path / "x.qml").write_text(text)
        with pytest.raises(ConfigError, match="declares XML entities"):
            legends.read(tmp_path / "x.qml")


def test_clusters_are_the_operators_choice(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEOSEG_SCHEDULER", raising=False)
    named = ClusterSettings.of(ClusterConfig(**{"class": "distributed.LocalCluster"}))
    address = ClusterSettings(address="tcp://127.0.0.1:9")
    for settings in (named, address):
        with pytest.raises(ConfinedError, match=r"may not be named while GEOSEG_ROOTS is set"):
            check(settings)
    check(ClusterSettings())
    monkeypatch.setenv("GEOSEG_SCHEDULER", "tcp://127.0.0.1:9")
    check(address)
    monkeypatch.setenv(confine.CLUSTERS, "1")
    check(named)
    monkeypatch.delenv(confine.ROOTS)
    monkeypatch.delenv(confine.CLUSTERS)
    check(named)
