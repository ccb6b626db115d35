"""All faults: what each is called, and how often it is tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice

from benchmarks.faults import damage, kills
from benchmarks.faults.trial import Trial


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong in the middle of a run."""

    name: str
    strike: Callable[[Trial], None]
    times: int = 1
    """Trials; of kills: in a round."""
    impossible: Callable[[], str] = lambda: ""
    """Why it cannot be tried here."""


KILLS = (
    Fault("kill -9 a local Dask worker", kills.local_worker, 2),
    Fault("kill -9 geoseg predict (threads)", kills.process, 2),
    Fault("kill -9 geoseg predict while it stitches", kills.stitching),
    Fault("kill -9 geoseg predict and its 2 workers", kills.process_with_workers),
    Fault("kill -9 geoseg predict, not its workers", kills.process_without_workers),
    Fault("kill -9 one of 2 remote workers", kills.remote_worker),
    Fault("kill -9 the only remote worker", kills.every_remote_worker),
    Fault("kill -9 the remote scheduler", kills.scheduler),
    Fault("kill -9 the flow of geoseg run", kills.flow),
)
OTHERS = (
    Fault("SIGTERM", kills.terminate, 2),
    Fault("Ctrl-C", kills.interrupt, 2),
    Fault("a worker stopped for 10 s", kills.stopped_worker),
    Fault("a full disk, enlarged", damage.full_disk, 2, damage.cannot_mount),
    Fault("an input deleted, brought back", damage.deleted_input, 2),
    Fault("an input replaced, put back", damage.replaced_input, 2),
    Fault("a damaged tile, mended", damage.damaged_tile, 2),
    Fault("a block that kills its worker", damage.poison_block),
)


def schedule(count: int) -> list[Fault]:
    """The trials: ``count`` kills in rounds over all kinds of them, then everything else."""
    rounds = cycle([fault for fault in KILLS for _ in range(fault.times)])
    return [*islice(rounds, count), *(fault for fault in OTHERS for _ in range(fault.times))]
