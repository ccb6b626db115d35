"""Keeps a cluster class at its number of workers: a job that ends is followed by another.

Dask takes a worker off its list when it has been gone for ``distributed.deploy.lost-worker-timeout``
(15 s), and starts another only when it is told the number again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

from geoseg.io.logs import log

if TYPE_CHECKING:
    from distributed import SpecCluster
    from distributed.deploy.cluster import Cluster

LOOK_SECONDS = 3
"""How often the workers are counted."""


@contextmanager
def kept_up(cluster: Cluster, workers: int | None) -> Iterator[None]:
    """Replace workers that are lost while the body runs; with None there is no number to keep."""
    from distributed import SpecCluster  # noqa: PLC0415

    if workers is None or not isinstance(cluster, SpecCluster):
        yield
        return
    over = Event()
    thread = Thread(target=_keep_up, args=(cluster, workers, over), name="jobs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _keep_up(cluster: SpecCluster, workers: int, over: Event) -> None:
    while not over.wait(LOOK_SECONDS):
        lost = cluster.worker_spec.keys() - cluster.workers.keys()
        if lost:
            log.warning("workers are gone, others are asked for: %d of %d", len(lost), workers)
            cluster.scale(workers)
