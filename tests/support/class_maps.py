"""Class rasters of random regions, for tests of vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio import CRS

from geoseg.grid import Grid
from geoseg.io.raster import geotiffs
from geoseg.legend import NODATA, PALETTE, Legend, LegendClass

LEGEND = Legend(
    tuple(LegendClass(code, f"crop {code}", PALETTE[code % 10]) for code in (0, 1, 2, 9))
)


UTM = str(CRS.from_epsg(32632).to_wkt())


Codes = NDArray[np.uint8]


def blobs(height: int, width: int, seed: int = 0) -> Codes:
    """Patchy classes with single-pixel noise and a nodata corner."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice(LEGEND.codes, (height // 9 + 1, width // 9 + 1))
    codes = np.kron(coarse, np.ones((9, 9), np.uint8))[:height, :width]
    noise = rng.random(codes.shape) < 0.1
    codes = np.where(noise, rng.choice(LEGEND.codes, codes.shape), codes).astype(np.uint8)
    codes[: height // 5, : width // 7] = NODATA
    return codes


def write(folder: Path, codes: Codes, grid: Grid) -> tuple[Path, Path]:
    confidence = (np.indices(codes.shape).sum(axis=0) % 101).astype(np.uint8)
    confidence[codes == NODATA] = NODATA
    paths = folder / "m_class.tif", folder / "m_confidence.tif"
    for path, values in zip(paths, (codes, confidence), strict=True):
        with geotiffs.create(path, grid, geotiffs.RasterSpec("uint8", nodata=NODATA)) as writer:
            writer.write(values, grid.window)
    return paths


GRIDS = {
    "utm": Grid(UTM, Affine(10, 0, 499980, 0, -10, 5.3e6), 83, 120),
    "rotated": Grid(UTM, Affine(8, 3, 499980, 2.5, -9, 5.3e6), 83, 120),
    "degrees": Grid(str(CRS.from_epsg(4326).to_wkt()), Affine(1e-3, 0, 9, 0, -2e-3, 48), 83, 120),
    "none": Grid(None, Affine.identity(), 83, 120),
}
