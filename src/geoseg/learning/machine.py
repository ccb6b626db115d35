"""Where training computes: the device, the number format, the threads."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from geoseg.config import TrainConfig
from geoseg.learning.batches import Batch
from geoseg.model.context import Precision
from geoseg.model.precision import autocast, dtype, native


@dataclass(frozen=True, eq=False)
class Machine:
    """Where and in which number format the network computes."""

    device: torch.device
    precision: Precision

    @classmethod
    def choose(cls, config: TrainConfig) -> Machine:
        """CUDA where there is one; ``auto`` takes bf16 where the hardware multiplies it."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if config.precision != "auto":
            return cls(device, config.precision)
        return cls(device, native(device))

    def autocast(self) -> AbstractContextManager[Any]:
        """The number format, around a forward pass."""
        return autocast(self.device, self.precision)

    def load(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and target on the device; the features keep their channels-last layout."""
        wanted = dtype(self.precision)
        return batch.features.to(self.device, wanted), batch.target.to(self.device)


def use_threads(threads: int) -> None:
    """Set the CPU threads of this process's networks; 0: one per core it may run on."""
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
