"""All blocks of a job: those without a receipt, a few at a time, each tried a bounded number of times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from geoseg.engine.block import Receipt, predict_block, read_receipt
from geoseg.engine.job import Job
from geoseg.errors import BlockError, GeosegError
from geoseg.feedback import Progress, Step
from geoseg.tiling import Block

if TYPE_CHECKING:
    from distributed import Client, Future

IN_FLIGHT = 3
"""Blocks handed out per worker thread: enough to keep it busy, few enough for any scheduler."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a prediction did."""

    blocks: int
    resumed: int
    """Blocks that were finished before."""
    pixels: int
    """Pixels that got a class."""


def predict_here(job: Job, progress: Progress) -> Outcome:
    """Predict every unfinished block in this process, one after the other."""
    receipts = _finished(job)
    with progress.start("predict", len(job.plan), "blocks") as step:
        step.advance(len(receipts), f"{len(receipts)} were finished before")
        resumed = len(receipts)
        for block in _unfinished(job, receipts):
            receipts[block.id] = predict_block(str(job.file), block.row, block.col).pixels
            step.advance()
    return Outcome(len(job.plan), resumed, sum(receipts.values()))


def predict_on(client: Client, job: Job, tries: int, progress: Progress) -> Outcome:
    """Predict every unfinished block on the workers of ``client``.

    A block that fails, or whose worker dies, is tried ``tries`` times in all; then the rest is
    finished and ``BlockError`` names it. A mistake in the input (``GeosegError``) is not tried again.
    """
    receipts = _finished(job)
    with progress.start("predict", len(job.plan), "blocks") as step:
        step.advance(len(receipts), f"{len(receipts)} were finished before")
        resumed = len(receipts)
        pending = _unfinished(job, dict(receipts))
        failed = _run(_Window(client, job, pending), tries, receipts, step)
    if failed:
        raise _explain(failed, job)
    return Outcome(len(job.plan), resumed, sum(receipts.values()))


Answer = Receipt | GeosegError
"""A finished block, or the user's mistake that stops it."""


def attempt_block(job_file: str, row: int, col: int) -> Answer:
    """``predict_block`` for a worker: a user's mistake is an answer, not a failure.

    Raised on a worker, it would be logged there with a traceback; and it would be tried again.
    """
    try:
        return predict_block(job_file, row, col)
    except GeosegError as error:
        return error


@dataclass
class _Window:
    """The blocks in flight: a new one goes out for each that comes back."""

    client: Client
    job: Job
    pending: Iterator[Block]
    sent: dict[str, Block] = field(default_factory=dict)
    """The blocks in flight, by the key of their task."""

    def submit(self, block: Block) -> Future[Answer]:
        place = (str(self.job.file), block.row, block.col)
        future: Future[Answer] = self.client.submit(attempt_block, *place, pure=False)
        self.sent[str(future.key)] = block
        return future

    def first(self) -> list[Future[Answer]]:
        slots = max(1, sum(self.client.nthreads().values())) * IN_FLIGHT
        return self.more(slots)

    def more(self, count: int = 1) -> list[Future[Answer]]:
        return [self.submit(block) for block in islice(self.pending, count)]

    def back(self, future: Future[Answer]) -> Block:
        return self.sent.pop(str(future.key))


def _run(
    window: _Window, tries: int, receipts: dict[str, int], step: Step
) -> dict[str, BaseException]:
    """Empty the window; returns the blocks given up, with their last error."""
    from distributed import as_completed  # noqa: PLC0415

    attempts: Counter[str] = Counter()
    failed: dict[str, BaseException] = {}
    flight = as_completed(window.first())
    for future in flight:
        block = window.back(future)
        if future.cancelled():
            raise BlockError(
                f"the Dask scheduler went away while {block.id} was predicted; start it again and "
                "run the same command: finished blocks are kept"
            )
        attempts[block.id] += 1
        answer = future.exception() or future.result()
        if isinstance(answer, Receipt):
            receipts[block.id] = answer.pixels
            step.advance(note=block.id)
        elif isinstance(answer, GeosegError) or attempts[block.id] >= tries:
            failed[block.id] = answer
        else:
            flight.add(window.submit(block))
            continue
        flight.update(window.more())
    return failed


def _finished(job: Job) -> dict[str, int]:
    """Pixels of each block that already has a receipt."""
    receipts = (read_receipt(job, block) for block in job.plan)
    return {receipt.id: receipt.pixels for receipt in receipts if receipt}


def _unfinished(job: Job, receipts: dict[str, int]) -> Iterator[Block]:
    done = frozenset(receipts)
    return (block for block in job.plan if block.id not in done)


def _explain(failed: dict[str, BaseException], job: Job) -> GeosegError:
    """One error for all blocks given up; a user's mistake keeps its own message and class."""
    name, error = next(iter(failed.items()))
    others = f" ({len(failed) - 1} more blocks failed)" if len(failed) > 1 else ""
    if isinstance(error, GeosegError):
        return type(error)(f"block {name}: {error}{others}")
    return BlockError(
        f"block {name} failed again and again: {type(error).__name__}: {error}{others}. The other "
        f"blocks of {job.folder} are finished and kept; mend the cause and run the same command."
    )
