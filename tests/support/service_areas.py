"""Areas for tests and benchmarks of the service: small scenes, one trained model, drop folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.io import plain_yaml
from tests.support.common import ROOT, run_geoseg

DATES = ("2025-03-15", "2025-07-15", "2025-11-15")
PARTS = ("imagery", "clouds")


@dataclass(frozen=True)
class Ground:
    """Scenes of one size, and a model that maps any of them."""

    folder: Path
    scenes: tuple[Path, ...]
    """Each has ``imagery`` and ``clouds`` of ``DATES``."""

    @property
    def model(self) -> Path:
        """The bundle."""
        return self.folder / "trained" / "model"


def make_ground(folder: Path, scenes: int = 1, width: int = 260, height: int = 200) -> Ground:
    """Make scenes and train a model on the first; a quarter of a minute."""
    made = tuple(folder / f"scene{number}" for number in range(scenes))
    for number, scene in enumerate(made):
        size = ["--width", str(width), "--height", str(height), "--dates", str(len(DATES))]
        _geoseg("synth", str(scene), *size, "--seed", str(7 + number))
    config = plain_yaml.load((ROOT / "configs/demo.yaml").read_text())
    config["imagery"]["folder"] = str(made[0] / "imagery")
    config["imagery"]["masks"]["folder"] = str(made[0] / "clouds")
    config["labels"]["file"] = str(made[0] / "labels.gpkg")
    config["split"] = {"by": "field", "validation": 0.2}
    config["train"] = {"patch": 64, "epochs": 4, "batch": 8}
    del config["truth"], config["random_forest"], config["predict"]
    (folder / "train.yaml").write_text(plain_yaml.dump(config))
    _geoseg("train", str(folder / "train.yaml"), "--output", str(folder / "trained"))
    return Ground(folder, made)


def _geoseg(*arguments: str) -> None:
    done = run_geoseg(*arguments)
    assert done.returncode == 0, done.stderr


def run_config(ground: Ground, predict: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The template of every area: what to make, with the trained model."""
    return {
        "name": "area",
        "imagery": {
            "folder": str(ground.scenes[0] / "imagery"),
            "bands": ["blue", "green", "red", "nir", "swir"],
        },
        "model": {"bundle": str(ground.model)},
        "predict": {"core": 64, "margin": 32, "block": 64, "precision": "fp32", **(predict or {})},
    }


def service_config(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """A service of these areas below ``folder``: drop folders, runs, what is published."""
    season = {"start": "2025-01-01", "end": "2025-12-31", "slots": list(DATES), "tolerance": 10}
    return {
        "work": str(folder / "runs"),
        "publish": {"destination": str(folder / "published")},
        "retry": {"tries": 10, "first_minutes": 0.05, "longest_minutes": 0.2},
        "areas": {name: _area(folder, name, season) for name in names},
    }


def _area(folder: Path, name: str, season: dict[str, Any]) -> dict[str, Any]:
    drop = folder / "incoming" / name
    masks = {"folder": str(drop / "clouds"), "pattern": "{date}.tif", "invalid": [1, 2]}
    return {
        "run": str(folder / "area.yaml"),
        "season": season,
        "drop": {"folder": str(drop / "imagery"), "masks": masks, "settle": 0},
        "ready": {"clear": 0.0},
    }


def write_service(folder: Path, ground: Ground, content: dict[str, Any], **predict: Any) -> Path:
    """Write the service file and the areas' template; returns the service file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "area.yaml").write_text(plain_yaml.dump(run_config(ground, predict)))
    path = folder / "service.yaml"
    path.write_text(plain_yaml.dump(content))
    for area in content["areas"].values():
        for key in (area["drop"]["folder"], area["drop"]["masks"]["folder"]):
            Path(key).mkdir(parents=True, exist_ok=True)
    return path


def drop(scene: Path, target: Path, dates: Sequence[str] = DATES) -> None:
    """Put images and masks of a scene into an area's drop folder, each whole at once."""
    for part in PARTS:
        (target / part).mkdir(parents=True, exist_ok=True)
        for date in dates:
            hidden = target / part / f".{date}.tmp"
            shutil.copyfile(scene / part / f"{date}.tif", hidden)
            os.replace(hidden, target / part / f"{date}.tif")
