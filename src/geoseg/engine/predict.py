"""All blocks of a job: those without a receipt, a few at a time, each tried a bounded number of times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from itertools import islice

from geoseg.engine.block import Receipt, attempt_block, read_receipt
from geoseg.engine.crew import Crew
from geoseg.engine.job import Job
from geoseg.errors import BlockError, ChangedInputError, GeosegError, ModelError, OutputError
from geoseg.feedback import Progress, Step
from geoseg.io import files
from geoseg.tiling import Block

IN_FLIGHT = 2
"""Blocks handed out per worker thread: enough to keep it busy, few enough for any scheduler."""

POLL_SECONDS = 5
"""How often a wait for blocks is broken off to see whether there is still somebody to wait for."""

HOPELESS = (OutputError, ChangedInputError, ModelError)
"""What would stop every other block too: a full disk, an input that is not there any more."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a prediction did."""

    blocks: int
    resumed: int
    """Blocks that were finished before."""
    pixels: int
    """Pixels that got a class."""


def predict(job: Job, crew: Crew, tries: int, progress: Progress) -> Outcome:
    """Predict every unfinished block.

    A block that fails, or whose worker dies, is tried ``tries`` times in all, the last time with no
    other block beside it; the others are finished and then the error names it. A mistake in the
    input (``GeosegError``) is not tried again, and one that every block would meet ends the run at
    once. Raises ``BlockError`` or the mistake.
    """
    files.remove_torn(job.folder)
    receipts = {r.id: r.pixels for r in (read_receipt(job, b) for b in job.plan) if r}
    resumed = len(receipts)
    with progress.start("predict", len(job.plan), "blocks") as step:
        step.advance(resumed, f"{resumed} were finished before")
        done = frozenset(receipts)
        pending = (block for block in job.plan if block.id not in done)
        failed = _Window(job, crew, tries, pending, receipts, step).run()
    if failed:
        error, cause = _explain(failed, job)
        raise error from cause
    return Outcome(len(job.plan), resumed, sum(receipts.values()))


@dataclass
class _Window:
    """The blocks in flight: a new one goes out for each that comes back."""

    job: Job
    crew: Crew
    tries: int
    pending: Iterator[Block]
    receipts: dict[str, int]
    step: Step
    sent: dict[Future[Receipt | GeosegError], Block] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)
    suspects: list[Block] = field(default_factory=list)
    """Blocks with one try left: they may have brought down others beside them, or been brought down."""
    failed: dict[str, BaseException] = field(default_factory=dict)

    def run(self) -> dict[str, BaseException]:
        """Empty the window; returns the blocks given up, with their last error."""
        self._send(islice(self.pending, self.crew.threads * IN_FLIGHT))
        while self.sent:
            for future in self._returned():
                self._take(self.sent.pop(future), future)
                if not self._hopeless:
                    self._send(islice(self.pending, 1))
            if not self.sent and self.suspects and not self._hopeless:
                self._send([self.suspects.pop()])
        return self.failed

    def _send(self, blocks: Iterator[Block] | list[Block]) -> None:
        for block in blocks:
            place = (str(self.job.file), block.row, block.col)
            self.sent[self.crew.submit(attempt_block, *place, self.crew.lanes)] = block

    def _returned(self) -> set[Future[Receipt | GeosegError]]:
        """The futures that are done, at least one."""
        while True:
            done, _ = wait(self.sent, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            if done:
                return done
            lost = self.crew.lost()
            if lost:
                self._give_up(lost)

    def _give_up(self, lost: str) -> None:
        block = next(iter(self.sent.values()))
        raise BlockError(
            f"{lost} while {block.id} was predicted; start it again and run the same command: "
            "finished blocks are kept"
        )

    def _take(self, block: Block, future: Future[Receipt | GeosegError]) -> None:
        if future.cancelled():
            self.sent[future] = block
            self._give_up(self.crew.lost() or "the connection to the Dask scheduler was lost")
        self.attempts[block.id] += 1
        answer = future.exception() or future.result()
        if isinstance(answer, Receipt):
            self.receipts[block.id] = answer.pixels
            self.step.advance(note=block.id)
        elif isinstance(answer, GeosegError) or self.attempts[block.id] >= self.tries:
            self.failed[block.id] = answer
        elif self.attempts[block.id] == self.tries - 1:
            self.suspects.append(block)
        else:
            self._send([block])

    @property
    def _hopeless(self) -> bool:
        return any(isinstance(error, HOPELESS) for error in self.failed.values())


def _explain(
    failed: dict[str, BaseException], job: Job
) -> tuple[GeosegError, BaseException | None]:
    """One error for all blocks given up, and what it comes from.

    A user's mistake keeps its own message and class, and has no cause that a user would care for.
    """
    named = sorted(failed.items(), key=lambda item: not isinstance(item[1], HOPELESS))
    name, error = named[0]
    others = f" ({len(failed) - 1} more blocks failed)" if len(failed) > 1 else ""
    if isinstance(error, GeosegError):
        return type(error)(f"block {name}: {error}{others}"), None
    explained = BlockError(
        f"block {name} failed again and again: {type(error).__name__}: {error}{others}. The other "
        f"blocks of {job.folder} are finished and kept; mend the cause and run the same command."
    )
    return explained, error
