"""A bundle with random weights: `python -m benchmarks.random_model IMAGERY BUNDLE`.

A resnet18 U-Net nobody trained, but whose normalization and batch-norm statistics fit the scene. It
costs what a trained one costs. Its map is noise, so its shares of differing pixels say nothing about
a trained one's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from benchmarks.scene import rasters
from geoseg.config import ClassEntry
from geoseg.model.bundle import ModelCard, save
from geoseg.model.networks import NetworkSpec, build
from geoseg.normalization import Normalization

CORNER, PATCH = 512, 256


def main() -> None:
    """Build it, fit its statistics, save it."""
    imagery, folder = (Path(argument).resolve() for argument in sys.argv[1:])
    files = rasters(imagery)
    pixels = _corner(files)
    norm = _normalization(pixels)
    spec = NetworkSpec(
        encoder="resnet18",
        depth=5,
        decoder_channels=(256, 128, 64, 32, 16),
        channels=len(pixels),
        classes=8,
    )
    torch.manual_seed(0)
    network = build(spec)
    _fit(network, torch.from_numpy(norm.apply(pixels)))
    with rasterio.open(files[0]) as source:
        bands = tuple(source.descriptions)
    card = ModelCard(
        network=spec,
        bands=bands,
        dates=tuple(path.stem for path in files),
        normalization=norm,
        classes=tuple(ClassEntry(code=code, name=f"class {code}") for code in range(1, 9)),
    )
    folder.mkdir(parents=True, exist_ok=True)
    save(folder, network, card)


def _corner(files: list[Path]) -> NDArray[np.uint16]:
    """All channels of the scene's first pixels, ``uint16[channels, h, w]``."""
    layers = []
    for path in files:
        with rasterio.open(path) as source:
            layers.append(source.read(window=Window(0, 0, CORNER, CORNER)))
    return np.concatenate(layers)


def _normalization(pixels: NDArray[np.uint16]) -> Normalization:
    one = (1.0,) * len(pixels)
    mean, std = pixels.mean(axis=(1, 2)), pixels.std(axis=(1, 2)).clip(min=1)
    return Normalization(
        transform="none", knee=one, mean=tuple(mean.tolist()), std=tuple(std.tolist())
    )


@torch.no_grad()
def _fit(network: torch.nn.Module, features: torch.Tensor) -> None:
    """Set the batch-norm statistics from ``[channels, h, w]``, cut into patches."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain average over the batches
    patches = features.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH)
    network.train()
    network(patches.permute(1, 2, 0, 3, 4).flatten(0, 1))
    network.eval()


if __name__ == "__main__":
    main()
