"""A small season and a small model, for tests of the engine that need no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from affine import Affine
from rasterio.crs import CRS

from geoseg.config import ClassEntry, ImageryConfig, PredictConfig
from geoseg.config.products import Layer
from geoseg.engine.block import part_path
from geoseg.engine.executors.threads import ThreadExecutor
from geoseg.engine.job import Job
from geoseg.engine.planning import Planned, Request, plan_job
from geoseg.engine.predict import Outcome, predict
from geoseg.feedback import Silent
from geoseg.grid import Grid
from geoseg.imagery.scenes import select
from geoseg.io.raster import geotiffs, rasters
from geoseg.model.bundle import ModelCard, save
from geoseg.model.networks import NetworkSpec, build
from geoseg.normalization import Normalization

HEIGHT, WIDTH = 150, 203
BANDS = ("red", "nir")
DATES = ("2025-04-01", "2025-06-01")
GRID = Grid(CRS.from_epsg(32631).to_wkt(), Affine(10, 0, 5e5, 0, -10, 5.6e6), HEIGHT, WIDTH)


def make_imagery(folder: Path) -> ImageryConfig:
    """Two dates of two bands; a corner without data on both, a stripe without on one."""
    rng = np.random.default_rng(5)
    for name in DATES:
        values = rng.integers(1, 4000, (2, HEIGHT, WIDTH)).astype(np.uint16)
        values[:, :40, :30] = 0
        values[:, 90:95] = 0 if name.endswith("04-01") else values[:, 90:95]
        spec = geotiffs.RasterSpec("uint16", 2, 0, BANDS)
        with geotiffs.create(folder / f"{name}.tif", GRID, spec) as target:
            target.write(values, GRID.window)
    return ImageryConfig(folder=folder)


def make_bundle(folder: Path, seed: int = 1, **card: Any) -> Path:
    """A network with random weights: any map will do, as long as it stays the same."""
    torch.manual_seed(seed)
    spec = NetworkSpec(
        encoder="resnet18", depth=4, decoder_channels=(32, 16, 16, 8), channels=4, classes=3
    )
    network = build(spec)
    network(torch.randn(4, 4, 64, 64))  # batch norm statistics of something
    content: dict[str, Any] = {
        "network": spec,
        "bands": BANDS,
        "dates": DATES,
        "normalization": Normalization(
            transform="none", knee=(1,) * 4, mean=(2000,) * 4, std=(900,) * 4
        ),
        "classes": tuple(ClassEntry(code=c, name=f"crop {c}", color="#123456") for c in (4, 2, 9)),
        **card,
    }
    save(folder, network, ModelCard(**content))
    return folder


def plan(
    imagery: ImageryConfig,
    bundle: Path | tuple[Path, ...],
    work: Path,
    layers: tuple[Layer, ...] = (),
    **wanted: Any,
) -> Planned:
    """A plan with small patches, in fp32 unless ``wanted`` says otherwise."""
    settings = {"core": 32, "margin": 32, "block": 64, "precision": "fp32", **wanted}
    bundles = bundle if isinstance(bundle, tuple) else (bundle,)
    request = Request(imagery, bundles, PredictConfig.model_validate(settings), layers)
    with ThreadExecutor.open(1) as executor:
        return plan_job(request, select(imagery), work, executor)


def predict_here(job: Job, concurrency: int = 1, tries: int = 3) -> Outcome:
    """Predict on threads of this process."""
    with ThreadExecutor.open(concurrency) as executor:
        return predict(job, executor, tries, Silent())


def whole_map(job: Job) -> np.ndarray:
    """The blocks of a finished job side by side, ``uint8[bands, H, W]``."""
    out = np.zeros((job.bands, HEIGHT, WIDTH), dtype=np.uint8)
    for block in job.plan:
        path = part_path(job.folder, block)
        info = rasters.describe(path)
        assert info.grid.transform == GRID.transform @ Affine.translation(
            block.core.col, block.core.row
        )
        values, _ = rasters.read(path, range(1, job.bands + 1), info.grid.window)
        out[:, *block.core.within(GRID.window)] = values
    return out
