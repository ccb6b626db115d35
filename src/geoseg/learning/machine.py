"""Where training computes: the device, the number format, the threads."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from geoseg.config import TrainConfig
from geoseg.learning.batches import Batch


@dataclass(frozen=True, eq=False)
class Machine:
    """Where and in which number format the network computes."""

    device: torch.device
    precision: Literal["fp32", "bf16"]

    @classmethod
    def choose(cls, config: TrainConfig) -> Machine:
        """CUDA where there is one; ``auto`` takes bf16 where the hardware multiplies it."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if config.precision != "auto":
            return cls(device, config.precision)
        if device.type == "cuda":
            native = torch.cuda.get_device_capability() >= (8, 0)
        else:
            native = _cpu_has_bf16()
        return cls(device, "bf16" if native else "fp32")

    def autocast(self) -> AbstractContextManager[Any]:
        """The number format, around a forward pass."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def load(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and target on the device; the features keep their channels-last layout."""
        wanted = torch.bfloat16 if self.precision == "bf16" else torch.float32
        return batch.features.to(self.device, wanted), batch.target.to(self.device)


def use_threads(threads: int) -> None:
    """Set the CPU threads of this process's networks; 0: one per core it may run on."""
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))


def _cpu_has_bf16() -> bool:
    """Whether the processor has bf16 instructions; emulated, bf16 is slower than fp32.

    Asks the kernel: torch says so publicly only in its newest versions. Unknown counts as no.
    """
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return False
    return not words.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})
