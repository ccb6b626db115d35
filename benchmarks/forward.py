"""The network as the reference and the floor run it: channels_last, fp32 or bf16 by autocast.

Shared, so that both mean the same by a precision. Start the process with ``MALLOC`` of ``scene`` in its
environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.peers import common


@dataclass(frozen=True, eq=False)
class Forward:
    """A network, ready in one precision."""

    model: common.Model
    precision: str
    stride: int

    @classmethod
    def load(cls, bundle: Path, precision: str) -> Forward:
        """Load a bundle; ``precision`` is ``fp32`` or ``bf16``."""
        model = common.load(bundle)
        model.network.to(memory_format=torch.channels_last)
        return cls(model, precision, 2 ** model.card["network"]["depth"])

    @torch.inference_mode()
    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Logits ``[N, K, h, w]`` of ``float32[N, channels, h, w]``, sides multiples of the stride."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            result: torch.Tensor = self.model.network(features)
        return result

    def prepare(self, features: NDArray[np.float32]) -> torch.Tensor:
        """One patch ``[channels, h, w]`` as a batch, reflected to the next multiple of the stride."""
        height, width = features.shape[-2:]
        pads = [(0, 0), (0, -height % self.stride), (0, -width % self.stride)]
        padded = np.pad(features, pads, mode="reflect")
        return torch.from_numpy(padded)[None].to(memory_format=torch.channels_last)
