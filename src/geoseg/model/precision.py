"""Number formats: which one a device computes natively."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from geoseg.model.context import Precision


def native(device: torch.device) -> Precision:
    """The quickest format the device has units for; emulated, bf16 is slower than fp32."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    return "bf16" if _cpu_has_bf16() else "fp32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The format, around a forward pass."""
    if precision == "fp32":
        return nullcontext()
    # A pass uses each weight once. Converted weights are kept for the whole process: concurrency that
    # train would hold parts of one another's gradients.
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)


def dtype(precision: Precision) -> torch.dtype:
    """What the network's input is kept in: autocast would bring it there anyway, in a copy."""
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _cpu_has_bf16() -> bool:
    """Whether the processor has bf16 instructions (AVX512-bf16, AMX, or Arm's).

    Asks the kernel: torch says so publicly only in its newest versions. Unknown counts as no.
    """
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return False
    return not words.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})
