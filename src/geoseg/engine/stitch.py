"""From patches to a block: each pixel from the patches that keep it, then a class and a confidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.config.products import Layer, band_count, band_slices
from geoseg.errors import ModelError
from geoseg.grid import Window
from geoseg.legend import NODATA, Legend
from geoseg.tiling import Lattice, Patch

Forward = Callable[[Sequence[Window]], Tensor]
"""Windows of one shape to their class probabilities ``float32[N, K, h, w]``."""


@torch.inference_mode()
def stitch(
    core: Window, lattice: Lattice, patches: Sequence[Patch], forward: Forward, batch: int = 1
) -> Tensor:
    """Class probabilities ``float32[K, h, w]`` of ``core`` from its ``patches``.

    What no patch keeps stays 0. On a CPU patches go through the network one at a time (``batch`` 1):
    a batch would group them by block, and some kernels round otherwise for another batch size,
    which would let the block size into the map.
    """
    result: Tensor | None = None
    for group in _batches(patches, batch):
        found = forward([patch.extent for patch in group])
        if result is None:
            result = found.new_zeros((found.shape[1], *core.shape))
        for patch, probabilities in zip(group, found, strict=True):
            _keep(result, core, lattice, patch, probabilities)
    if result is None:
        raise ValueError(f"{core} has no patch")
    return result


def _batches(patches: Sequence[Patch], most: int) -> Iterator[list[Patch]]:
    """Neighbouring patches of one shape, at most ``most`` together."""
    for _, alike in groupby(patches, key=lambda patch: patch.extent.shape):
        group = list(alike)
        yield from (group[i : i + most] for i in range(0, len(group), most))


def _keep(
    result: Tensor, core: Window, lattice: Lattice, patch: Patch, probabilities: Tensor
) -> None:
    """Add what a patch is kept for to the block's probabilities."""
    kept = patch.kept.clip(core)
    if not kept.size:
        return
    part = probabilities[:, *kept.within(patch.extent)]
    target = result[:, *kept.within(core)]
    if not lattice.blend:
        target.copy_(part)
        return
    rows = _ramp(patch.core.row, patch.core.row_stop, lattice.height, lattice.blend)
    cols = _ramp(patch.core.col, patch.core.col_stop, lattice.width, lattice.blend)
    inside_rows, inside_cols = kept.within(patch.kept)
    weight = np.outer(rows[inside_rows], cols[inside_cols])
    target.add_(part * torch.from_numpy(weight).to(part))


@lru_cache(maxsize=64)
def _ramp(start: int, stop: int, size: int, blend: int) -> NDArray[np.float32]:
    """Weight of a patch along one axis of what it keeps, ``float32[n]``, above 0 everywhere.

    Half a Hann window on each side where there is a neighbour; there both weights sum to 1, so
    that nothing has to be divided by their sum (J. von Hann's window, as in Harris 1978,
    doi:10.1109/PROC.1978.10837).
    """
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(2 * blend) + 0.5) / (2 * blend))
    before, after = min(blend, start), min(blend, size - stop)
    weight = np.ones(stop - start + before + after)
    if before:
        weight[: 2 * blend] *= rise[: len(weight)]
    if after:
        falling = rise[::-1]
        weight[-(blend + after) :] *= falling[: blend + after]
    return weight.astype(np.float32)


def decide(
    probabilities: Tensor, mapped: NDArray[np.bool_], legend: Legend, layers: Sequence[Layer] = ()
) -> NDArray[np.uint8]:
    """Class code, confidence and ``layers``, ``uint8[N, H, W]``, from ``float32[K, H, W]``.

    Confidence is the winner's probability in percent, rounded down, so that 100 means certain; so
    are margin and probabilities. All are ``NODATA`` where ``mapped`` is false. Ties go to the class
    first in the legend. Raises ``ModelError`` where a mapped pixel's probabilities are no numbers:
    that is no class.
    """
    share, winner = probabilities.max(dim=0)
    inside = torch.from_numpy(mapped).to(share.device)
    if bool((share.isnan() & inside).any()):
        raise ModelError(
            "the network gives no number for some pixels; its weights or its normalization are "
            "damaged, or the imagery holds values far beyond what it was trained on"
        )
    count = len(probabilities)
    result = np.empty((band_count(layers, count), *mapped.shape), np.uint8)
    result[0] = legend.to_codes(winner.to(torch.uint8).cpu().numpy())
    for name, bands in band_slices(layers, count).items():
        for band, plane in enumerate(_planes(name, share, probabilities), bands.start):
            result[band] = _percent(plane)
    result[:, ~mapped] = NODATA
    return result


def _planes(name: str, share: Tensor, probabilities: Tensor) -> Iterator[Tensor]:
    """The planes of a layer, ``float32[H, W]`` in 0 to 1, one at a time; of the codes, none."""
    if name == "confidence":
        yield share
    elif name == "confidence_margin":
        yield margin(probabilities)
    elif name == "entropy":
        yield entropy(probabilities)
    elif name == "probabilities":
        yield from probabilities


def _percent(plane: Tensor) -> NDArray[np.uint8]:
    """Whole percent, rounded down."""
    # Blended or averaged, a sum of certain votes may round to a hair above 1.
    percent: NDArray[np.uint8] = (plane * 100).clamp_(0, 100).to(torch.uint8).cpu().numpy()
    return percent


def margin(probabilities: Tensor) -> Tensor:
    """The best probability minus the second best, ``[H, W]``; 1: certain, 0: two classes tie.

    "Best versus second best": Scheffer, Decomain and Wrobel 2001, doi:10.1007/3-540-44816-0_31.
    """
    best = torch.zeros_like(probabilities[0])
    second = torch.zeros_like(best)
    for plane in probabilities:  # a few planes of memory, where a sort takes those of all classes
        torch.maximum(second, torch.minimum(best, plane), out=second)
        torch.maximum(best, plane, out=best)
    return best.sub_(second)


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy of the classes as a share of the largest possible, ``-sum(p ln p) / ln K``, ``[H, W]``.

    0: one class is certain, 1: all are equally likely. Shannon 1948,
    doi:10.1002/j.1538-7305.1948.tb01338.x; 0 ln 0 counts as 0.
    """
    total = torch.zeros_like(probabilities[0])
    for plane in probabilities:
        total.sub_(torch.xlogy(plane, plane))
    # A hair up: K equal shares, as floats, sum to just below ln K.
    return total.div_(math.log(len(probabilities))).add_(1e-5)
