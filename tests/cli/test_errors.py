"""A user's mistake ends with one message, exit code 2, no traceback, and harms no good output."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import torch
from shapely.geometry import box

from geoseg.config import ClassEntry
from geoseg.io import plain_yaml
from geoseg.model.bundle import CARD, WEIGHTS, ModelCard, save
from geoseg.model.networks import NetworkSpec, build
from geoseg.normalization import Normalization
from tests.support.common import Raster

Command = Callable[..., tuple[int, str, str]]
Config = dict[str, Any]

BANDS = ("red", "nir", "swir")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with random weights for three dates of three bands."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(1)
    spec = NetworkSpec(
        encoder="resnet18", depth=3, decoder_channels=(16, 8, 8), channels=9, classes=2
    )
    card = ModelCard(
        network=spec,
        bands=BANDS,
        dates=("2025-05-01", "2025-06-01", "2025-07-01"),
        normalization=Normalization(
            transform="none", knee=(1,) * 9, mean=(2000,) * 9, std=(900,) * 9
        ),
        classes=(
            ClassEntry(code=4, name="wheat", color="#112233"),
            ClassEntry(code=2, name="maize", color="#445566"),
        ),
    )
    save(folder, build(spec), card)
    return folder


@pytest.fixture
def config(season: Path, tmp_path: Path, bundle: Path) -> Config:
    """A run that works: imagery, polygons and a copy of the bundle, all below ``tmp_path``."""
    shutil.copytree(bundle, tmp_path / "model")
    left, top = 500_000, 5_100_000
    shapes = [box(left + 20 * i, top - 300, left + 20 * i + 15, top - 100) for i in range(20)]
    crops = ["wheat", "maize"] * 10
    frame = geopandas.GeoDataFrame({"crop": crops}, geometry=shapes, crs="EPSG:32633")
    frame.to_file(tmp_path / "labels.gpkg")
    return {
        "name": "x",
        "imagery": {"folder": str(season)},
        "legend": [{"code": 1, "name": "wheat"}, {"code": 2, "name": "maize"}],
        "labels": {"file": "labels.gpkg"},
        "split": {"by": "field", "validation": 0.3},
        "model": {"bundle": "model", "depth": 3},
        "train": {"patch": 32, "epochs": 1},
        "predict": {"core": 32, "margin": 8, "block": 32},
    }


@pytest.fixture
def run(tmp_path: Path, geoseg: Command) -> Callable[..., tuple[int, str, str]]:
    """Write a config and call a command with it; inspect takes no output folder."""

    def call(command: str, config: Config) -> tuple[int, str, str]:
        path = tmp_path / "x.yaml"
        path.write_text(plain_yaml.dump(config))
        output = [] if command == "inspect" else ["--output", str(tmp_path / "out")]
        return geoseg(command, str(path), *output)

    return call


def refused(ended: tuple[int, str, str], *texts: str) -> str:
    """The message of a mistake: exit code 2, the last line on stderr, nothing on stdout."""
    code, out, err = ended
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    message = err[err.index("geoseg: ") :]
    for text in texts:
        assert text in message
    return message


def leave_out(config: Config, *keys: str) -> Config:
    section = config
    for key in keys[:-1]:
        section = section[key]
    del section[keys[-1]]
    return config


# It works, so that what follows is about the mistakes.


def test_the_config_without_mistakes(run: Command, config: Config, tmp_path: Path) -> None:
    code, out, _ = run("inspect", config)
    assert code == 0
    assert "2025-06-01" in out
    assert "97.19%" in out
    code, out, err = run("predict", config)
    assert code == 0, err
    assert "x_class.tif" in out
    with rasterio.open(tmp_path / "out/x_class.tif") as source:
        assert set(np.unique(source.read(1))) <= {2, 4, 255}
        assert (source.read(1)[:6, :9] == 255).all()


# Configs.


@pytest.mark.parametrize("command", ["inspect", "predict", "train"])
@pytest.mark.parametrize(
    ("change", "texts"),
    [
        ({"imagry": {}}, ("x.yaml: imagry: unknown key; did you mean 'imagery'?",)),
        ({"predict": {"blok": 1}}, ("predict.blok: unknown key; did you mean 'block'?",)),
        ({"predict": {"margin": -1}}, ("predict.margin", "(got -1)")),
        ({"model": None, "labels": None}, ("x.yaml: model:",)),
        ({"name": "a/b"}, ("name", "(got 'a/b')")),
    ],
)
def test_wrong_keys(
    run: Command, config: Config, command: str, change: Config, texts: tuple[str, ...], tmp_path: Path
) -> None:  # fmt: skip
    refused(run(command, config | change), *texts)
    assert not (tmp_path / "out").exists()


def test_no_config(geoseg: Command, tmp_path: Path) -> None:
    for command in ("inspect", "predict", "train", "evaluate"):
        refused(geoseg(command, str(tmp_path / "none.yaml")), "none.yaml: no such config file")
    (tmp_path / "x.yaml").mkdir()
    refused(geoseg("inspect", str(tmp_path / "x.yaml")), "x.yaml is a folder")


def test_lattices_that_do_not_fit(run: Command, config: Config) -> None:
    for key, value, nearest in (("core", 33, 32), ("margin", 9, 8), ("block", 48, 64)):
        changed = copy.deepcopy(config)
        changed["predict"][key] = value
        for command in ("inspect", "predict"):
            refused(run(command, changed), f"predict.{key}: {value}", f"nearest is {nearest}")


# Imagery.


@pytest.mark.parametrize("command", ["inspect", "predict", "train"])
@pytest.mark.parametrize(
    ("imagery", "texts"),
    [
        ({"dates": ["2025-05-01", "2025-09-01"]}, ("no image of 2025-09-01", "2025-07-01")),
        ({"bands": ["red", "blue"]}, ("2025-05-01.tif: no band 'blue'", "imagery.bands")),
        ({"pattern": "x{date}.tif"}, ("no file fits 'x{date}.tif'", "imagery.pattern")),
        ({"folder": "nowhere"}, ("nowhere: no such folder", "imagery.folder")),
        ({"masks": {"folder": ".", "pattern": "m{date}.tif"}}, ("imagery.masks.pattern",)),
    ],
)
def test_wrong_imagery(
    run: Command, config: Config, command: str, imagery: Config, texts: tuple[str, ...]
) -> None:
    config["imagery"].update(imagery)
    if command == "train":
        leave_out(config, "model", "bundle")
    refused(run(command, config), *texts)


@pytest.mark.parametrize("command", ["inspect", "predict", "train"])
def test_two_grids(
    run: Command, config: Config, command: str, season: Path, raster: Raster
) -> None:
    raster(season / "2025-06-01.tif", np.ones((3, 40, 47), dtype=np.uint16), 0, BANDS)
    message = refused(run(command, config), "2025-06-01.tif is not on the grid of", "gdalwarp")
    assert len(message) < 700


def damage(path: Path) -> None:
    """Cut a file in its last pixels; its header is whole."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.9)])


@pytest.mark.parametrize("command", ["inspect", "predict", "train"])
def test_a_damaged_image(
    run: Command, config: Config, command: str, season: Path, tmp_path: Path
) -> None:
    damage(season / "2025-06-01.tif")
    if command == "train":
        leave_out(config, "model", "bundle")
    refused(run(command, config), "2025-06-01.tif cannot be read as a raster", "fetch it again")
    assert not list(tmp_path.glob("out/*.tif"))
    assert not (tmp_path / "out/model").exists()


def test_a_season_without_a_usable_pixel(
    run: Command, config: Config, season: Path, raster: Raster
) -> None:
    for path in season.iterdir():
        raster(path, np.zeros((3, 40, 48), dtype=np.uint16), 0, BANDS)
    code, out, _ = run("inspect", config)
    assert code == 0
    assert "no date has a usable pixel: there is nothing to map" in out


# Labels.


@pytest.mark.parametrize(
    ("labels", "texts"),
    [
        ({"file": "none.gpkg"}, ("none.gpkg: no such file", "labels.file")),
        ({"attribute": "kind"}, ("labels.gpkg", "no column 'kind'; it has: crop")),
        ({"layer": "x"}, ("labels.gpkg: no layer 'x'", "labels")),
        ({"ignore": ["wheat", "maize"]}, ("labels.gpkg: no polygon with a 'crop'",)),
    ],
)
def test_wrong_labels(run: Command, config: Config, labels: Config, texts: tuple[str, ...]) -> None:
    config["labels"].update(labels)
    leave_out(config, "model", "bundle")
    for command in ("inspect", "train"):
        refused(run(command, config), *texts)


def test_a_name_outside_the_legend(run: Command, config: Config) -> None:
    config["legend"][0]["name"] = "barley"
    leave_out(config, "model", "bundle")
    for command in ("inspect", "train"):
        refused(run(command, config), "labels.gpkg: not in the legend: wheat", "labels.ignore")


# Models.


def break_bundle(folder: Path, how: str) -> None:
    if how == "no card":
        (folder / CARD).unlink()
    elif how == "torn card":
        (folder / CARD).write_text((folder / CARD).read_text()[:200])
    elif how == "no weights":
        (folder / WEIGHTS).unlink()
    elif how == "cut weights":
        damage(folder / WEIGHTS)
    elif how == "other key":
        (folder / CARD).write_text((folder / CARD).read_text().replace('"bands"', '"bonds"'))
    elif how == "pickle":
        shutil.rmtree(folder)
        torch.save({"weights": torch.zeros(3)}, folder)
    elif how == "nothing":
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("how", "texts"),
    [
        ("no card", ("model is not a model bundle (no card.json)", "model.bundle")),
        ("torn card", ("card.json is damaged", "train the model again")),
        ("no weights", ("model.safetensors is missing", "train again")),
        ("cut weights", ("model.safetensors", "not the file its card was written for")),
        ("other key", ("card.json is damaged: ", "bands")),
        ("pickle", ("model is not a model bundle",)),
        ("nothing", ("model is not a model bundle",)),
    ],
)
def test_a_broken_bundle(
    run: Command, config: Config, tmp_path: Path, how: str, texts: tuple[str, ...]
) -> None:
    break_bundle(tmp_path / "model", how)
    refused(run("predict", config), *texts)
    assert not list(tmp_path.glob("out/*.tif"))


@pytest.mark.parametrize("command", ["inspect", "predict"])
@pytest.mark.parametrize(
    ("imagery", "texts"),
    [
        (
            {"bands": ["nir", "red", "swir"]},
            ("the bands nir, red, swir, the model needs red, nir",),
        ),
        ({"bands": ["red", "nir"]}, ("the bands red, nir, the model needs red, nir, swir",)),
        ({"dates": ["2025-05-01"]}, ("has 1 dates, the model was trained on 3", "2025-07-01")),
    ],
)
def test_a_bundle_that_does_not_fit(
    run: Command, config: Config, command: str, imagery: Config, texts: tuple[str, ...]
) -> None:
    config["imagery"].update(imagery)
    refused(run(command, config), *texts)


def test_no_such_encoder(run: Command, config: Config) -> None:
    config["model"] = {"encoder": "resnet19", "depth": 3}
    refused(run("train", config), "model.encoder", "resnet19")


# Outputs.


def test_the_output_is_a_file(run: Command, config: Config, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    for command in ("predict", "train", "evaluate"):
        refused(run(command, config), "out is a file; --output names the folder")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_failed_run_leaves_the_old_map(
    run: Command, config: Config, tmp_path: Path, season: Path
) -> None:
    assert run("predict", config)[0] == 0
    old = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.tif")}
    assert len(old) == 2
    damage(season / "2025-07-01.tif")
    refused(run("predict", config), "2025-07-01.tif cannot be read")
    assert {path: path.read_bytes() for path in (tmp_path / "out").glob("*.tif")} == old


def test_evaluate_before_predict(run: Command, config: Config) -> None:
    refused(run("evaluate", config), "x_class.tif is not there yet; predict it first")


def test_vectorize_what_is_no_map(geoseg: Command, season: Path, tmp_path: Path) -> None:
    refused(geoseg("vectorize", str(tmp_path / "none.tif")), "none.tif: no such file")
    refused(geoseg("vectorize", str(season / "2025-05-01.tif")), "2025-05-01.tif")
    assert not list(tmp_path.rglob("*.gpkg"))


# The program itself.


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["inspect", "none.tif"], "geoseg: none.tif: no such file"),
        (["predict", "none.yaml"], "geoseg: none.yaml: no such config file"),
        (["inspekt", "none.tif"], "No such command 'inspekt'"),
        (["predict"], "Missing argument 'CONFIG'"),
    ],
)
def test_as_a_program(tmp_path: Path, arguments: list[str], text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "geoseg", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


INSPECT = """
import sys
from geoseg.cli import app
for path in sys.argv[1:]:
    sys.argv = ["geoseg", "inspect", path]
    try:
        app.main()
    except SystemExit as ended:
        print("ended with", ended.code or 0, flush=True)
"""
"""The command for each of some configs, with the console that Python opened for the first."""


@pytest.mark.parametrize(
    "streams",
    [{"PYTHONIOENCODING": "iso-8859-1"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}],
    ids=lambda streams: next(iter(streams.values())),
)
def test_a_console_without_the_letters(
    config: Config, tmp_path: Path, streams: dict[str, str]
) -> None:
    """Names in Cyrillic are shown as far as the console can; what was to be done is done."""
    leave_out(config, "model", "bundle")
    config["legend"] = [{"code": 4, "name": ""}, {"code": 2, "name": "maïs"}]
    frame = geopandas.read_file(tmp_path / "labels.gpkg")
    names = {"wheat": "пшеница", "maize": "maïs"}
    frame.assign(crop=frame["crop"].map(names)).to_file(tmp_path / "labels.gpkg")
    paths = [tmp_path / "x.yaml", tmp_path / "y.yaml"]
    for path, name in zip(paths, ("пшеница", "рапс"), strict=True):
        config["legend"][0]["name"] = name
        path.write_text(plain_yaml.dump(config), encoding="utf-8")
    plain = {"PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", **streams}
    done = subprocess.run(
        [sys.executable, "-c", INSPECT, *map(str, paths)],
        capture_output=True,
        env={**os.environ, **plain},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    shown = b"ma\xefs" if "iso-8859-1" in streams.values() else b"ma"
    right, wrong = done.stdout.split(b"ended with 0\n")
    assert shown in right
    assert wrong.endswith(b"ended with 2\n")
    assert b"not in the legend" in done.stderr


# What inspect tells, and a run finds out before it trains: the same mistakes, in the same words.


def trains(config: Config, **changes: Config) -> Config:
    """The config of a run that trains, with changes by section."""
    changed = leave_out(copy.deepcopy(config), "model", "bundle")
    for section, keys in changes.items():
        changed[section] = {**changed[section], **keys}
    return changed


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        ({"split": {"validation": 0.0}}, ("no labelled pixel is left for validation",)),
        ({"split": {"by": "tile", "tile": 64}}, ("no labelled pixel is left for validation",)),
        ({"split": {"by": "tile", "tile": 8, "buffer": 9}}, ("split.buffer: 9 is wider",)),
        ({"split": {"validation": 0.6, "test": 0.5}}, ("leave nothing to train on",)),
        ({"train": {"patch": 36}}, ("train.patch: 36 is not a multiple", "stride 8")),
        ({"model": {"encoder": "resnet19"}}, ("no 'resnet19'", "resnet18")),
        ({"split": {"by": "tile", "tile": 32, "test": 0.01, "validation": 0.4}},
         ("no labelled pixel is left for test",)),
    ],
)  # fmt: skip
def test_inspect_refuses_what_a_training_refuses(
    run: Command, config: Config, changes: dict[str, Config], texts: tuple[str, ...]
) -> None:
    changed = trains(config, **changes)
    code, out, err = run("inspect", changed)
    assert code == 2, err
    assert "Traceback" not in err
    told = err[err.index("geoseg: ") :]
    for text in texts:
        assert text in told
    assert "maize" in out  # the counts that explain it
    refused(run("train", changed), told.strip())


def test_inspect_refuses_labels_where_no_date_has_data(
    run: Command, config: Config, season: Path, raster: Raster
) -> None:
    changed = trains(config)
    for path in season.iterdir():
        values = np.zeros((3, 40, 48), dtype=np.uint16)
        values[:, 35:] = 9  # below the fields
        raster(path, values, 0, BANDS)
    code, out, err = run("inspect", changed)
    assert code == 2
    assert "labelled pixels have no data on any date" in out
    told = err[err.index("geoseg: ") :].strip()
    assert "every labelled pixel of the train part lies where no date has data" in told
    refused(run("train", changed), told)


def test_inspect_refuses_what_ends_a_run_after_its_map(
    run: Command, config: Config, tmp_path: Path
) -> None:
    """With a trained model the labels are parted for the score, behind the long part."""
    changed = copy.deepcopy(config)
    changed["split"] = {"by": "tile", "tile": 8, "buffer": 9}
    for command in ("inspect", "predict"):
        code, _, err = run(command, changed)
        assert code == 2
        assert "split.buffer: 9 is wider" in err
    assert not (tmp_path / "out/x_class.tif").exists()
    changed = {**config, "parcels": {"file": str(tmp_path / "labels.gpkg"), "declared": "none"}}
    for command in ("inspect", "predict"):
        refused(run(command, changed), "labels.gpkg", "none")
    changed = {**trains(config), "cluster": {"class": "nowhere.Cluster"}}
    told = refused(run("train", changed), "nowhere")
    assert refused(run("inspect", changed)) == told


def test_inspect_refuses_what_no_worker_has_the_memory_for(run: Command, config: Config) -> None:
    config["predict"]["memory"] = "200MB"
    told = refused(run("predict", config), "a worker process may use 0.2 GiB")
    assert "may use 0.2 GiB" in refused(run("inspect", config), told[:30])
