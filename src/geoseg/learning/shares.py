"""A batch in shares: each goes through the network by itself, and their gradients make the batch's.

How a batch is cut depends on the config alone, so that a machine's cores decide how long training
takes and nothing else. Batch normalization is that of the whole batch (``batch_statistics``).
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

from torch import nn

from geoseg.config import TrainConfig
from geoseg.learning.batches import Batch

MOST = 8
"""Shares of a batch at most: each costs a gradient of all weights, whatever it holds."""
LEAST, LEAST_PIXELS = 2, 2**13
"""Samples and pixels in a share of a full batch at least: with less, that gradient is what takes the
time (the demo's steps take a quarter longer in shares of one sample, docs/benchmarks.md)."""


def share_size(config: TrainConfig) -> int:
    """Samples in a share of a full batch."""
    enough = max(LEAST, -(-LEAST_PIXELS // config.patch**2), -(-config.batch // MOST))
    return min(config.batch, enough)


def cut(batch: Batch, size: int) -> Iterator[Batch]:
    """Shares of about equal size, at most ``size``; in order."""
    parts = -(-len(batch.target) // size)
    features, targets = (t.tensor_split(parts) for t in (batch.features, batch.target))
    return map(Batch, features, targets)


def replicas(network: nn.Module, count: int) -> tuple[nn.Module, ...]:
    """The network itself, and copies of it: weights in common, gradients and buffers of their own.

    The copies' buffers are of no use: what the shares have in common, the network keeps.
    """
    return network, *(_copy(network) for _ in range(count - 1))


def _copy(network: nn.Module) -> nn.Module:
    """A copy whose weights are views of the network's: what changes there changes here."""
    views = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in network.parameters()}
    return deepcopy(network, views)
