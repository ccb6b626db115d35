"""A service with small areas, their models and imagery, and a dispatcher that starts nothing."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from geoseg.config import ClassEntry
from geoseg.config.service import ServiceConfig
from geoseg.feedback import Silent
from geoseg.grid import Grid
from geoseg.io import configs, plain_yaml
from geoseg.io.raster import geotiffs
from geoseg.model import bundle
from geoseg.model.bundle import ModelCard
from geoseg.model.networks import NetworkSpec
from geoseg.normalization import Normalization
from geoseg.service.dispatch import Kind, RunState
from geoseg.service.ledger.ledger import Ledger
from geoseg.service.orders import Order
from geoseg.service.poll import poll

BANDS = ("red", "nir")
GRID = Grid("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_100_000), 40, 48)
APRIL, MAY = "2025-04-10", "2025-05-11"
SETTLE = 0.01


def image(path: Path, seed: int = 0, clear: float = 1.0, grid: Grid = GRID) -> Path:
    """Two bands; the rows at the bottom that are not clear are nodata."""
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 4000, (2, grid.height, grid.width)).astype(np.uint16)
    values[:, round(grid.height * clear) :] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with geotiffs.create(path, grid, geotiffs.RasterSpec("uint16", 2, 0, BANDS)) as target:
        target.write(values, grid.window)
    return path


def band(path: Path, seed: int = 0) -> Path:
    """One band."""
    values = np.random.default_rng(seed).integers(1, 4000, (1, GRID.height, GRID.width))
    path.parent.mkdir(parents=True, exist_ok=True)
    with geotiffs.create(path, GRID, geotiffs.RasterSpec("uint16", 1, 0, ())) as target:
        target.write(values.astype(np.uint16), GRID.window)
    return path


def mask(path: Path, clear: float = 1.0) -> Path:
    """1 in the rows at the bottom that are not clear."""
    values = np.zeros((1, GRID.height, GRID.width), dtype=np.uint8)
    values[:, round(GRID.height * clear) :] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    with geotiffs.create(path, GRID, geotiffs.RasterSpec("uint8", 1, None, ())) as target:
        target.write(values, GRID.window)
    return path


def template(folder: Path) -> Path:
    """A run config of an area, with its model beside it."""
    describe_model(folder / "model")
    content = {
        "name": "area",
        "imagery": {"band_names": list(BANDS)},
        "model": {"bundle": "model"},
        "predict": {"core": 32, "margin": 32, "block": 64},
    }
    path = folder / "run.yaml"
    path.write_text(plain_yaml.dump(content))
    return path


def describe_model(folder: Path, dates: tuple[str, ...] = (APRIL, MAY)) -> None:
    """The card of a model of two bands; who only orders maps needs no weights."""
    channels = len(BANDS) * len(dates)
    network = NetworkSpec(
        encoder="resnet18", depth=3, decoder_channels=(32, 16, 8), channels=channels, classes=2
    )
    scale = Normalization(
        transform="none", knee=(1,) * channels, mean=(2000,) * channels, std=(900,) * channels
    )
    classes = tuple(ClassEntry(code=c, name=f"crop {c}", color="#123456") for c in (4, 2))
    card = ModelCard(
        network=network, bands=BANDS, dates=dates, normalization=scale, classes=classes
    )
    bundle.annotate(folder, card)


def service_file(folder: Path, areas: Mapping[str, Mapping[str, Any]], **more: Any) -> Path:
    """A service file; what an area does not say is as for two months and a drop folder."""
    run = folder / "run.yaml"
    if not run.exists():
        template(folder)
    content: dict[str, Any] = {
        "work": "work",
        "publish": {"destination": str(folder / "maps")},
        "areas": {},
        **more,
    }
    for name, area in areas.items():
        usual: dict[str, Any] = {
            "run": "run.yaml",
            "season": {"start": "2025-04-01", "end": "2025-05-31"},
        }
        if "stac" not in area:
            (folder / "drop" / name).mkdir(parents=True, exist_ok=True)
            usual["drop"] = {"folder": f"drop/{name}", "settle": SETTLE}
        content["areas"][name] = {**usual, **area}
    path = folder / "service.yaml"
    path.write_text(plain_yaml.dump(content))
    return path


def load(path: Path) -> ServiceConfig:
    return configs.load_service(path)


@dataclass
class Runs:
    """A dispatcher whose runs are files: asked for twice under one key, a run is one.

    It kills its own process with SIGKILL ``before`` or ``after`` a run is there, where told to.
    """

    folder: Path
    die: str = ""
    states: dict[str, Kind] = field(default_factory=dict)
    crashed: list[str] = field(default_factory=list)

    def start(self, order: Order, parameters: Mapping[str, str | int], key: str) -> str:
        self._perhaps_die("before")
        self.folder.mkdir(parents=True, exist_ok=True)
        run_id = f"run-{key.replace(':', '-')}"
        path = self.folder / f"{run_id}.json"
        try:
            with path.open("x") as handle:
                json.dump(dict(parameters), handle)
        except FileExistsError:
            (self.folder / f"{run_id}.asked-again").touch()
        self._perhaps_die("after")
        return run_id

    def _perhaps_die(self, when: str) -> None:
        if self.die == when:
            os.kill(os.getpid(), signal.SIGKILL)

    def state(self, run_id: str) -> RunState:
        return RunState(self.states.get(run_id, "pending"))

    def crash(self, run_id: str, reason: str) -> None:
        self.crashed.append(run_id)

    @property
    def made(self) -> dict[str, dict[str, str]]:
        """Parameters of each run that was started."""
        return {p.stem: json.loads(p.read_text()) for p in sorted(self.folder.glob("*.json"))}


def look(path: Path, runs: Runs) -> dict[str, Any]:
    """One poll of the service in that file."""
    service = load(path)
    with Ledger.open(service) as ledger:
        return poll(service, ledger, runs, Silent())
