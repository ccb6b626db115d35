"""A batch in shares: each goes through the network by itself, and their gradients make the batch's.

How a batch is cut depends on the config alone, so that a machine's cores decide how long training
takes and nothing else. Batch normalization sees one share at a time ("ghost batch normalization",
Hoffer, Hubara and Soudry 2017, "Train longer, generalize better", arXiv:1705.08741).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from geoseg.config import TrainConfig
from geoseg.learning.batches import Batch

MOST = 8
"""Shares of a batch at most: each costs a gradient of all weights, whatever it holds."""
LEAST, LEAST_PIXELS = 2, 2**13
"""Samples and pixels in a share of a full batch at least: of less, batch normalization's statistics
are noise."""


def share_size(config: TrainConfig) -> int:
    """Samples in a share of a full batch."""
    enough = max(LEAST, -(-LEAST_PIXELS // config.patch**2), -(-config.batch // MOST))
    return min(config.batch, enough)


def cut(batch: Batch, size: int) -> Iterator[Batch]:
    """Shares of about equal size, at most ``size``; in order."""
    parts = -(-len(batch.target) // size)
    features, targets = (t.tensor_split(parts) for t in (batch.features, batch.target))
    return map(Batch, features, targets)


@dataclass(frozen=True, eq=False)
class Replicas:
    """Copies of a network, one for each share: weights in common, gradients of their own.

    What batch normalization saw is also each copy's own, until ``remember``.
    """

    network: nn.Module
    copies: tuple[nn.Module, ...]

    @classmethod
    def of(cls, network: nn.Module, count: int) -> Replicas:
        """``count`` copies, in training mode."""
        own = {id(b) for norm in _norms(network) for b in norm.buffers(recurse=False)}
        common = {id(b): b for b in network.buffers() if id(b) not in own}
        return cls(network, tuple(_copy(network, common) for _ in range(count)))

    def remember(self, sizes: Sequence[int]) -> None:
        """Move the network's running statistics towards those of the shares, of so many samples.

        One step for the batch, as without shares, towards the mean of the shares' statistics.
        """
        whole = sum(sizes)
        for norm, *seen in zip(_norms(self.network), *map(_norms, self.copies), strict=True):
            norm.num_batches_tracked += 1
            mean = 1 / int(norm.num_batches_tracked)
            momentum = mean if norm.momentum is None else norm.momentum
            for name in ("running_mean", "running_var"):
                found = [
                    getattr(one, name) * (size / whole)
                    for one, size in zip(seen, sizes, strict=False)
                ]
                getattr(norm, name).lerp_(torch.stack(found).sum(dim=0), momentum)


def _copy(network: nn.Module, common: dict[int, Tensor]) -> nn.Module:
    """A copy whose weights are views of the network's: what changes there changes here."""
    views = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in network.parameters()}
    copied = deepcopy(network, {**common, **views}).train()
    for norm in _norms(copied):
        norm.momentum = 1.0  # nothing is left of earlier shares
    return copied


def _norms(network: nn.Module) -> list[_BatchNorm]:
    return [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
