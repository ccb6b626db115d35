"""Probabilities from features: one network, ready on its device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from geoseg.errors import ModelError
from geoseg.model.bundle import ModelCard, identify, load
from geoseg.model.memory import keep_memory


def pad_to_stride(features: NDArray[np.float32], stride: int) -> NDArray[np.float32]:
    """Reflect rows and columns onto the bottom and right until both are multiples of ``stride``.

    At most ``stride - 1`` pixels, whatever the size: numpy reflects again and again where the array
    is smaller than the padding (torch refuses).
    """
    height, width = features.shape[-2:]
    pads = [(0, 0)] * (features.ndim - 2) + [(0, -height % stride), (0, -width % stride)]
    return np.pad(features, pads, mode="reflect") if any(p for _, p in pads) else features


@dataclass(frozen=True, eq=False)
class Predictor:
    """A network in evaluation mode, its stride and its number format."""

    network: nn.Module
    stride: int
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "cpu"

    @torch.inference_mode()
    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities ``float32[N, K, h, w]`` of ``float32[N, C, h, w]``; sum over K is 1.

        Any height and width: the features are padded to the stride and the result cut back.
        """
        height, width = features.shape[-2:]
        batch = torch.from_numpy(np.ascontiguousarray(pad_to_stride(features, self.stride)))
        batch = batch.to(self.device, memory_format=torch.channels_last)
        with self._autocast():
            logits = self.network(batch)
        result: NDArray[np.float32] = torch.softmax(logits.float(), dim=1).cpu().numpy()
        return result[..., :height, :width]

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16)


@lru_cache(maxsize=2)
def load_predictor(
    folder: Path, bundle_sha256: str, precision: Literal["fp32", "bf16"]
) -> tuple[ModelCard, Predictor]:
    """Card and predictor of a bundle, loaded once per process.

    ``bundle_sha256`` (see ``identify``) is part of the cache key: a retrained model in the same
    folder is another. Raises ``ModelError`` where the bundle is not the one asked for.
    """
    if identify(folder) != bundle_sha256:
        raise ModelError(f"{folder} changed while the run was under way; start the run again")
    card, network = load(folder)
    keep_memory()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = network.to(device).to(memory_format=torch.channels_last)
    return card, Predictor(network, card.network.stride, precision, device)
