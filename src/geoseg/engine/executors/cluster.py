"""Dask workers: started on this machine, by a cluster class, or those of a running scheduler."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from geoseg.config import ClusterConfig, TlsConfig
from geoseg.config.cluster import address_problem
from geoseg.engine.executors import cluster_class, local_cluster
from geoseg.engine.executors.capacity import ABSENT_SECONDS, await_worker
from geoseg.engine.executors.tls import of_environment, refusal, security
from geoseg.errors import ConfigError, NoClusterError
from geoseg.io.access.confine import require_cluster
from geoseg.redaction import hide

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 20
"""How long a scheduler may take to answer."""
WORKER_SECONDS = 60
"""How long a scheduler may be without a worker."""
QUEUE_SECONDS = 1800
"""How long a cluster class may be without a worker: its jobs wait in a queue."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Where blocks are predicted: ``address``, else ``class_path``, else this machine."""

    address: str | None = None
    """A running scheduler, ``tcp://host:port`` or ``tls://host:port``."""
    workers: int | None = 1
    """Worker processes to start; 0: no Dask; None: as many as the cluster class starts."""
    concurrency: int | None = 1
    """Networks at once in a worker process, a core each; None: a remote worker decides by itself."""
    gpus: tuple[str, ...] = ()
    """Devices for workers on this machine; with them a worker has one network."""
    class_path: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    resources: Mapping[str, float] = field(default_factory=dict)
    """What a block needs of its worker; hand it to ``client.submit(resources=...)``."""
    tls: TlsConfig | None = None

    @classmethod
    def of(cls, config: ClusterConfig, workers: int | None = None, scheduler: str = "") -> Self:
        """What a config asks for. ``scheduler`` wins over it, and so does ``workers``, which
        with an address in the config means this machine. Looks for GPUs where it must know."""
        address = scheduler or (config.address if workers is None else None)
        class_path = None if address else config.class_path
        asked = (
            (None if config.workers == "auto" else config.workers) if workers is None else workers
        )
        concurrency = None if config.concurrency == "auto" else config.concurrency
        gpus: tuple[str, ...] = ()
        hide(config.options)  # what a cluster class says of a wrong one may repeat it
        if not address and (not class_path or asked == 0):
            gpus = local_cluster.visible_gpus()
            asked = max(1, len(gpus)) if asked is None else asked
            concurrency = _local_concurrency(asked, concurrency, gpus)
        return cls(
            address=address,
            workers=asked,
            concurrency=concurrency,
            gpus=gpus,
            class_path=class_path if asked != 0 else None,
            options=config.options if class_path else {},
            resources=config.resources,
            # The environment tells of the scheduler that an operator runs, so of a running one alone.
            tls=config.tls or (of_environment() if (address or "").startswith("tls://") else None),
        )

    @property
    def dask(self) -> bool:
        """Whether there is a cluster at all; without one, blocks are predicted in this process."""
        return bool(self.address or self.class_path or self.workers)

    @property
    def absent_seconds(self) -> float:
        """How long there may be no worker while blocks are predicted: others may have to come
        through a queue. Where no number is kept up, none comes."""
        return QUEUE_SECONDS if self.class_path and self.workers else ABSENT_SECONDS

    @property
    def threads(self) -> int:
        """Dask threads of a worker on this machine: its concurrency, and those that read ahead."""
        if self.gpus:
            share = local_cluster.cores() // max(1, self.workers or 1)
            return min(local_cluster.READERS, max(2, share))
        return (self.concurrency or 1) + 1


def _local_concurrency(workers: int, concurrency: int | None, gpus: tuple[str, ...]) -> int:
    """Networks at once in each worker process of this machine."""
    if not gpus:
        return concurrency or max(1, local_cluster.cores() // max(1, workers))
    if concurrency and concurrency > 1:
        raise ConfigError(
            f"cluster.concurrency: {concurrency} networks at once, but a GPU runs one; leave the key "
            "out, or set CUDA_VISIBLE_DEVICES to nothing to use the CPU"
        )
    return 1


def check(settings: ClusterSettings) -> None:
    """Find the mistakes that need no cluster to be found: before hours of training, not after.

    Raises ``ConfigError`` for a class or an option that is not there, certificates that do not
    belong together, and an address that is not encrypted where they are given, or the other way;
    ``ConfinedError`` for a cluster that may not be named (``io.access.confine``).
    """
    address = settings.address or ""
    if address:
        require_cluster("cluster.address", address)
    problem = address_problem(address, settings.tls is not None)
    if problem:
        raise ConfigError(f"cluster.address: {problem}")
    made = security(settings.tls)
    if address.startswith("tls://") and not made.get_tls_config_for_role("client")["cert"]:
        raise ConfigError(
            f"cluster.address: {address} is encrypted and there are no certificates; give "
            "'cluster.tls' with ca_file, cert and key, or set GEOSEG_TLS_CA, GEOSEG_TLS_CERT and "
            "GEOSEG_TLS_KEY"
        )
    if settings.class_path:
        require_cluster("cluster.class", settings.class_path)
        found = cluster_class.find_class(settings.class_path)
        cluster_class.check_options(found, settings.options, settings.tls is not None)


@contextmanager
def connect(settings: ClusterSettings) -> Iterator[Client]:
    """A client of the cluster, with at least one worker; closed (and what it started, stopped).

    Raises ``ConfigError`` for what ``check`` finds, and where no worker offers what a block needs;
    ``ClusterError`` where no scheduler answers, or no worker comes.
    """
    _silence()
    check(settings)
    if settings.address:
        with _client_at(settings.address, settings) as client:
            remedy = f"start one with 'dask worker {settings.address} --nthreads 2'"
            await_worker(client, settings.resources, WORKER_SECONDS, remedy)
            yield client
    elif settings.class_path:
        with _client_of_class(settings.class_path, settings) as client:
            remedy = "see what its jobs or pods wait for, and check 'cluster.options'"
            await_worker(client, settings.resources, QUEUE_SECONDS, remedy)
            yield client
    else:
        with _client_here(settings) as client:
            yield client


def _silence() -> None:
    """Keep Dask's own news off the progress bars: what fails comes back with the block."""
    import distributed  # noqa: F401, PLC0415  (its import sets the levels that are changed here)

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _client_at(address: str, settings: ClusterSettings) -> Client:
    from distributed import Client  # noqa: PLC0415  (a second of imports, needed only here)

    try:
        return Client(address, timeout=CONNECT_SECONDS, security=security(settings.tls))
    # An assertion is how Tornado meets a plain server that speaks before TLS is agreed on.
    except (OSError, ValueError, AssertionError) as error:
        reason = refusal(address, error)
        if reason:
            raise ConfigError(
                f"cluster.tls: the scheduler at {address} and these certificates do not get along "
                f"({reason}); it must speak TLS ('dask scheduler --protocol tls'), and both sides "
                "need certificates of the authority in 'ca_file'"
            ) from None
        raise NoClusterError(
            f"cluster.address: no Dask scheduler answers at {address} ({error}); start one with "
            "'dask scheduler', give 'cluster.tls' where it wants certificates, or leave the key "
            "out to use this machine"
        ) from None


@contextmanager
def _client_of_class(path: str, settings: ClusterSettings) -> Iterator[Client]:
    from distributed import Client  # noqa: PLC0415

    found = cluster_class.find_class(path)
    certificates = security(settings.tls) if settings.tls else None
    with (
        cluster_class.start(found, settings.options, settings.workers, certificates) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def _client_here(settings: ClusterSettings) -> Iterator[Client]:
    from distributed import Client  # noqa: PLC0415

    # Each thread of a worker may hold a block: what blocks need is there that many times.
    offered = {name: need * settings.threads for name, need in settings.resources.items()}
    workers = local_cluster.LocalWorkers(
        settings.workers or 1, settings.threads, settings.gpus, offered
    )
    with local_cluster.start(workers, security(settings.tls)) as cluster, Client(cluster) as client:
        yield client
