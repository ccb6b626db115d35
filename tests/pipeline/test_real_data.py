"""The committed configs on the real imagery they name, from imagery to report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from geoseg.imagery.scenes import select
from geoseg.io import configs
from geoseg.io.raster import rasters
from tests.support.common import ROOT, run_geoseg

pytestmark = [pytest.mark.slow, pytest.mark.flow, pytest.mark.timeout(900)]


def _run(name: str, data: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run a config; its map must lie exactly where the imagery does."""
    monkeypatch.setenv("GEOSEG_DATA", str(data))
    config = ROOT / f"configs/{name}.yaml"
    done = run_geoseg("run", str(config), "-o", str(output))
    assert done.returncode == 0, done.stderr
    grid = select(configs.load(config).imagery)[0].grid
    assert rasters.describe(output / f"{name}_class.tif").grid == grid
    report: dict[str, Any] = json.loads((output / "report.json").read_text())
    return report


def test_flevoland(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = _run("flevoland", data, tmp_path, monkeypatch)
    assert report["scores"]["test_scores"]["source"] == "test_split"
    assert report["scores"]["test_scores"]["overall_accuracy"] >= 0.88
    assert all(row["hectares"] is None for row in report["areas"])  # no CRS, no hectares


def test_maipo(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """About 46 fields are held back: one of them is two points of accuracy."""
    report = _run("maipo", data, tmp_path, monkeypatch)
    assert report["scores"]["test_scores"]["overall_accuracy"] >= 0.85
    mapped = sum(row["pixels"] for row in report["areas"])
    assert report["nodata_pixels"] / (mapped + report["nodata_pixels"]) > 0.996


def test_slovenia(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of five dates are wholly clouded; always saying forest gets 0.71."""
    report = _run("slovenia", data, tmp_path, monkeypatch)
    assert report["scores"]["test_scores"]["overall_accuracy"] > 0.75
