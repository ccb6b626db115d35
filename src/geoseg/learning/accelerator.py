"""Where training computes: the device, the number format, how much at once."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from dask.system import cpu_count

from geoseg.config import TrainConfig
from geoseg.learning.batches import Batch
from geoseg.learning.shares import share_size
from geoseg.learning.threads import OwnRandomNumbers
from geoseg.model.context import Precision
from geoseg.model.precision import autocast, dtype, native


@dataclass(frozen=True, eq=False)
class Accelerator:
    """Where and in which number format the network computes."""

    device: torch.device
    precision: Precision
    share: int
    """Samples of a batch that go through the network together; they decide what is learnt."""
    concurrency: int
    """Shares that are computed at once; they decide how long it takes."""

    @classmethod
    def choose(cls, config: TrainConfig) -> Accelerator:
        """CUDA where there is one; ``auto`` takes bf16 where the hardware multiplies it.

        A GPU is busiest with whole batches, one at a time; a CPU with a share on each core.
        """
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        precision = native(device) if config.precision == "auto" else config.precision
        if device.type == "cuda":
            return cls(device, precision, config.batch, 1)
        share = share_size(config)
        cores = max(1, cpu_count())  # of the machine, its affinity and its container's quota
        return cls(
            device, precision, share, min(config.threads or cores, -(-config.batch // share))
        )

    def autocast(self) -> AbstractContextManager[Any]:
        """The number format, around a forward pass."""
        return autocast(self.device, self.precision)

    def random_numbers(self, seed: int) -> AbstractContextManager[Any]:
        """The random numbers of a forward pass; CUDA's are those of the process."""
        return OwnRandomNumbers(seed) if self.device.type == "cpu" else nullcontext()

    def load(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and target on the device; the features keep their channels-last layout."""
        wanted = dtype(self.precision)
        return batch.features.to(self.device, wanted), batch.target.to(self.device)
