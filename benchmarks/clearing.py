"""Imagery with its clouds cut out, so that no program needs masks and all map the same thing.

A model that was trained on masked imagery gives noise under clouds it was never shown (97 % of the
pixels right with masks, 26 % without), and noise differs from patch to patch as no real map does.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

CLOUDY = (1, 2)
"""Cloud and shadow in the masks of ``geoseg synth``."""


def clear(scene: Path, work: Path) -> Path:
    """A folder with the scene's imagery, 0 (no data) under clouds; the imagery itself where no masks are.

    Same tiles, compression and predictor as the originals. Made once.
    """
    files = sorted((scene / "imagery").glob("*.tif"))
    if not files:
        raise SystemExit(
            f"{scene / 'imagery'} holds no *.tif; --scene is a folder of 'geoseg synth'"
        )
    if not (scene / "clouds").is_dir():
        return scene / "imagery"
    stats = repr([(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files])
    folder = work / f"cleared-{hashlib.sha256(stats.encode()).hexdigest()[:12]}"
    folder.mkdir(exist_ok=True)
    for path in files:
        if not (folder / path.name).is_file():
            print(f"cutting out clouds: {path.name}", flush=True)
            part = folder / f"{path.stem}.part"
            _clear_file(path, scene / "clouds" / path.name, part)
            part.rename(folder / path.name)
    return folder


def _clear_file(path: Path, mask: Path, target: Path) -> None:
    with rasterio.open(path) as source, rasterio.open(mask) as clouds:
        predictor = source.tags(ns="IMAGE_STRUCTURE").get("PREDICTOR", "1")
        profile = source.profile | {"predictor": predictor, "num_threads": "all_cpus"}
        with rasterio.open(target, "w", **profile) as out:
            out.descriptions = source.descriptions
            for row in range(0, source.height, 512):
                strip = Window(0, row, source.width, min(512, source.height - row))
                values = source.read(window=strip)
                values[:, np.isin(clouds.read(1, window=strip), CLOUDY)] = 0
                out.write(values, window=strip)
