"""What training minimizes: cross-entropy over the pixels whose label is known."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from geoseg.legend import UNKNOWN


def masked_cross_entropy(
    logits: torch.Tensor,
    target: torch.Tensor,
    weights: torch.Tensor,
    whole: torch.Tensor | None = None,
) -> torch.Tensor:
    """Weighted mean cross-entropy over known pixels, a scalar.

    ``logits`` are ``[N, K, h, w]``, ``target`` model indices ``int64[N, h, w]``, ``weights``
    ``float32[K]``. Pixels with ``UNKNOWN`` have no share in value or gradient; where no pixel is
    known the loss is 0. For a share of a batch, ``whole`` is the weight of the whole batch: the
    losses of its shares then sum to its loss, and so do their gradients.
    """
    # In float32 whatever the network computes in: a log-sum-exp loses too much in bf16.
    total = F.cross_entropy(logits.float(), target, weights, ignore_index=UNKNOWN, reduction="sum")
    return total / (known_weight(target, weights) if whole is None else whole)


def known_weight(target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """What the known pixels of ``target`` weigh together, by ``weights`` of their classes; above 0."""
    known = target[target != UNKNOWN]
    return weights[known].sum().clamp_min(torch.finfo(torch.float32).tiny)


def class_weights(
    pixels: NDArray[np.integer], kind: Literal["none", "sqrt", "balanced"]
) -> NDArray[np.float32]:
    """Weight of each class, ``float32[K]``, from its training pixels ``[K]``.

    1, or the inverse of (the root of) the class's share, scaled to 1 on average over the classes
    that occur. A class without pixels gets 1; it is in no target.
    """
    power = {"none": 0.0, "sqrt": -0.5, "balanced": -1.0}[kind]
    weights = np.ones(len(pixels))
    present = pixels > 0
    weights[present] = pixels[present].astype(np.float64) ** power
    if present.any():
        weights[present] /= weights[present].mean()
    return weights.astype(np.float32)
