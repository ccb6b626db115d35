"""One try at a block on a worker: what it answers, what it cost, and what the log says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoseg.engine.block import Receipt, predict_block
from geoseg.engine.clock import Clock, Spent
from geoseg.errors import GeosegError
from geoseg.io import logs
from geoseg.tiling import block_id


@dataclass(frozen=True, slots=True)
class Done:
    """A finished block. What it cost is not in the receipt, which is the same at each try."""

    receipt: Receipt
    spent: Spent


Answer = Done | GeosegError
"""A finished block, or the user's mistake that stops it."""


def attempt_block(job_file: str, row: int, col: int, lanes: int) -> Answer:
    """``predict_block`` for a crew: a user's mistake is an answer, not a failure.

    Raised on a worker, it would be logged there with a traceback; and it would be tried again.
    """
    logs.configure()  # nobody else does in a process that Dask started
    about = {"run": output_of(job_file), "stage": "predict", "block": block_id(row, col)}
    logs.log.debug("block started", extra=about)
    clock = Clock()
    try:
        receipt = predict_block(job_file, row, col, lanes, clock)
    except GeosegError as error:
        logs.log.warning("block failed: %s", error, extra=about)
        return error
    except Exception as error:  # logged where it happened; it goes on to who decides
        logs.log.warning("block failed: %s: %s", type(error).__name__, error, extra=about)
        raise
    spent = clock.spent()
    cost = {"seconds": spent.seconds, "bytes": spent.bytes_read, "pixels": receipt.pixels}
    logs.log.debug("block finished", extra={**about, **cost})
    return Done(receipt, spent)


def output_of(job_file: str) -> str:
    """The folder of results that a job is for, by which every process names the run."""
    return str(Path(job_file).parents[2])  # OUTPUT/work/blocks-FINGERPRINT/job.json
