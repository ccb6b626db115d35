"""A fit small enough to be repeated: `python tests/tiny_fit.py THREADS CORES` prints what it learnt."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from geoseg.config import TrainConfig
from geoseg.feedback import Silent
from geoseg.grid import Window
from geoseg.learning.accelerator import Accelerator
from geoseg.learning.batches import Loader
from geoseg.learning.fitting import Trainer
from geoseg.learning.samples import Samples
from geoseg.legend import UNKNOWN, Legend, LegendClass
from geoseg.normalization import Normalization

CLASSES, SIDE, COUNT = 3, 64, 11
LEGEND = Legend(tuple(LegendClass(n, f"crop {n}", "#123456") for n in range(CLASSES)))
CONFIG = TrainConfig(patch=SIDE, batch=8, epochs=2, drop_dates=0.2, precision="fp32", seed=5)


class Chance(nn.Module):
    """Stochastic depth as some encoders have it: a number per sample, by ``torch.rand``."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return values
        return values * (torch.rand(len(values), 1, 1, 1) + 0.5).floor()


def network(norm: bool = True, chance: bool = True) -> nn.Module:
    """Convolutions, and with ``norm`` batch normalization and (``chance``) two kinds of chance."""
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(16), *[Chance(), nn.Dropout2d(0.3)] * chance] if norm else []
    layers = [nn.Conv2d(4, 16, 3, padding=1), *norms, nn.ReLU(), nn.Conv2d(16, CLASSES, 1)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def samples() -> Samples:
    """Two dates of two bands; each class has a level of its own, and few pixels are known."""
    random = np.random.default_rng(3)
    truth = random.integers(0, CLASSES, (COUNT, 8, 8)).repeat(8, 1).repeat(8, 2).astype(np.int16)
    values = truth[:, np.newaxis, np.newaxis] * 300 + random.normal(
        500, 90, (COUNT, 2, 2, SIDE, SIDE)
    )
    part = random.random(truth.shape)
    # Some samples have hardly a label: shares weigh as much as they know.
    known = random.random(COUNT)[:, np.newaxis, np.newaxis] ** 2 * 0.5
    return Samples(
        values.astype(np.uint16),
        random.random((COUNT, 2, SIDE, SIDE)) < 0.9,
        np.where(part < known, truth, np.int16(UNKNOWN)),
        np.where(part > 0.9, truth, np.int16(UNKNOWN)),
        (Window(0, 0, SIDE, SIDE),) * COUNT,
        np.zeros((4, CLASSES), dtype=np.int64),
    )


def fit(config: TrainConfig = CONFIG, norm: bool = True, chance: bool = True) -> Trainer:
    """A fit that is still to be run."""
    same = Normalization(transform="none", knee=(1,) * 4, mean=(800,) * 4, std=(300,) * 4)
    return Trainer(
        network(norm, chance), Loader(samples(), same, config), LEGEND, Accelerator.choose(config)
    )


def digest(module: nn.Module) -> str:
    """Checksum of weights and statistics."""
    state = {name: tensor.numpy().tobytes() for name, tensor in module.state_dict().items()}
    return hashlib.sha256(b"".join(state[name] for name in sorted(state))).hexdigest()


def learnt(threads: int, precision: str = "fp32") -> str:
    """Checksum of what a fit learns with so many threads."""
    fitted = fit(CONFIG.model_copy(update={"threads": threads, "precision": precision}))
    found = fitted.run(Silent())
    return digest(fitted.network) + str([entry["loss"] for entry in found.history])


def tasks() -> set[str]:
    """Threads of this process, those of OpenMP among them."""
    return {path.name for path in Path("/proc/self/task").iterdir()}


if __name__ == "__main__":
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[2])])
    before = tasks()
    print(learnt(int(sys.argv[1])))
    after = tasks() - before
    time.sleep(1)  # a thread that is done leaves the list when it has had a core; a team stays
    print(len(after & tasks()))
