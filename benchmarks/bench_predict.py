"""How long prediction takes, by patch core: one process, one thread, random weights.

Side by side in one run, in turn, medians of three; quote the ratios, not the seconds.

    python benchmarks/bench_predict.py [--side 1536] [--dates 4]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geoseg.config import ImageryConfig
    from geoseg.imagery.scenes import Scene

CORES = (256, 512, 768)
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=1536, help="side of the scene in pixels")
    parser.add_argument("--dates", type=int, default=4, help="dates, of 5 bands each")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _bench(Path(folder), given.side, given.dates)


def _bench(folder: Path, side: int, dates: int) -> None:
    from geoseg.config import ImageryConfig
    from geoseg.feedback import Silent
    from geoseg.imagery.scenes import select
    from geoseg.synthetic import SceneSpec, write_scene

    print(f"{side} x {side} pixels, {dates} dates x 5 bands, resnet18 U-Net, fp32, margin 64")
    write_scene(folder, SceneSpec(width=side, height=side, dates=dates), Silent())
    imagery = ImageryConfig(folder=folder / "imagery")
    scenes = select(imagery)
    _save_bundle(folder / "model", scenes)
    seconds: dict[int, list[float]] = {core: [] for core in CORES}
    for turn in range(ROUNDS):
        for core in CORES:
            work = folder / f"work-{turn}-{core}"
            seconds[core].append(_time(imagery, scenes, folder / "model", core, work))
    base = statistics.median(seconds[CORES[0]])
    for core, times in seconds.items():
        middle = statistics.median(times)
        print(
            f"core {core:>4}: median {middle:6.2f} s ({min(times):.2f} to {max(times):.2f}), "
            f"{side * side / middle / 1e6:.2f} Mpx/s, {base / middle:.2f} x core {CORES[0]}"
        )


def _save_bundle(folder: Path, scenes: tuple[Scene, ...]) -> None:
    """A network with random weights: it costs what a trained one costs."""
    import torch

    from geoseg.config import ClassEntry
    from geoseg.model.bundle import ModelCard, save
    from geoseg.model.networks import NetworkSpec, build
    from geoseg.normalization import Normalization

    channels = len(scenes) * len(scenes[0].bands)
    one, zero = (1.0,) * channels, (0.0,) * channels
    spec = NetworkSpec(
        encoder="resnet18",
        depth=5,
        decoder_channels=(256, 128, 64, 32, 16),
        channels=channels,
        classes=8,
    )
    card = ModelCard(
        network=spec,
        bands=scenes[0].bands,
        dates=tuple(scene.id for scene in scenes),
        normalization=Normalization(
            transform="none", knee=one, mean=zero, std=(2000.0,) * channels
        ),
        classes=tuple(ClassEntry(code=i, name=str(i)) for i in range(1, 9)),
    )
    torch.manual_seed(0)
    save(folder, build(spec), card)


def _time(
    imagery: ImageryConfig, scenes: tuple[Scene, ...], bundle: Path, core: int, work: Path
) -> float:
    """Seconds to predict every block in this process."""
    from geoseg.engine.job import JobSettings, create_job
    from geoseg.engine.predict import predict_here
    from geoseg.feedback import Silent

    job = create_job(JobSettings(imagery, bundle, core, 64, core * 2, "fp32", 1), scenes, work)
    began = time.perf_counter()
    predict_here(job, Silent())
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
