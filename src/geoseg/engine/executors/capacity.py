"""What the workers of a cluster have: enough to begin with, and how much in all."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geoseg.errors import ConfigError, NoClusterError

if TYPE_CHECKING:
    from distributed import Client

ABSENT_SECONDS = 45
"""How long a cluster may be without a worker: one that died is started again within some seconds."""
RESOURCE_SECONDS = 10
"""How long workers may be there without one that offers what a block needs."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the workers that blocks can go to have."""

    workers: int
    """Worker processes."""
    threads_per_worker: int
    """Blocks that one holds at once, of the worker with most."""
    memory_limit: int | None
    """Bytes of the worker with least; None where none is limited."""


def capacity(client: Client, resources: Mapping[str, float] | None = None) -> Capacity:
    """What the workers have that offer ``resources``, what a block needs, at this moment."""
    needs = resources or {}
    workers = _able(client, needs).values()
    limits = [int(worker["memory_limit"]) for worker in workers if worker["memory_limit"]]
    return Capacity(
        len(workers),
        max((_slots(worker, needs) for worker in workers), default=0),
        min(limits, default=None),
    )


def await_worker(
    client: Client, resources: Mapping[str, float], seconds: float, remedy: str
) -> None:
    """Wait for a worker that a block can go to: for want of one, Dask would wait without end.

    Raises ``ClusterError`` where none comes in ``seconds`` (``remedy`` says what to do), and
    ``ConfigError`` where those that are there do not offer ``resources``.
    """
    place = str(client.scheduler.address) if client.scheduler else "?"
    try:
        client.wait_for_workers(1, timeout=seconds)
    except TimeoutError:
        raise NoClusterError(
            f"cluster: the scheduler at {place} has had no worker for {seconds} s; {remedy}"
        ) from None
    deadline = time.monotonic() + RESOURCE_SECONDS
    while not _able(client, resources):
        if time.monotonic() > deadline:
            raise ConfigError(_nothing_offered(client, resources, place))
        time.sleep(0.2)


def _nothing_offered(client: Client, needs: Mapping[str, float], place: str) -> str:
    wanted = _text(needs)
    offers = sorted(
        {_text(worker["resources"]) or "nothing" for worker in _workers(client).values()}
    )
    return (
        f"cluster.resources: a block needs {wanted} and no worker at {place} offers that (they "
        f'offer {"; ".join(offers)}); start workers with --resources "{wanted}", or leave the '
        "key out"
    )


def _text(resources: Mapping[str, float]) -> str:
    """Resources as ``dask worker --resources`` takes them."""
    return " ".join(f"{name}={amount:g}" for name, amount in resources.items())


def _slots(worker: Mapping[str, Any], needs: Mapping[str, float]) -> int:
    """Blocks that a worker holds at once: one per thread, fewer where a resource is scarcer."""
    shares = [int(worker["resources"][name] // need) for name, need in needs.items()]
    return min([int(worker["nthreads"]), *shares])


def addresses(client: Client, resources: Mapping[str, float]) -> list[str]:
    """The workers that offer ``resources``, by address."""
    return list(_able(client, resources))


def _able(client: Client, needs: Mapping[str, float]) -> dict[str, Mapping[str, Any]]:
    """The workers that offer what a block needs."""
    return {
        address: worker
        for address, worker in _workers(client).items()
        if all(worker["resources"].get(name, 0) >= need for name, need in needs.items())
    }


def _workers(client: Client) -> Mapping[str, Mapping[str, Any]]:
    # Said, since for a while Dask's default was the first five workers.
    found: Mapping[str, Mapping[str, Any]] = client.scheduler_info(n_workers=-1)["workers"]
    return found
