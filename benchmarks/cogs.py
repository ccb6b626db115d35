"""From finished blocks to the class and the confidence raster, beside GDAL's COG driver alone.

    python -m benchmarks.cogs --json cogs.json
    python -m benchmarks.cogs --sizes 4096,10980,100000 --runs 1 --only geoseg

``geoseg`` starts from blocks (compressed, class and confidence in one file each) and ends with both
rasters checked and synced to the disk. ``gdal`` is given the same pixels as two plain tiled files
and copies them with the COG driver on all threads: no blocks, no check, no sync. ``gdal, 2 bands``
makes one file of both. Every run is a process of its own; sides above 20 000 pixels hold data along
the diagonal only, as a mosaic of scattered areas does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from benchmarks import machine
from benchmarks.measure import run
from geoseg.grid import Grid, Window
from geoseg.legend import NODATA, PALETTE, Legend, LegendClass

BLOCK, FIELD, DENSE = 2048, 26, 20_000
LEGEND = Legend(tuple(LegendClass(i, f"crop {i}", PALETTE[i]) for i in range(1, 10)))
PROGRAMS = ("geoseg", "gdal", "gdal, 2 bands")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="10980", help="sides in pixels")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=PROGRAMS)
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--folder", type=Path, help="where the files go [a temporary folder]")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        program, folder, size = given.child
        _CHILDREN[program](Path(folder), int(size))
        return
    rows = []
    for size in map(int, given.sizes.split(",")):
        with tempfile.TemporaryDirectory(dir=given.folder) as name:
            for row in _measure(Path(name), size, given.runs, given.only):
                rows.append(row)
                print(
                    "{size:>6} px {program:<14} {seconds:6.2f} s, CPU {cpu_seconds:6.2f} s, "
                    "{peak_rss_mb:5.0f} MB of memory, {written_mb:6.1f} MB written".format(**row),
                    flush=True,
                )
    if given.json:
        content = {"machine": machine.describe(), "cogs": rows}
        given.json.write_text(json.dumps(content, indent=1))


def _measure(folder: Path, size: int, runs: int, only: str | None) -> Iterator[dict[str, Any]]:
    """Medians of ``runs``; the programs take turns, so that what slows one slows all."""
    programs = (only,) if only else PROGRAMS
    make_blocks(folder, size, plain=only != "geoseg")
    usages: dict[str, list[Any]] = {program: [] for program in programs}
    for _ in range(runs):
        for program in programs:
            child = ["--child", program, str(folder), str(size)]
            command = [sys.executable, "-m", "benchmarks.cogs", *child]
            usages[program].append(run(command, folder / "log", Path.cwd()))
    for program, found in usages.items():
        yield {
            "size": size,
            "program": program,
            "runs": runs,
            # Interpreter and imports left out: they are the same for all.
            "seconds": statistics.median(usage.said["seconds"] for usage in found),
            "cpu_seconds": statistics.median(usage.cpu_seconds for usage in found),
            "peak_rss_mb": max(usage.peak_rss_mb for usage in found),
            "load_before": max(usage.load_before for usage in found),
            "written_mb": sum(p.stat().st_size for p in folder.glob(f"{program}_*.tif")) / 1e6,
        }


def windows(size: int) -> Iterator[Window]:
    """The blocks that hold data."""
    for row in range(0, size, BLOCK):
        for col in range(0, size, BLOCK):
            if size <= DENSE or row == col:
                yield Window(row, col, BLOCK, BLOCK).clip(Window(0, 0, size, size))


def block_path(folder: Path, window: Window) -> Path:
    return folder / "blocks" / f"{window.row}_{window.col}.tif"


def pixels(window: Window) -> NDArray[np.uint8]:
    """Codes and confidence: fields of 26 pixels on average, a confidence of its own each, noise."""
    rng = np.random.default_rng([window.row, window.col])
    codes = np.empty(window.shape, np.uint8)
    confidence = np.empty(window.shape, np.uint8)
    row = 0
    while row < window.height:
        rows = slice(row, row := row + int(rng.integers(FIELD // 2, 3 * FIELD // 2)))
        number = np.cumsum(rng.random(window.width) < 1 / FIELD)
        codes[rows] = rng.choice(LEGEND.codes, number[-1] + 1)[number]
        base = rng.integers(60, 101, number[-1] + 1)[number]
        noise = rng.integers(-6, 7, codes[rows].shape)
        confidence[rows] = np.clip(base + noise, 30, 100)
    far = np.add.outer(
        3 * np.arange(window.row, window.row_stop), np.arange(window.col, window.col_stop)
    )
    codes[far < 3000], confidence[far < 3000] = NODATA, NODATA
    return np.stack([codes, confidence])


def grid(size: int) -> Grid:
    return Grid("EPSG:32633", Affine(10, 0, 5e5, 0, -10, 5e6), size, size)


def make_blocks(folder: Path, size: int, plain: bool) -> None:
    """The blocks as geoseg leaves them; the same pixels as plain files for GDAL."""
    from geoseg.io.raster import geotiffs
    from geoseg.io.raster.rasters import read

    for window in windows(size):
        here = Grid(None, Affine.identity(), *window.shape)
        spec = geotiffs.RasterSpec("uint8", 2, NODATA)
        with geotiffs.create(block_path(folder, window), here, spec) as target:
            target.write(pixels(window), here.window)
    if not plain:
        return
    import rasterio

    for names, bands in ((("class", "confidence"), 1), (("both",), 2)):
        for number, name in enumerate(names):
            profile = {
                "driver": "GTiff", "height": size, "width": size, "count": bands, "dtype": "uint8",
                "nodata": NODATA, "crs": "EPSG:32633", "transform": grid(size).transform,
                "tiled": True, "blockxsize": 512, "blockysize": 512, "bigtiff": "if_safer",
            }  # fmt: skip
            with rasterio.open(folder / f"plain_{name}.tif", "w", **profile) as target:
                for window in windows(size):
                    wanted = [1, 2] if bands == 2 else [1 + number]
                    place = rasterio.windows.Window(
                        window.col, window.row, window.width, window.height
                    )
                    values, _ = read(
                        block_path(folder, window), wanted, Window(0, 0, *window.shape)
                    )
                    target.write(values, window=place)


def _geoseg(folder: Path, size: int) -> None:
    from geoseg.feedback import Silent
    from geoseg.product.raster import mosaic

    parts = [(window, block_path(folder, window)) for window in windows(size)]
    paths = [folder / "geoseg_class.tif", folder / "geoseg_confidence.tif"]
    with _timed():
        mosaic(parts, grid(size), LEGEND, paths, Silent())


def _gdal(folder: Path, size: int) -> None:
    import rasterio.shutil

    with _timed():
        for name, resampling in (("class", "MODE"), ("confidence", "AVERAGE")):
            _copy(
                rasterio.shutil,
                folder / f"plain_{name}.tif",
                folder / f"gdal_{name}.tif",
                resampling,
            )


def _gdal_two_bands(folder: Path, size: int) -> None:
    import rasterio.shutil

    with _timed():
        _copy(rasterio.shutil, folder / "plain_both.tif", folder / "gdal, 2 bands_both.tif", "MODE")


def _copy(shutil: Any, source: Path, target: Path, resampling: str) -> None:
    options = {"compress": "DEFLATE", "blocksize": "512", "num_threads": "ALL_CPUS"}
    shutil.copy(source, target, driver="COG", overview_resampling=resampling, **options)


@contextmanager
def _timed() -> Iterator[None]:
    """Prints how long the body took, for the parent."""
    began = time.perf_counter()
    yield
    print(json.dumps({"seconds": time.perf_counter() - began}))


_CHILDREN = dict(zip(PROGRAMS, (_geoseg, _gdal, _gdal_two_bands), strict=True))

if __name__ == "__main__":
    main()
