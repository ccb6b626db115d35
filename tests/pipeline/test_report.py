"""The report step on a run that was really predicted, without training and without Prefect."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from geoseg.io.raster import rasters
from geoseg.pipeline.run import Run
from tests.support.engine_season import DATES, HEIGHT, WIDTH
from tests.support.made_run import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("reporting"))


@pytest.fixture(scope="module")
def told(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.folder.root / "report.json").read_text("utf-8"))
    return found


def test_clear_shares_are_those_of_the_images(told: dict[str, Any]) -> None:
    corner, stripe, all_of_it = 40 * 30, 5 * WIDTH, HEIGHT * WIDTH
    assert [item["date"] for item in told["inputs"]] == list(DATES)
    shares = [item["clear_share"] for item in told["inputs"]]
    assert shares == [1 - (corner + stripe) / all_of_it, 1 - corner / all_of_it]
    assert told["clear_read"] == 1


def test_areas_and_confidence_are_those_of_the_rasters(run: Run, told: dict[str, Any]) -> None:
    window = rasters.describe(run.folder.class_map).grid.window
    codes = rasters.read(run.folder.class_map, [1], window)[0][0]
    percent = rasters.read(run.folder.confidence, [1], window)[0][0]
    for row in told["areas"]:
        here = percent[codes == row["code"]]
        assert row["pixels"] == here.size
        if here.size:
            assert row["mean_confidence"] == pytest.approx(here.mean())
            assert row["p10_confidence"] == np.sort(here)[int(np.ceil(here.size / 10)) - 1]
            assert row["low_share"] == pytest.approx((here < 50).mean())
    assert told["nodata_pixels"] == (codes == 255).sum() == 40 * 30
    assert told["confidence"]["mean"] == pytest.approx(percent[codes != 255].mean())


def test_outputs_are_there_and_told_apart(run: Run, told: dict[str, Any]) -> None:
    outputs = told["outputs"]
    assert {"class", "confidence", "polygons", "quicklook", "report", "model"} <= set(outputs)
    assert {"small_class.qml", "small_class.sld", "report.md", "report.json"} <= set(outputs)
    assert all((run.folder.root / path).exists() for path in outputs.values())
    page = run.folder.report.read_text("utf-8")
    assert '<a href="small_class.sld">' in page
    assert str(run.bundle.parent) not in page.partition("<summary>Config")[0]


def test_a_map_that_nobody_checked_says_so(told: dict[str, Any]) -> None:
    assert told["findings"][0]["about"] == "No independent validation"
    assert told["run"]["fingerprint"][:16] in told["citation"]["text"]
    assert "cluster" not in told["config"]
