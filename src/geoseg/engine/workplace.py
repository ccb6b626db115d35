"""What a process keeps between the blocks of a job: open files, the networks, and who may use them."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import BoundedSemaphore, Event, Lock

import torch

from geoseg.engine.aside import aside
from geoseg.engine.ensemble import Ensemble
from geoseg.engine.job import Job, open_job, require_same_inputs
from geoseg.grid import Window
from geoseg.imagery.cube import Cube, read_cube
from geoseg.imagery.scenes import Scene
from geoseg.io import confine, gdal
from geoseg.io.open_rasters import OpenRasters

GPU_LANES = 2
"""Blocks on a GPU at once: while one's result is fetched, the other computes."""


def lanes_on(device: str, lanes: int) -> int:
    """Networks that compute at once in a process with threads for ``lanes``."""
    return min(lanes, GPU_LANES) if device == "cuda" else lanes


@dataclass(eq=False)
class Workplace:
    """One job in one process, for all its threads."""

    job: Job
    scenes: tuple[Scene, ...]
    networks: Future[Ensemble]
    """Loaded while the first blocks are read: importing what builds a network takes a second."""
    lanes: int
    """Networks that compute at once; more threads than lanes read ahead meanwhile."""
    rasters: OpenRasters = field(default_factory=OpenRasters)
    stopped: Event = field(default_factory=Event)
    """Set when the run is broken off: a block may take long, and the process waits for its threads."""

    @cached_property
    def lane(self) -> BoundedSemaphore:
        """To be held while a network computes."""
        return BoundedSemaphore(lanes_on(self.job.pixels.device, self.lanes))

    @property
    def ensemble(self) -> Ensemble:
        """The networks, when they are loaded. Raises ``ModelError``."""
        return self.networks.result()

    def read(self, window: Window) -> Cube:
        """The pixels of a window, and proof that they are those the run was planned on.

        Raises ``RasterError`` for a damaged file, ``ChangedInputError`` for one that is not the same
        any more.
        """
        try:
            return read_cube(self.scenes, window, self.rasters.read)
        finally:
            # Also where reading failed: a file that is gone is no damaged one.
            require_same_inputs(self.job)


_open: dict[Path, Workplace] = {}
_opening = Lock()


def workplace(job_file: Path, lanes: int) -> Workplace:
    """The workplace of a job in this process; the one of an earlier job is closed."""
    with _opening:
        if job_file not in _open:
            close()
            # One thread per network, whoever set more before: kernels may sum in another order with
            # more, and networks side by side would fight for the cores.
            torch.set_num_threads(1)
            job, scenes = open_job(job_file)
            confine.keep_to(job.roots)
            gdal.use_cache(job.cache)
            networks = aside(Ensemble.load, job.ensemble)
            _open[job_file] = Workplace(job, scenes, networks, lanes)
        return _open[job_file]


def stop() -> None:
    """Let the threads of the last job end at their next patch: nobody waits for their blocks."""
    while _open:
        _open.popitem()[1].stopped.set()


def close() -> None:
    """Close the files of the last job."""
    while _open:
        _open.popitem()[1].rasters.close()
