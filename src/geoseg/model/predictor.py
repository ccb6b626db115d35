"""Probabilities from network input: one network, ready on its device."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from geoseg.errors import ModelError
from geoseg.model.bundle import ModelCard, identify, load
from geoseg.model.context import Precision
from geoseg.model.memory import keep_memory
from geoseg.model.precision import autocast

FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
"""Axes turned over: fields have no up or left, so each view is as good as the first."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """A network in evaluation mode, on its device."""

    network: nn.Module
    stride: int
    precision: Precision = "fp32"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    flips: bool = False
    """Average over the four views of ``FLIPS`` (test-time augmentation): four times the work."""

    @torch.inference_mode()
    def probabilities(self, batch: Tensor) -> Tensor:
        """Class probabilities ``float32[N, K, H, W]`` of ``[N, C, H, W]``; the sum over K is 1.

        H and W are multiples of ``stride``. Where the device has no memory for the batch it goes
        through in halves; raises ``ModelError`` where there is none for a single patch.
        """
        try:
            return self._views(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise ModelError(
                    f"{self.device} has no memory for one patch of {batch.shape[-1]} x "
                    f"{batch.shape[-2]} pixels; choose a smaller predict.core"
                ) from None
        torch.cuda.empty_cache()
        half = len(batch) // 2
        return torch.cat([self.probabilities(batch[:half]), self.probabilities(batch[half:])])

    def _views(self, batch: Tensor) -> Tensor:
        if not self.flips:
            return self._once(batch)
        views = [self._once(batch.flip(axes)).flip(axes) for axes in FLIPS]
        return torch.stack(views).mean(dim=0)

    def _once(self, batch: Tensor) -> Tensor:
        with autocast(self.device, self.precision):
            logits = self.network(batch)
        # In float32: a sum of exponentials loses too much in bf16.
        return torch.softmax(logits.float(), dim=1)


def load_predictor(
    folder: Path, bundle_sha256: str, precision: Precision, device: str, flips: bool = False
) -> tuple[ModelCard, Predictor]:
    """Card and predictor of a bundle; its weights are loaded once per process.

    Raises ``ModelError`` where the bundle is not the one asked for (``bundle_sha256``, see
    ``identify``), or where the device is not there.
    """
    card, network = _load(folder, bundle_sha256, device)
    return card, Predictor(network, card.network.stride, precision, torch.device(device), flips)


def forget_predictors() -> None:
    """Let go of the networks of this process, and give a GPU's memory back."""
    _load.cache_clear()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@lru_cache(maxsize=8)
def _load(folder: Path, bundle_sha256: str, device: str) -> tuple[ModelCard, nn.Module]:
    """The checksum is part of the cache's key: a retrained model in the same folder is another."""
    if identify(folder) != bundle_sha256:
        raise ModelError(f"{folder} changed while the run was under way; start the run again")
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            "the run was planned on a CUDA device and this worker has none; workers of one run need "
            "the same kind of device, or the map would be of two kinds"
        )
    keep_memory()
    card, network = load(folder)
    return card, network.to(torch.device(device)).to(memory_format=torch.channels_last)
