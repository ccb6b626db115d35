"""The scene to be mapped and the model that maps it: given, or made under the work folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import rasterio

from benchmarks.clearing import clear

ROOT = Path(__file__).parent.parent
MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
"""Settings of glibc that keep activations' memory between forwards: for the reference and the floor.
Programs that are measured get nothing of the kind; geoseg sees to it itself."""


@dataclass(frozen=True)
class Scene:
    """A season of rasters with a model for it."""

    imagery: Path
    """One raster of bands per date, without clouds."""
    bundle: Path
    weights: str
    """``given``, or ``random`` (with batch-norm statistics of the scene)."""
    height: int
    width: int

    @property
    def files(self) -> list[Path]:
        """The dates' rasters, in order."""
        return rasters(self.imagery)

    @property
    def key(self) -> str:
        """Hash of what decides the map: files (path, size, mtime) and model."""
        stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in self.files]
        card = (self.bundle / "card.json").read_bytes()
        return hashlib.sha256(repr(stats).encode() + card).hexdigest()[:12]


def rasters(imagery: Path) -> list[Path]:
    """The dates' rasters in a folder."""
    return sorted(imagery.glob("*.tif"))


def open_scene(work: Path, size: int, scene: Path | None, bundle: Path | None) -> Scene:
    """The scene in ``scene`` (with its folder ``imagery``), or one of ``size`` pixels made here."""
    folder = (scene or _make(work / f"scene-{size}", size)).resolve()
    imagery = clear(folder, work)
    with rasterio.open(rasters(imagery)[0]) as source:
        height, width = source.shape
    if (height, width) != (size, size):
        raise SystemExit(f"{imagery} has {width} x {height} pixels, not --size {size}")
    weights = "given" if bundle else "random"
    bundle = (bundle or _random_bundle(work / "random-model", imagery)).resolve()
    return Scene(imagery, bundle, weights, height, width)


def _make(folder: Path, size: int) -> Path:
    """``geoseg synth``, unless it is there; the last file it writes tells that it is whole."""
    if not (folder / "labels.gpkg").is_file():
        command: list[str | Path] = [sys.executable, "-m", "geoseg", "synth", folder]
        subprocess.run([*command, "--width", str(size), "--height", str(size)], check=True)
    return folder


def warm(scene: Scene) -> None:
    """Read every byte once, so that the first program does not pay for the disk."""
    for path in scene.files:
        with path.open("rb") as handle:
            while handle.read(2**24):
                pass


def _random_bundle(folder: Path, imagery: Path) -> Path:
    """A bundle of random weights; in a process of its own, so that torch stays out of this one."""
    print("no --bundle: random weights, batch-norm statistics from the scene", flush=True)
    command: list[str | Path] = [sys.executable, "-m", "benchmarks.random_model", imagery, folder]
    subprocess.run(command, check=True, cwd=ROOT)
    return folder
