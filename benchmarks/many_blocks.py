"""Memory of the process that hands out blocks (flow and Dask scheduler in one), by number of blocks.

    python -m benchmarks.many_blocks --blocks 2500,10000

The season is empty, so that a block costs its reading, its file and its receipt and no network: what is
left is the machinery, whose milliseconds per block are told too.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CORE = 32
CHILD = """
import resource, sys
from pathlib import Path
from benchmarks.many_blocks import run
done = run(Path(sys.argv[1]), int(sys.argv[2]))
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", default="2500,10000")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = []
    for blocks in map(int, given.blocks.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", CHILD, folder, str(blocks)]
            out = subprocess.run(command, capture_output=True, text=True, check=False)
        if out.returncode:
            raise SystemExit(out.stderr[-2000:])
        seconds, done, peak = out.stdout.split()
        row = {"blocks": int(done), "peak_mb": int(peak), "seconds": float(seconds)}
        row["ms_per_block"] = round(1000 * row["seconds"] / row["blocks"], 2)
        rows.append(row)
        print(row, flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


def run(folder: Path, blocks: int) -> str:
    """Predict an empty season on two Dask workers; seconds and number of blocks."""
    import numpy as np
    from affine import Affine

    from geoseg.config import ImageryConfig, PredictConfig
    from geoseg.engine.executors.cluster import ClusterSettings, connect
    from geoseg.engine.executors.dask import DaskExecutor
    from geoseg.engine.planning import Request, plan_job
    from geoseg.engine.predict import predict
    from geoseg.feedback import Silent
    from geoseg.grid import Grid
    from geoseg.imagery.scenes import select
    from geoseg.io.raster import geotiffs

    side = math.isqrt(blocks - 1) + 1
    grid = Grid(None, Affine(10, 0, 0, 0, -10, 0), side * CORE, side * CORE)
    with geotiffs.create(
        folder / "2025-06-01.tif", grid, geotiffs.RasterSpec("uint8", 1, 0)
    ) as file:
        for window in grid.windows(512):
            file.write(np.zeros(window.shape, np.uint8), window)
    imagery = ImageryConfig(folder=folder)
    scenes = select(imagery)
    _save_small(folder / "model")
    wanted = PredictConfig(core=CORE, margin=0, block=CORE, precision="fp32")
    request = Request(imagery, (folder / "model",), wanted)
    with connect(ClusterSettings(workers=2)) as client:
        workers = DaskExecutor.on(client, {})
        job = plan_job(request, scenes, folder / "work", workers).job
        began = time.perf_counter()
        outcome = predict(job, workers, 3, Silent())
    return f"{time.perf_counter() - began:.1f} {outcome.blocks}"


def _save_small(folder: Path) -> None:
    """A network that is never asked: there is no pixel with data."""
    from geoseg.config import ClassEntry
    from geoseg.model.bundle import ModelCard, save
    from geoseg.model.networks import NetworkSpec, build
    from geoseg.normalization import Normalization

    channels = (16, 8, 8)
    spec = NetworkSpec(
        encoder="resnet18", depth=3, decoder_channels=channels, channels=1, classes=2
    )
    card = ModelCard(
        network=spec,
        bands=("band_1",),
        dates=("2025-06-01",),
        normalization=Normalization(transform="none", knee=(1,), mean=(0,), std=(1,)),
        classes=tuple(ClassEntry(code=code, name=str(code)) for code in (1, 2)),
    )
    save(folder, build(spec), card)


if __name__ == "__main__":
    main()
