"""Training from end to end: labels dealt out, samples cut, network fitted, bundle saved."""

from __future__ import annotations

import platform
import shutil
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.config import ModelConfig, SplitConfig, TrainConfig
from geoseg.errors import ConfigError
from geoseg.feedback import Progress
from geoseg.imagery.labels import Labels
from geoseg.imagery.scenes import Scene
from geoseg.learning.accelerator import Accelerator
from geoseg.learning.batches import Loader
from geoseg.learning.fitting import FitResult, Trainer
from geoseg.learning.samples import Drawn, Samples, Source, cut, draw, require_part
from geoseg.learning.split import Part, plan_split
from geoseg.learning.statistics import fit_normalization
from geoseg.legend import Legend
from geoseg.model.bundle import ModelCard, class_entries, save
from geoseg.model.memory import keep_memory
from geoseg.model.networks import NetworkSpec, build
from geoseg.normalization import Normalization

LIBRARIES = ("geoseg", "torch", "segmentation-models-pytorch", "numpy", "rasterio")


@dataclass(frozen=True)
class TrainingRequest:
    """All that a training is told."""

    scenes: tuple[Scene, ...]
    labels: Labels
    legend: Legend
    split: SplitConfig
    model: ModelConfig
    train: TrainConfig
    work: Path
    """Folder for the samples while training lasts; it is removed at the end."""
    bundle: Path
    """Folder of the model bundle."""
    scored: bool = False
    """The map will be scored on the labels that are held back, so there have to be some."""
    fingerprint: str = ""
    """Hash of what the training is given; kept in the model card."""


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves."""

    bundle: Path
    card: ModelCard
    """With the best epoch's validation scores as ``metrics``."""
    seconds: float


def train(request: TrainingRequest, progress: Progress) -> TrainingResult:
    """Train a network and save it as a bundle.

    Reads the imagery and the labels, never a truth. Raises ``ConfigError`` for settings that do not
    fit together, ``LabelError`` where a part has no label, ``ModelError`` for an encoder that does
    not exist, ``OutputError`` and ``RasterError``.
    """
    began = time.perf_counter()
    drawn = draw_samples(request)
    keep_memory()
    torch.manual_seed(request.train.seed)
    try:
        samples = _cut(request, drawn, progress)
        normalization = fit_normalization(samples, request.train.transform)
        spec = network_spec(request)
        accelerator = Accelerator.choose(request.train)
        network = build(spec).to(accelerator.device)
        network = network.to(memory_format=torch.channels_last)
        loader = Loader(samples, normalization, request.train)
        fitted = Trainer(network, loader, request.legend, accelerator).run(progress)
    finally:
        shutil.rmtree(request.work, ignore_errors=True)
    seconds = time.perf_counter() - began
    training = _describe(request, samples, fitted, accelerator) | {"seconds": round(seconds, 1)}
    card = _card(request, spec, normalization, fitted, training)
    return TrainingResult(request.bundle, save(request.bundle, network, card), seconds)


def draw_samples(request: TrainingRequest) -> Drawn:
    """Which samples a training takes: all that it checks before it reads imagery. Reads the labels.

    Raises ``ConfigError``, ``LabelError`` and ``ModelError``, as ``train`` does.
    """
    _check(request)
    build(network_spec(request))  # an encoder that there is not is told before samples are cut
    grid, classes = request.scenes[0].grid, len(request.legend)
    split = plan_split(request.labels, grid, classes, request.split)
    drawn = draw(Source(request.scenes, request.labels, split, classes), request.train)
    if request.scored:
        require_part(Part.TEST, drawn.pixels)
    return drawn


def _check(request: TrainingRequest) -> None:
    stride, side = 2**request.model.depth, request.train.patch
    # Two positions a side at the deepest layer: batch normalization needs more than one value.
    if side % stride or side < 2 * stride:
        nearest = max(2, round(side / stride)) * stride
        raise ConfigError(
            f"train.patch: {side} is not a multiple of the network's stride {stride} (model.depth "
            f"{request.model.depth}) of at least {2 * stride}; the nearest is {nearest}"
        )


def _cut(request: TrainingRequest, drawn: Drawn, progress: Progress) -> Samples:
    samples = cut(drawn, request.work, progress)
    for part in (Part.TRAIN, Part.VALIDATION):
        found = samples.pixels[part]
        missing = [request.legend.names[index] for index in np.flatnonzero(found == 0)]
        if missing:
            progress.say(f"{part.name.lower()}: no labelled pixel of {', '.join(missing)}")
    return samples


def network_spec(request: TrainingRequest) -> NetworkSpec:
    """The network that a training fits."""
    model = request.model
    return NetworkSpec(
        encoder=model.encoder,
        depth=model.depth,
        decoder_channels=model.decoder_channels[: model.depth],
        channels=len(request.scenes) * len(request.scenes[0].bands),
        classes=len(request.legend),
    )


def _describe(
    request: TrainingRequest, samples: Samples, fitted: FitResult, accelerator: Accelerator
) -> dict[str, Any]:
    """What the model was trained on and how, for the card: names and numbers only."""
    names = request.legend.names
    return {
        "imagery": sorted({path.name for scene in request.scenes for path in scene.files}),
        "labels": request.labels.path.name,
        "pixels": {part.name.lower(): _by_name(names, samples.pixels[part]) for part in Part},
        "samples": len(samples),
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "device": accelerator.device.type,
        "precision": accelerator.precision,
        "split": request.split.model_dump(mode="json"),
        "settings": request.train.model_dump(mode="json"),
    }


def _by_name(names: tuple[str, ...], pixels: NDArray[np.int64]) -> dict[str, int]:
    return dict(zip(names, pixels.tolist(), strict=True))


def _card(
    request: TrainingRequest,
    spec: NetworkSpec,
    normalization: Normalization,
    fitted: FitResult,
    training: dict[str, Any],
) -> ModelCard:
    return ModelCard(
        network=spec,
        bands=request.scenes[0].bands,
        dates=tuple(scene.id for scene in request.scenes),
        normalization=normalization,
        classes=class_entries(request.legend),
        training=training,
        metrics=fitted.scores.to_dict(),
        history=fitted.history,
        versions={"python": platform.python_version(), **{n: version(n) for n in LIBRARIES}},
        fingerprint=request.fingerprint,
    )
