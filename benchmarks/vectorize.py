"""Polygons from a class map of Sentinel-2's tile size: geoseg beside what users would pick.

    python -m benchmarks.vectorize --json FILE [--size 10980] [--only geoseg,shapes] [--slow]

Two maps: parcels (Voronoi cells of 8 classes, about 178 000 fields at 10980 px) and salt and pepper
(every third pixel at random, 2.8 million regions). Each program in a process of its own, from the start
of Python to its end; geoseg also writes its file. ``--slow`` adds geopandas' dissolve and the simplified
coverage of the whole set.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.measure import ProgramError, run
from geoseg.grid import Window

CELL, CLASSES, SPECKLED = 21, 8, 0.0255

SHAPES = """
import sys, rasterio, rasterio.features
with rasterio.open(sys.argv[1]) as file:
    codes, transform, crs = file.read(1), file.transform, file.crs
found = rasterio.features.shapes(codes, codes != 255, connectivity=4, transform=transform)
"""
FRAME = (
    SHAPES
    + """
import geopandas, shapely.geometry
rows = [(shapely.geometry.shape(shape), int(code)) for shape, code in found]
frame = geopandas.GeoDataFrame({"code": [c for _, c in rows]}, geometry=[g for g, _ in rows], crs=crs)
"""
)
GEOSEG = """
import json, sys
from pathlib import Path
from geoseg.config import VectorsConfig
from geoseg.feedback import Silent
from geoseg.product.vectors.polygons import vectorize
from geoseg.product.style import read_legend
path, target = Path(sys.argv[1]), Path(sys.argv[2])
legend, other = read_legend(path), path.with_name("confidence.tif")
found = vectorize((path, other), legend, [target], Silent(), VectorsConfig({options}), "benchmark")
print(json.dumps({{"polygons": found.polygons, "mb": round(target.stat().st_size / 1e6)}}))
"""
PROGRAMS = {
    "shapes": SHAPES + "print('{\"polygons\": %d}' % sum(1 for _ in found))",
    "shapes into a GeoDataFrame": FRAME + "print('{\"polygons\": %d}' % len(frame))",
    "geoseg": GEOSEG.format(options=""),
    "geoseg simplified": GEOSEG.format(options="simplify=1"),
    "geoseg smoothed": GEOSEG.format(options="simplify=1, smooth=2"),
    "geoseg 0.5 ha": GEOSEG.format(options="minimum_area=0.5"),
}
SLOW = {
    "and dissolved": FRAME + 'print(\'{"polygons": %d}\' % len(frame.dissolve("code").explode()))',
    "and coverage_simplify": FRAME
    + "import shapely\nshapely.coverage_simplify(frame.geometry.to_numpy(), 10)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--size", type=int, default=10980)
    parser.add_argument("--maps", default="parcels,speckled")
    parser.add_argument("--only", default="", help="programs by name, comma between")
    parser.add_argument("--format", default="gpkg", choices=["gpkg", "fgb", "parquet"])
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--folder", type=Path, help="keep the maps here")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        for name in given.maps.split(","):
            paths = make_map(folder / name, name, given.size)
            for program, code in _chosen(given.only, given.slow):
                row = {"map": name, "program": program, **_measure(code, paths, given.format)}
                rows.append(row)
                print(_line(row), flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


def _chosen(only: str, slow: bool) -> list[tuple[str, str]]:
    programs = {**PROGRAMS, **(SLOW if slow else {})}
    wanted = only.split(",") if only else []
    return [(n, c) for n, c in programs.items() if not wanted or n in wanted]


def _measure(code: str, class_map: Path, suffix: str) -> dict[str, object]:
    target = class_map.with_name(f"out.{suffix}")
    log = class_map.with_name("log.txt")
    try:
        usage = run([sys.executable, "-c", code, class_map, target], log, Path.cwd())
    except ProgramError as error:
        return {"failed": str(error)[-300:]}
    return {**asdict(usage), **usage.said}


def _line(row: dict[str, object]) -> str:
    if "failed" in row:
        return f"{row['map']:<9} {row['program']:<28} failed: {row['failed']}"
    return (
        f"{row['map']:<9} {row['program']:<28} {row['seconds']:7.1f} s {row['cpu_seconds']:7.1f} CPU s "
        f"{row['peak_rss_mb']:7.0f} MiB {row.get('polygons', ''):>9} polygons "
        f"{row.get('mb', ''):>5} MB (load {row['load_before']:.1f})"
    )


def make_map(folder: Path, kind: str, size: int) -> Path:
    """Class and confidence raster of a synthetic map, made once; the class raster's path."""
    import numpy as np
    from affine import Affine
    from rasterio import CRS

    from geoseg.grid import Grid
    from geoseg.io.raster import geotiffs
    from geoseg.legend import NODATA, PALETTE, Legend, LegendClass
    from geoseg.product.style import LEGEND_TAG, legend_tag

    path = folder / "class.tif"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    legend = Legend(tuple(LegendClass(k, f"crop {k}", PALETTE[k]) for k in range(CLASSES)))
    crs = str(CRS.from_epsg(32632).to_wkt())
    grid = Grid(crs, Affine(10, 0, 499980, 0, -10, 5.3e6), size, size)
    spec = geotiffs.RasterSpec("uint8", nodata=NODATA, tags=((LEGEND_TAG, legend_tag(legend)),))
    rng = np.random.default_rng(0)
    began = time.perf_counter()
    with (
        geotiffs.create(path, grid, spec) as codes,
        geotiffs.create(folder / "confidence.tif", grid, geotiffs.RasterSpec("uint8")) as other,
    ):
        for window in grid.windows(512):
            codes.write(CELLS[kind](window, rng), window)
            other.write(rng.integers(40, 100, window.shape, np.uint8), window)
    print(f"made {kind} in {time.perf_counter() - began:.0f} s", flush=True)
    return path


def _parcels(window: Window, _: Generator) -> NDArray[np.uint8]:
    """Voronoi cells of one seed per square of CELL pixels."""
    rows = np.arange(window.row, window.row_stop)
    cols = np.arange(window.width)
    fixed = np.random.default_rng(1)
    side = max(600, window.width // CELL + 3)  # square maps
    seeds = fixed.random((2, side, side), np.float32)
    kinds = fixed.integers(0, CLASSES, (side, side), np.uint8)
    best = np.full(window.shape, np.inf, np.float32)
    codes = np.zeros(window.shape, np.uint8)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            r, c = rows // CELL + down, cols // CELL + right
            y, x = seeds[0][r][:, c] + r[:, np.newaxis], seeds[1][r][:, c] + c
            distance = (y * CELL - rows[:, np.newaxis]) ** 2 + (x * CELL - cols) ** 2
            nearer = distance < best
            np.copyto(best, distance, where=nearer, casting="same_kind")
            np.copyto(codes, kinds[r][:, c], where=nearer)
    return codes


def _speckled(window: Window, rng: Generator) -> NDArray[np.uint8]:
    """Parcels with random pixels of other classes."""
    noisy = rng.random(window.shape, np.float32) < SPECKLED
    strangers = rng.integers(0, CLASSES, window.shape, np.uint8)
    return np.where(noisy, strangers, _parcels(window, rng))


CELLS = {"parcels": _parcels, "speckled": _speckled}

if __name__ == "__main__":
    main()
