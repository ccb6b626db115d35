"""Every committed config is a test case, and every mistake in one gets an answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from geoseg.errors import ConfigError
from geoseg.io import configs
from geoseg.io.configs import parse
from tests.support.common import ROOT

GOOD: dict[str, Any] = {
    "name": "x",
    "imagery": {"folder": "images", "pattern": "{date}.tif"},
    "legend": [{"code": 1, "name": "a"}, {"code": 2, "name": "b"}],
    "labels": {"file": "labels.tif"},
}


SERVICES = [ROOT / "configs/service.yaml"]
RUNS = sorted(set((ROOT / "configs").glob("*.yaml")).difference(SERVICES))


@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.stem)
def test_committed_configs_are_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOSEG_DATA", "somewhere")
    config = configs.load(path)
    assert config.model.named or len(config.make_legend()) >= 2


@pytest.mark.parametrize("path", SERVICES, ids=lambda p: p.stem)
def test_committed_services_are_valid(path: Path) -> None:
    service = configs.load_service(path)
    for area in service.areas.values():
        assert area.run in RUNS


def test_paths_start_at_the_config() -> None:
    config = parse(GOOD, Path("/area"), "x.yaml")
    assert config.imagery.folder == Path("/area/images")


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    content = {**GOOD, "labels": {"file": "${GEOSEG_TEST}/labels.tif"}}
    monkeypatch.setenv("GEOSEG_TEST", "/labels")
    config = parse(content, Path("/area"), "x.yaml")
    assert config.labels is not None
    assert config.labels.file == Path("/labels/labels.tif")
    monkeypatch.delenv("GEOSEG_TEST")
    with pytest.raises(ConfigError, match=r"labels\.file: environment variable GEOSEG_TEST"):
        parse(content, Path("/area"), "x.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imagry": {}}, r"imagry: unknown key; did you mean 'imagery'"),
        ({"vectors": {"formats": ["gpkg", "gpkg"]}}, r"vectors\.formats: .*names a format twice"),
        ({"vectors": {"formats": ["shp"]}}, r"vectors\.formats\.0: .*'gpkg', 'parquet' or 'fgb'"),
        ({"vectors": {"minimum_area": -1}}, r"vectors\.minimum_area: .*greater than or equal to 0"),
        ({"predict": {"blok": 512}}, r"predict\.blok: unknown key; did you mean 'block'"),
        (
            {"predict": {"zzz": 1}},
            r"predict\.zzz: unknown key; known here: agreement, blend, block",
        ),
        (
            {"imagery": {"scenes": [{"fil": "a.tif"}]}},
            r"imagery\.scenes\.0\.fil: unknown key; did you mean 'file'",
        ),
        ({"predict": {"margin": -1}}, r"predict\.margin: .*or equal to 0, or: .* \(got -1\)"),
        ({"predict": {"precision": "fp16"}}, r"predict\.precision: .*'fp32' or 'bf16'"),
        ({"name": "a/b"}, r"name: .*\(got 'a/b'\)"),
        ({"imagery": {"folder": "x", "pattern": "all.tif"}}, "neither {date} nor {step}"),
        ({"imagery": {}}, "give either 'folder'"),
        ({"labels": None}, "needs 'model.bundle', or 'labels' and 'legend'"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse({**GOOD, **change}, Path(), "x.yaml")
    assert str(caught.value).startswith("x.yaml: ")


def test_every_mistake_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse({**GOOD, "one": 1, "two": 2}, Path(), "x.yaml")
    assert "one: unknown key" in str(caught.value)
    assert "two: unknown key" in str(caught.value)


@pytest.mark.parametrize("text", [": [", "- a\n- b", "", "\x00"])
def test_not_a_config(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        configs.load(path)


def test_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such config file"):
        configs.load(tmp_path / "x.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        configs.load(tmp_path)


def test_the_readme_example_is_valid(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    path = tmp_path / "valley.yaml"
    path.write_text(example)
    config = configs.load(path)
    assert config.split.by == "field"
    assert config.imagery.masks is not None
