"""What this machine offers: memory, and the device networks run on."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch

_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where a container's limit stands, in the kernel's second and first layout."""

SHARE = 0.8
"""Part of the memory that geoseg plans with: the rest is the system's and its file cache's."""


def memory_limit() -> int | None:
    """Bytes that processes on this machine may plan with; None where the system does not say."""
    sizes = []
    with suppress(OSError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal")]
    for path in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # "max": no limit
            sizes.append(int(path.read_text(encoding="ascii")))
    return int(min(sizes) * SHARE) if sizes else None


def device() -> Literal["cpu", "cuda"]:
    """``cuda`` where torch finds a device, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_memory() -> int | None:
    """Free bytes of the CUDA device; None where there is none."""
    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else None
