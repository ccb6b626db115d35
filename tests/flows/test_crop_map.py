"""The whole product on a small reference scene: a real Prefect server, real Dask worker processes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import rasterio

from geoseg.io import plain_yaml
from tests.support.common import ROOT, run_geoseg

pytestmark = pytest.mark.flow

PRODUCTS = (
    "small_class.tif",
    "small_confidence.tif",
    "small_crops.gpkg",
    "report.html",
    "report.json",
    "quicklook.png",
    "small.json",
)


def start(*arguments: str, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "geoseg", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, **env},
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A Prefect home of its own: the user's database and profile are not touched."""
    return {"PREFECT_HOME": str(tmp_path_factory.mktemp("prefect"))}


@pytest.fixture(scope="module")
def finished(small_area: Path, home: dict[str, str]) -> Path:
    """The products of an undisturbed run."""
    done = run_geoseg(
        "run", str(small_area / "small.yaml"), "--output", str(small_area / "out"), env=home
    )
    assert done.returncode == 0, done.stderr
    for name in PRODUCTS:
        assert name in done.stdout or name == "report.json"
    return small_area / "out"


def test_products_and_report(finished: Path) -> None:
    for name in PRODUCTS:
        assert (finished / name).stat().st_size > 0
    report = json.loads((finished / "report.json").read_text())
    assert 0 < report["scores"]["test_scores"]["overall_accuracy"] <= 1
    assert 0 < report["scores"]["test_scores"]["mean_iou"] <= 1
    assert 0 < report["baselines"]["random_forest"]["overall_accuracy"] <= 1
    assert set(report["seconds"]) >= {"train", "predict", "stitch", "vectorize", "evaluate"}
    for path in report["outputs"].values():
        assert (finished / path).exists(), path


def test_the_item_names_every_product(finished: Path) -> None:
    item = json.loads((finished / "small.json").read_text())
    assets = item["assets"]
    named = {asset["href"] for asset in assets.values()}
    assert {*PRODUCTS[:-1], "small_class.qml", "small_class.sld"} <= named
    assert {"model/model.safetensors", "model/card.json"} <= named
    for asset in assets.values():
        digest = hashlib.sha256((finished / asset["href"]).read_bytes()).hexdigest()
        assert asset["file:checksum"] == "1220" + digest, asset["href"]
    derived = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert len(derived) == 6, "three dates and their masks"
    assert all((finished / href).is_file() for href in derived)
    with rasterio.open(finished / "small_class.tif") as source:
        assert source.tags()["GEOSEG_RUN"] == item["properties"]["geoseg:run"]
        assert source.tags()["GEOSEG_DATES"] == "2025-03-15/2025-11-15"


def test_the_same_command_again_redoes_nothing(
    small_area: Path, finished: Path, home: dict[str, str]
) -> None:
    before = {name: (finished / name).read_bytes() for name in PRODUCTS[:3]}
    again = run_geoseg("run", str(small_area / "small.yaml"), "--output", str(finished), env=home)
    assert again.returncode == 0, again.stderr
    plan = json.loads((finished / "report.json").read_text())["plan"]
    assert plan["resumed"] == plan["blocks"] > 20
    for name, content in before.items():
        assert (finished / name).read_bytes() == content, name


def _trained_copy(small_area: Path, finished: Path, name: str, **predict: int) -> Path:
    """A config that maps with the finished run's model."""
    config = plain_yaml.load((small_area / "small.yaml").read_text())
    config["model"] = {"bundle": str(finished / "model")}
    config["predict"].update(predict)
    path = small_area / f"{name}.yaml"
    path.write_text(plain_yaml.dump(config))
    return path


def _wait_for_blocks(output: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while len(list(output.glob("work/blocks-*/r*.json"))) < count:
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline, "no block was finished in time"
        time.sleep(0.02)


def _dask_workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The worker processes below the nannies, those that compute."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.slow
def test_killed_worker_and_killed_flow(
    small_area: Path, finished: Path, home: dict[str, str]
) -> None:
    """kill -9 of a Dask worker, then of the flow itself; the same command ends with the same bytes."""
    config = _trained_copy(small_area, finished, "killed")
    output = small_area / "killed"
    process = start("run", str(config), "--output", str(output), env=home)
    _wait_for_blocks(output, 2, process)
    workers = _dask_workers(process)
    assert workers
    workers[0].send_signal(signal.SIGKILL)
    _wait_for_blocks(output, 6, process)
    family = psutil.Process(process.pid).children(recursive=True)
    for member in [psutil.Process(process.pid), *family]:
        if member.is_running():
            member.send_signal(signal.SIGKILL)
    process.wait()
    assert not (output / "small_class.tif").exists()

    again = run_geoseg("run", str(config), "--output", str(output), env=home)
    assert again.returncode == 0, again.stderr
    plan = json.loads((output / "report.json").read_text())["plan"]
    assert plan["resumed"] >= 6
    for name in PRODUCTS[:3]:
        assert (output / name).read_bytes() == (finished / name).read_bytes(), name
