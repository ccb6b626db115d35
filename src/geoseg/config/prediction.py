"""How the map is computed, and on which workers."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import Field

from geoseg.config.base import Section


class PredictConfig(Section):
    """How the map is computed. Only ``precision``, ``core`` and ``margin`` can move a pixel."""

    core: Annotated[int, Field(ge=8)] = 512
    """Side of a patch core in pixels."""
    margin: Annotated[int, Field(ge=0)] = 64
    """Context on each side of the core in pixels."""
    block: Annotated[int, Field(ge=8)] = 1024
    """Side of a block in pixels, a multiple of ``core``."""
    precision: Literal["fp32", "bf16"] = "fp32"
    tries: Annotated[int, Field(ge=1)] = 3
    """How often a block is attempted before the run gives it up."""


class ClusterConfig(Section):
    """Where blocks are predicted."""

    address: str | None = None
    """A running Dask scheduler; where not named, workers are started on this machine."""
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Worker processes on this machine; ``auto``: as many as the cores feed; 0: no Dask at all."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Threads of the network in each worker."""

    @property
    def processes(self) -> int:
        """``workers`` as a number."""
        if self.workers == "auto":
            return max(1, len(os.sched_getaffinity(0)) // self.threads)
        return self.workers
