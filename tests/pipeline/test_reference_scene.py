"""The demo at full size: it proves the method, and its map does not know how it was computed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from geoseg.io import plain_yaml
from geoseg.io.raster import rasters
from tests.support.common import ROOT, run_geoseg

pytestmark = [pytest.mark.slow, pytest.mark.flow, pytest.mark.timeout(1800)]


def _config(folder: Path, block: int) -> Path:
    """The demo's config beside the scene, with another block size."""
    text = (ROOT / "configs/demo.yaml").read_text().replace("../data/demo", str(folder / "data"))
    config = plain_yaml.load(text)
    config["predict"]["block"] = block
    path = folder / f"demo-{block}.yaml"
    path.write_text(plain_yaml.dump(config))
    return path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make demo` does: the reference scene, and the run over it in ``out``."""
    folder = tmp_path_factory.mktemp("demo")
    for arguments in (
        ["synth", str(folder / "data")],
        ["train", str(_config(folder, 512)), "-o", str(folder / "out")],
        ["run", str(_config(folder, 512)), "-o", str(folder / "out")],
    ):
        done = run_geoseg(*arguments)
        assert done.returncode == 0, done.stderr
    return folder


def test_the_network_beats_the_forest(demo: Path) -> None:
    report = json.loads((demo / "out/report.json").read_text())
    test_scores = report["scores"]["test_scores"]
    assert test_scores["overall_accuracy"] >= 0.85
    assert test_scores["mean_iou"] >= 0.70
    assert test_scores["pixels"] > 1_000_000
    forest = report["baselines"]["random_forest"]["overall_accuracy"]
    assert forest < test_scores["overall_accuracy"] - 0.1


@pytest.mark.parametrize(
    ("block", "workers"), [(512, 1), (1024, 1), (1024, 2), (2048, 1), (2048, 2)]
)
def test_blocks_and_workers_move_no_byte(
    demo: Path, tmp_path: Path, block: int, workers: int
) -> None:
    shutil.copytree(demo / "out/model", tmp_path / "model")
    again = run_geoseg(
        "predict", str(_config(demo, block)), "-o", str(tmp_path), "--workers", str(workers)
    )
    assert again.returncode == 0, again.stderr
    for name in ("demo_class.tif", "demo_confidence.tif"):
        assert (tmp_path / name).read_bytes() == (demo / "out" / name).read_bytes(), name


def test_the_map_lies_where_the_imagery_does(demo: Path) -> None:
    imagery = rasters.describe(demo / "data/imagery/2025-06-15.tif").grid
    for name in ("demo_class.tif", "demo_confidence.tif"):
        assert rasters.describe(demo / "out" / name).grid == imagery


@pytest.mark.skipif(not shutil.which("gdalinfo"), reason="no gdalinfo (Debian's gdal-bin)")
def test_gdalinfo_reads_a_cog_with_colours(demo: Path) -> None:
    told = subprocess.run(
        ["gdalinfo", "-json", demo / "out/demo_class.tif"], capture_output=True, check=True
    )
    info = json.loads(told.stdout)
    assert info["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
    (band,) = info["bands"]
    assert band["noDataValue"] == 255
    assert len(band["overviews"]) >= 2
    table = band["colorTable"]["entries"]
    legend = plain_yaml.load((ROOT / "configs/demo.yaml").read_text())["legend"]
    for entry in legend:
        red, green, blue, _ = table[entry["code"]]
        assert f"#{red:02x}{green:02x}{blue:02x}" == entry["color"]
