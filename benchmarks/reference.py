"""The map nobody cut into patches, to compare with: `python -m benchmarks.reference`.

One forward over the whole scene where that fits in memory, else patches of core 1024 and margin 256,
which differ from it in no pixel in fp32. Made once, kept under the work folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from benchmarks.peers import common
from benchmarks.scene import MALLOC, ROOT, Scene, rasters

if TYPE_CHECKING:
    from benchmarks.forward import Forward

WHOLE = 2048
"""Longest side of a scene that goes through the network in one piece (about 7 GB in fp32)."""
CORE, MARGIN = 1024, 256
RIM = 64
"""Width of the scene's rim that is also compared by itself, in pixels."""


@dataclass(frozen=True)
class Difference:
    """Shares of pixels (0 to 1) whose code is not the reference's."""

    overall: float
    rim: float


def reference_map(scene: Scene, precision: str, work: Path) -> Path:
    """The reference of a scene in one precision, computed unless it is there."""
    path = work / f"reference-{scene.height}-{precision}-{scene.key}.tif"
    if not path.is_file():
        print(f"reference map, {precision} ...", flush=True)
        part = path.with_suffix(".part")
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "benchmarks.reference",
            scene.imagery,
            scene.bundle,
            part,
        ]
        environment = os.environ | MALLOC
        subprocess.run([*command, precision], check=True, cwd=ROOT, env=environment)
        part.rename(path)
    return path


def compare(result: Path, reference: Path, blanks: bool) -> Difference:
    """How a map differs from the reference. Raises ``ValueError`` where the grids are not the same.

    ``blanks``: whether the program has a place for pixels without data on any date; where it has not,
    they do not count.
    """
    wrong = rim_wrong = pixels = rim_pixels = 0
    with rasterio.open(result) as ours, rasterio.open(reference) as theirs:
        if (ours.shape, ours.transform) != (theirs.shape, theirs.transform):
            raise ValueError(f"{result} and {reference} are not on one grid")
        height, width = ours.shape
        for window in _windows(height, width, CORE):
            expected = theirs.read(1, window=window)
            counts = (expected != common.NODATA) | blanks
            differs = counts & (ours.read(1, window=window) != expected)
            rim = _in_rim(window, height, width)
            wrong, pixels = wrong + int(differs.sum()), pixels + int(counts.sum())
            rim_wrong += int(differs[rim].sum())
            rim_pixels += int(counts[rim].sum())
    return Difference(wrong / pixels, rim_wrong / rim_pixels)


def _in_rim(window: Window, height: int, width: int) -> NDArray[np.bool_]:
    rows = np.arange(window.row_off, window.row_off + window.height)[:, np.newaxis]
    cols = np.arange(window.col_off, window.col_off + window.width)
    inside = (rows >= RIM) & (rows < height - RIM) & (cols >= RIM) & (cols < width - RIM)
    return np.asarray(~inside)


def _windows(height: int, width: int, side: int) -> Iterator[Window]:
    for row in range(0, height, side):
        for col in range(0, width, side):
            yield Window(col, row, min(side, width - col), min(side, height - row))


def main() -> None:
    """Compute the reference; the scene's size decides how."""
    import torch

    from benchmarks.forward import Forward

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("imagery", "bundle", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("precision", choices=("fp32", "bf16"))
    given = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    forward = Forward.load(given.bundle, given.precision)
    files = rasters(given.imagery)
    with rasterio.open(files[0]) as source:
        profile = source.profile | {
            "count": 1,
            "dtype": "uint8",
            "nodata": common.NODATA,
            "driver": "GTiff",
        }
        side = max(source.shape)
        side = side if side <= WHOLE else CORE
        windows = list(_windows(source.height, source.width, side))
    with rasterio.open(given.out, "w", **profile) as target:
        for core in windows:
            target.write(_codes(forward, files, core), 1, window=core)


def _codes(forward: Forward, files: list[Path], core: Window) -> NDArray[np.uint8]:
    """Codes ``uint8[h, w]`` of ``core``, seen with its margin."""
    with rasterio.open(files[0]) as source:
        height, width = source.shape
    top, left = max(0, core.row_off - MARGIN), max(0, core.col_off - MARGIN)
    bottom = min(height, core.row_off + core.height + MARGIN)
    right = min(width, core.col_off + core.width + MARGIN)
    values = _read(files, Window(left, top, right - left, bottom - top))
    mapped = forward.model.mapped(values)
    batch = forward.prepare(forward.model.features(values))
    codes = forward.model.codes[forward.logits(batch)[0].float().argmax(dim=0).numpy()]
    codes = np.where(mapped, codes[: bottom - top, : right - left], np.uint8(common.NODATA))
    row, col = core.row_off - top, core.col_off - left
    return codes[row : row + core.height, col : col + core.width]


def _read(files: list[Path], window: Window) -> NDArray[np.uint16]:
    layers = []
    for path in files:
        with rasterio.open(path) as source:
            layers.append(source.read(window=window))
    return np.concatenate(layers)


if __name__ == "__main__":
    main()
