"""What a process keeps between the blocks of its jobs: open files, networks, and who may use them.

A worker may serve several runs at once, block by block: each job has a worker context, and all share the
process's cores.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import BoundedSemaphore, Event, Lock, Thread

import torch

from geoseg.engine.ensemble import Ensemble
from geoseg.engine.job import Job, open_job, require_same_inputs
from geoseg.grid import Window
from geoseg.imagery.cube import Cube, read_cube
from geoseg.imagery.scenes import Scene
from geoseg.io.access import confine
from geoseg.io.raster import gdal
from geoseg.io.raster.open_rasters import OpenRasters
from geoseg.model.predictor import forget_predictors

GPU_CONCURRENCY = 2
"""Blocks on a GPU at once: while one's result is fetched, the other computes."""

KEPT = 4
"""Jobs whose files stay open at once."""

IDLE_SECONDS = 120.0
"""After so long without a block a process lets go of files, networks and the GPU's memory: a run that
was cancelled says no goodbye."""


def concurrency_on(device: str, concurrency: int) -> int:
    """Networks that compute at once in a process with threads for ``concurrency``."""
    return min(concurrency, GPU_CONCURRENCY) if device == "cuda" else concurrency


@dataclass(eq=False)
class WorkerContext:
    """One job in one process, for all its threads."""

    job: Job
    scenes: tuple[Scene, ...]
    networks: Future[Ensemble]
    """Loaded while the first blocks are read: importing what builds a network takes a second."""
    concurrency: int
    """Networks that compute at once; more threads than concurrency read ahead meanwhile."""
    rasters: OpenRasters = field(default_factory=OpenRasters)
    stopped: Event = field(default_factory=Event)
    """Set when the run is broken off: a block may take long, and the process waits for its threads."""

    @property
    def network(self) -> BoundedSemaphore:
        """To be held while a network computes, of whichever job."""
        return _slot(concurrency_on(self.job.pixels.device, self.concurrency))

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


@cache
def _slot(concurrency: int) -> BoundedSemaphore:
    return BoundedSemaphore(concurrency)


_open: OrderedDict[Path, WorkerContext] = OrderedDict()
_opening = Lock()
_used = 0.0
_watched = False


def worker_context_of(job_file: Path, concurrency: int) -> WorkerContext:
    """The worker context of a job in this process; that of the job unused for longest may be closed."""
    global _used  # noqa: PLW0603
    with _opening:
        _used = time.monotonic()
        if job_file not in _open:
            _open[job_file] = _prepare(job_file, concurrency)
            _watch()
            if len(_open) > KEPT:
                _open.popitem(last=False)[1].rasters.close()
        _open.move_to_end(job_file)
        return _open[job_file]


def _prepare(job_file: Path, concurrency: int) -> WorkerContext:
    # One thread per network, whoever set more before: kernels may sum in another order with
    # more, and networks side by side would fight for the cores.
    torch.set_num_threads(1)
    job, scenes = open_job(job_file)
    confine.keep_to(job.roots)
    gdal.use_cache(max([job.cache, *(place.job.cache for place in _open.values())]))
    return WorkerContext(job, scenes, run_in_thread(Ensemble.load, job.ensemble), concurrency)


def _watch() -> None:
    """Have a thread that closes everything once there was no block for a while."""
    global _watched  # noqa: PLW0603
    if not _watched:
        _watched = True
        Thread(target=_close_when_idle, name="idle", daemon=True).start()


def _close_when_idle() -> None:
    global _watched  # noqa: PLW0603
    while True:
        rest = _used + IDLE_SECONDS - time.monotonic()
        if rest > 0:
            time.sleep(rest)
            continue
        with _opening:
            if time.monotonic() - _used >= IDLE_SECONDS:
                close()
                forget_predictors()
                _watched = False
                return


def stop() -> None:
    """Let the threads of all jobs end at their next patch: nobody waits for their blocks."""
    while _open:
        _open.popitem()[1].stopped.set()


def close() -> None:
    """Close the files of all jobs; a block under way opens them again."""
    while _open:
        _open.popitem()[1].rasters.close()


def run_in_thread[**P, T](function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Call ``function`` on a thread of its own; what it raises is raised by ``result``."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="run_in_thread")
    future = executor.submit(function, *args, **kwargs)
    executor.shutdown(wait=False)  # the thread ends with the call
    return future
