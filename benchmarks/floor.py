"""The least a scene can cost on this machine: `python -m benchmarks.floor`, one thread.

Bare forward of geoseg's own patches (core, margin and clipping as in its job.json, pixels in memory,
best batch), bare decode of every file once, bare conversion to float once. All in CPU seconds of
one thread; spread over the cores they are the floor of the wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.scene import MALLOC, ROOT, Scene, rasters

if TYPE_CHECKING:
    import torch

    from benchmarks.forward import Forward

REPEATS = 3
BATCHES = (1, 2, 4, 8)
LARGEST = 1536**2
"""Most pixels in a batch: beyond, more patches at once only cost memory."""


@dataclass(frozen=True)
class Floor:
    """CPU seconds of one thread."""

    forward: float
    decode: float
    convert: float
    patches: int
    computed: float
    """Pixels that go through the network per pixel of the scene."""
    batch: int
    """The batch that was best for the most common patch shape."""

    def seconds(self, cores: int) -> float:
        """Wall seconds, were all of it spread over the cores without loss."""
        return (self.forward + self.decode + self.convert) / cores


def measure_floor(scene: Scene, precision: str, job: Path) -> Floor:
    """The floor under the lattice of a geoseg run, measured in a process of its own."""
    command: list[str | Path] = [sys.executable, "-m", "benchmarks.floor"]
    command += [scene.imagery, scene.bundle, job, precision]
    environment = os.environ | MALLOC | {"OMP_NUM_THREADS": "1", "GDAL_NUM_THREADS": "1"}
    # What it says of an error goes to the terminal.
    result = subprocess.run(
        command, check=True, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    return Floor(**json.loads(result.stdout.splitlines()[-1]))


def main() -> None:
    """Measure and print one line of JSON."""
    import torch

    from benchmarks.forward import Forward

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("imagery", "bundle", "job"):
        parser.add_argument(name, type=Path)
    parser.add_argument("precision", choices=("fp32", "bf16"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    files = rasters(given.imagery)
    job = json.loads(given.job.read_text())
    shapes = patch_shapes(job)
    # Files first: the network's memory would be in their way.
    decode, convert = _files(files)
    forward = Forward.load(given.bundle, given.precision)
    common_shape = shapes.most_common(1)[0][0]
    batch = _best_batch(forward, common_shape, shapes[common_shape])
    times = {shape: _per_patch(forward, shape, min(batch, n)) for shape, n in shapes.items()}
    floor = Floor(
        forward=sum(times[shape] * count for shape, count in shapes.items()),
        decode=decode,
        convert=convert,
        patches=shapes.total(),
        computed=sum(h * w * n for (h, w), n in shapes.items()) / (job["height"] * job["width"]),
        batch=batch,
    )
    print(json.dumps(asdict(floor)))


def patch_shapes(job: dict[str, Any]) -> Counter[tuple[int, int]]:
    """How many patches of each shape (height, width) a job has: clipped, filled up to the stride."""
    settings = job | job.get("pixels", {})
    sides = [
        _sides(job[key], *(settings[name] for name in ("core", "margin", "stride")))
        for key in ("height", "width")
    ]
    return Counter((height, width) for height in sides[0] for width in sides[1])


def _sides(length: int, core: int, margin: int, stride: int) -> list[int]:
    sides = []
    for start in range(0, length, core):
        stop = min(start + core, length)
        side = min(length, stop + margin) - max(0, start - margin)
        sides.append(side + -side % stride)
    return sides


def _cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _best_batch(forward: Forward, shape: tuple[int, int], count: int) -> int:
    """Patches at a time, at which the network takes the least per patch."""
    fitting = [n for n in BATCHES if n == 1 or (n <= count and n * shape[0] * shape[1] <= LARGEST)]
    return min(fitting, key=lambda n: _per_patch(forward, shape, n))


def _per_patch(forward: Forward, shape: tuple[int, int], batch: int) -> float:
    """CPU seconds of one patch; the first forward of a shape prepares kernels and does not count."""
    pixels = _noise(forward, shape, batch)
    forward.logits(pixels)
    return median(_cpu(lambda: forward.logits(pixels)) for _ in range(REPEATS)) / batch


def _noise(forward: Forward, shape: tuple[int, int], batch: int) -> torch.Tensor:
    """A batch in the network's own number format; its speed does not depend on the values."""
    import torch

    channels = forward.model.card["network"]["channels"]
    dtype = torch.bfloat16 if forward.precision == "bf16" else torch.float32
    return torch.randn(batch, channels, *shape, dtype=dtype).to(memory_format=torch.channels_last)


def _files(files: list[Path]) -> tuple[float, float]:
    """CPU seconds to decode every tile once, and to make floats of every pixel once."""
    import numpy as np
    import rasterio
    from rasterio.windows import Window

    decode = convert = 0.0
    for path in files:
        with rasterio.open(path) as source:
            tall = source.block_shapes[0][0]
            floats = np.zeros((source.count, tall, source.width), dtype=np.float32)
            for row in range(0, source.height, tall):
                strip = Window(0, row, source.width, min(tall, source.height - row))
                began = time.process_time()
                values = source.read(window=strip)
                decoded = time.process_time()
                for layer, target in zip(values, floats[:, : strip.height], strict=True):
                    np.subtract(layer, np.float32(1000), out=target)
                    np.multiply(target, np.float32(0.001), out=target)
                decode += decoded - began
                convert += time.process_time() - decoded
    return decode, convert


if __name__ == "__main__":
    main()
