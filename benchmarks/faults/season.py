"""A small season, a model of random weights, and configs that map it in some forty blocks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray

from geoseg.config import ClassEntry
from geoseg.io import plain_yaml
from geoseg.model.bundle import ModelCard, save
from geoseg.model.networks import NetworkSpec, build
from geoseg.normalization import Normalization

NAME = "faults"
CORE, MARGIN = 128, 64
HEIGHT, WIDTH = 6 * CORE, 7 * CORE
"""Pixels. Whole blocks, so that a tile in a corner belongs to one block alone, margins included."""
BLOCKS = HEIGHT * WIDTH // CORE**2
CORNER = "r0005_c0006"
"""The block in the last row and column."""
BANDS = ("red", "nir", "swir")
DATES = ("2025-04-01", "2025-06-01")
TILE = 64
CHANNELS = len(BANDS) * len(DATES)


@dataclass(frozen=True)
class Season:
    """Where it lies."""

    folder: Path

    @property
    def images(self) -> tuple[Path, ...]:
        """A raster for each date."""
        return tuple(self.folder / "imagery" / f"{date}.tif" for date in DATES)

    @property
    def config(self) -> Path:
        """The config of a run."""
        return self.folder / "run.yaml"


def make_season(folder: Path, bundle: Path | None = None) -> Season:
    """Write imagery, model (unless there is one) and config under ``folder``."""
    season = Season(folder)
    season.images[0].parent.mkdir(parents=True)
    for number, path in enumerate(season.images):
        _write_image(path, number)
    if bundle is None:
        bundle = folder / "model"
        _save_model(bundle)
    content = {
        "name": NAME,
        "imagery": {"folder": "imagery"},
        "model": {"bundle": str(bundle)},
        # Pinned: else each run would compare the number formats before its first block.
        "predict": {"core": CORE, "margin": MARGIN, "block": CORE, "precision": "fp32"},
        "cluster": {"workers": 2},
    }
    season.config.write_text(plain_yaml.dump(content))
    return season


def _write_image(path: Path, seed: int) -> None:
    """Fields of 32 px with a little noise; no data in a corner. Small tiles, so that one can break."""
    rng = np.random.default_rng(seed)
    fields = rng.integers(200, 4000, (len(BANDS), HEIGHT // 32, WIDTH // 32)).astype(np.uint16)
    values = fields.repeat(32, axis=1).repeat(32, axis=2)
    values += rng.integers(0, 100, values.shape).astype(np.uint16)
    values[:, :40, :30] = 0
    profile = {
        "driver": "GTiff",
        "dtype": "uint16",
        "count": len(BANDS),
        "height": HEIGHT,
        "width": WIDTH,
        "crs": "EPSG:32631",
        "transform": Affine(10, 0, 500_000, 0, -10, 5_600_000),
        "nodata": 0,
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "compress": "deflate",
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(values)
        target.descriptions = BANDS


def _save_model(folder: Path) -> None:
    """A network nobody trained: any map will do, as long as it stays the same."""
    torch.manual_seed(1)
    spec = NetworkSpec(
        encoder="resnet18",
        depth=5,
        decoder_channels=(256, 128, 64, 32, 16),
        channels=CHANNELS,
        classes=4,
    )
    network = build(spec)
    with torch.no_grad():
        network(torch.randn(4, CHANNELS, 64, 64))  # batch norm statistics of something
    each: NDArray[np.float32] = np.ones(CHANNELS, dtype=np.float32)
    card = ModelCard(
        network=spec,
        bands=BANDS,
        dates=DATES,
        normalization=Normalization(
            transform="none",
            knee=tuple(each.tolist()),
            mean=tuple((2000 * each).tolist()),
            std=tuple((900 * each).tolist()),
        ),
        classes=tuple(ClassEntry(code=code, name=f"crop {code}") for code in (4, 2, 9, 7)),
    )
    folder.mkdir()
    save(folder, network, card)
