"""The programs that are measured, as command lines that leave a map."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scene import Scene
from benchmarks.stacking import stack

STACKED = ("geoai", "rastervision", "torchgeo")
"""Peers that read one file of all channels."""
NO_BLANKS = ("geoai", "rastervision")
"""Peers that give every pixel a class."""


@dataclass(frozen=True)
class Program:
    """One program in one setting."""

    name: str
    precision: str
    """Which reference its map is compared with."""
    folder: Path
    """Everything it writes; emptied before each run."""
    command: tuple[str, ...]
    result: Path
    """Its class raster."""
    blanks: bool = True
    """Whether it leaves pixels without data on any date without a class."""

    def clear(self) -> None:
        """Leave nothing of an earlier run that it could resume from."""
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        (self.folder / "out").mkdir(parents=True)

    @property
    def job(self) -> Path | None:
        """The job.json of a geoseg run."""
        return next((self.folder / "out" / "work").glob("blocks-*/job.json"), None)


@dataclass(frozen=True)
class GeosegSettings:
    """How geoseg is asked to predict."""

    precision: str
    name: str = ""
    workers: int | None = None
    """``--workers``; None: the command's own default."""
    predict: Mapping[str, int | str] | None = None
    """More keys of the config's section ``predict``."""
    cluster: Mapping[str, int | str] | None = None


def geoseg(scene: Scene, folder: Path, settings: GeosegSettings) -> Program:
    """``geoseg predict`` with no mask and no other config than the precision."""
    name = f"geoseg-{settings.name or settings.precision}"
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    config = {
        "name": "bench",
        "imagery": {"folder": str(scene.imagery), "pattern": "{date}.tif"},
        "model": {"bundle": str(scene.bundle)},
        "predict": {"precision": settings.precision, **(settings.predict or {})},
    }
    if settings.cluster:
        config["cluster"] = dict(settings.cluster)
    # JSON is YAML too.
    (place / "bench.yaml").write_text(json.dumps(config, indent=1))
    out = place / "out"
    command = [sys.executable, "-m", "geoseg", "predict", str(place / "bench.yaml")]
    command += ["--output", str(out)]
    if settings.workers is not None:
        command += ["--workers", str(settings.workers)]
    return Program(name, settings.precision, place, tuple(command), out / "bench_class.tif")


def peer(name: str, python: Path, scene: Scene, work: Path, threads: int) -> Program:
    """A peer's runner in its own environment."""
    folder = work / "runs"
    result = folder / name / "out" / "map.tif"
    command = [str(python), "-m", f"benchmarks.peers.{name}"]
    command += ["--imagery", str(scene.imagery), "--bundle", str(scene.bundle)]
    command += ["--out", str(result), "--threads", str(threads)]
    if name in STACKED:
        command += ["--stack", str(stack(scene, work))]
    return Program(name, "fp32", folder / name, tuple(command), result, name not in NO_BLANKS)
