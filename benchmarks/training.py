"""Steps of a training on noise of the shape of the demo's samples: geoseg's and the plain way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from benchmarks import machine
from geoseg.config import TrainConfig
from geoseg.grid import Window
from geoseg.learning.accelerator import Accelerator
from geoseg.learning.batches import Batch, Loader
from geoseg.learning.fitting import Trainer
from geoseg.learning.losses import masked_cross_entropy
from geoseg.learning.samples import Samples
from geoseg.learning.threads import Threads
from geoseg.legend import Legend, LegendClass
from geoseg.model.memory import keep_memory
from geoseg.model.networks import NetworkSpec, build
from geoseg.normalization import Normalization

CONFIG = TrainConfig(patch=256, batch=4, epochs=10_000)
SAMPLES, DATES, BANDS, CLASSES = 8, 12, 5, 8
SPEC = NetworkSpec(
    encoder="resnet18",
    depth=5,
    decoder_channels=(256, 128, 64, 32, 16),
    channels=DATES * BANDS,
    classes=CLASSES,
)

Step = Callable[[], object]


def shares() -> Step:
    """geoseg's steps."""
    keep_memory()
    legend = Legend(tuple(LegendClass(n, str(n), "#123456") for n in range(CLASSES)))
    fit = Trainer(_network(), _loader(), legend, Accelerator.choose(CONFIG))
    batches, numbers = _endless(fit.loader, fit.preparing), count()
    return lambda: fit.step(next(batches), 1, next(numbers))


def whole() -> Step:
    """Whole batches, each operation on all cores: the same loss, optimizer, average and batches."""
    keep_memory()
    torch.set_num_threads(machine.cores())
    network, weights, device = _network(), torch.ones(CLASSES), Accelerator.choose(CONFIG)
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), CONFIG.learning_rate, fused=True)
    average = AveragedModel(network, avg_fn=lambda old, new, _: 0.98 * old + 0.02 * new)
    batches = _endless(_loader())

    def step() -> None:
        features, target = device.load(next(batches))
        with device.autocast():
            logits = network(features)
        loss = masked_cross_entropy(logits, target, weights)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        average.update_parameters(network)

    return step


def _network() -> nn.Module:
    torch.manual_seed(0)
    return build(SPEC).to(memory_format=torch.channels_last)


def _loader() -> Loader:
    random = np.random.default_rng(0)
    side, channels = CONFIG.patch, DATES * BANDS
    known = random.integers(0, CLASSES, (SAMPLES, side, side)).astype(np.int16)
    samples = Samples(
        random.integers(1, 5000, (SAMPLES, DATES, BANDS, side, side), dtype=np.uint16),
        np.ones((SAMPLES, DATES, side, side), dtype=np.bool_),
        known,
        known,
        (Window(0, 0, side, side),) * SAMPLES,
        np.zeros((4, CLASSES), dtype=np.int64),
    )
    same = {"knee": (1.0,) * channels, "mean": (2500.0,) * channels, "std": (1400.0,) * channels}
    return Loader(samples, Normalization(transform="none", **same), CONFIG)


def _endless(loader: Loader, pool: Threads | None = None) -> Iterator[Batch]:
    for epoch in count():
        yield from loader.training(list(range(SAMPLES)), epoch, pool)
