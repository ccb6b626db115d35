"""Dask workers: started on this machine for a run, or those of a running scheduler."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

CONNECT_SECONDS = 20
"""How long a scheduler may take to answer."""

WORKER_SECONDS = 60
"""How long a scheduler may be without a worker."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Where blocks are predicted."""

    address: str | None = None
    """A running scheduler, ``tcp://host:port``; None starts workers here."""
    workers: int = 1
    """Worker processes to start here."""


@contextmanager
def connect(settings: ClusterSettings) -> Iterator[Client]:
    """A client of the cluster, with at least one worker; closed (and stopped) at the end.

    Raises ``ConfigError`` where no scheduler answers at the address, or it has no workers.
    """
    from distributed import Client  # noqa: PLC0415  (a second of imports, needed only here)

    # Its own news of every worker that comes and goes would stand between the progress bars.
    logging.getLogger("distributed").setLevel(logging.ERROR)
    if settings.address is None:
        with _local(settings) as cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(settings.address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cluster.address: no Dask scheduler answers at {settings.address} ({error}); start one "
            "with 'dask scheduler', or leave the key out to use this machine"
        ) from None
    with client:
        _wait_for_worker(client, settings.address)
        yield client


def _wait_for_worker(client: Client, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError:
        raise ConfigError(
            f"cluster.address: the scheduler at {address} has had no worker for {WORKER_SECONDS} s; "
            f"start one with 'dask worker {address} --nthreads 1'"
        ) from None


def _local(settings: ClusterSettings) -> LocalCluster:
    from distributed import LocalCluster  # noqa: PLC0415

    return LocalCluster(
        n_workers=settings.workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        # The block decides how much memory a worker needs; pausing or killing at a share of the
        # machine's memory would only turn a slow run into a broken one.
        memory_limit=0,
    )
