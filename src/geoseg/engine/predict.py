"""All blocks of a job: those without a receipt, a few at a time, each tried a bounded number of times."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import NoReturn

from geoseg.engine.attempt import Answer, Done, attempt_block, output_of
from geoseg.engine.block import read_receipt
from geoseg.engine.executors.executor import Executor
from geoseg.engine.job import Job
from geoseg.engine.routes import BlockQueues
from geoseg.engine.tally import PredictionStats
from geoseg.errors import (
    BlockError,
    ChangedInputError,
    ClusterError,
    GeosegError,
    ModelError,
    OutputError,
)
from geoseg.feedback import Progress, Step
from geoseg.io import files
from geoseg.io.logs import log
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


def predict(job: Job, crew: Executor, tries: int, progress: Progress) -> Outcome:
    """Predict every unfinished block.

    A block that fails, or whose worker dies, is tried ``tries`` times in all, the last time with no
    other block beside it; the others are finished and then the error names it. A mistake in the
    input (``GeosegError``) is not tried again, and one that every block would meet ends the run at
    once. Raises ``BlockError``, the mistake, or ``ClusterError`` where the workers are gone.
    """
    files.remove_torn(job.folder)
    receipts = {r.id: r.pixels for r in (read_receipt(job, b) for b in job.plan) if r}
    resumed = len(receipts)
    with progress.start("predict", len(job.plan), "blocks") as step:
        step.advance(resumed, f"{resumed} were finished before")
        routes = BlockQueues(job.plan, receipts, crew.processes)
        tally = PredictionStats(len(job.plan), resumed, progress)
        failed = _Window(job, crew, tries, routes, receipts, step, tally).run()
    files.remove_torn(job.folder)  # of workers that were killed meanwhile
    if failed:
        error, cause = _explain(failed, job)
        raise error from cause
    return Outcome(len(job.plan), resumed, sum(receipts.values()))


@dataclass(frozen=True, slots=True)
class _Sent:
    """A block on its way."""

    block: Block
    route: int


@dataclass
class _Window:
    """The blocks in flight: for each that comes back, the next of its route goes out."""

    job: Job
    crew: Executor
    tries: int
    routes: BlockQueues
    receipts: dict[str, int]
    step: Step
    tally: PredictionStats
    sent: dict[Future[Answer], _Sent] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)
    suspects: list[_Sent] = field(default_factory=list)
    """Blocks with one try left: they may have brought down others beside them, or been brought down."""
    failed: dict[str, BaseException] = field(default_factory=dict)

    def run(self) -> dict[str, BaseException]:
        """Empty the window; returns the blocks given up, with their last error."""
        for number in range(self.crew.threads * IN_FLIGHT):
            self._send_next(number % self.crew.processes)
        while self.sent:
            self.tally.tell(in_flight=len(self.sent))
            for sent, future in self._returned():
                self._take(sent, future)
                if not self._hopeless:
                    self._send_next(sent.route)
            if not self.sent and self.suspects and not self._hopeless:
                self._send(self.suspects.pop())
        self.tally.tell(in_flight=0)
        return self.failed

    def _send_next(self, route: int) -> None:
        block = self.routes.take(route)
        if block:
            self._send(_Sent(block, route))

    def _send(self, sent: _Sent) -> None:
        place = (str(self.job.file), sent.block.row, sent.block.col)
        future = self.crew.submit(attempt_block, *place, self.crew.lanes, route=sent.route)
        self.sent[future] = sent

    def _returned(self) -> list[tuple[_Sent, Future[Answer]]]:
        """What is not under way any more: done, or stranded, which counts as a failed try."""
        while True:
            done, _ = wait(self.sent, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            if done:
                return [(self.sent.pop(future), future) for future in done]
            lost = self.crew.lost()
            if lost:
                self._give_up(next(iter(self.sent.values())), lost)
            if self.crew.stranded():
                waiting, self.sent = self.sent, {}
                return [(sent, _abandoned(future)) for future, sent in waiting.items()]

    def _give_up(self, sent: _Sent, lost: str) -> NoReturn:
        raise ClusterError(
            f"{lost} while {sent.block.id} was predicted; start it again and run the same command: "
            "finished blocks are kept"
        )

    def _take(self, sent: _Sent, future: Future[Answer]) -> None:
        block = sent.block
        if future.cancelled():
            lost = self.crew.lost() or "the connection to the Dask scheduler was lost"
            self._give_up(sent, lost)
        self.attempts[block.id] += 1
        answer = future.exception() or future.result()
        if isinstance(answer, Done):
            self.receipts[block.id] = answer.receipt.pixels
            self.tally.finished(answer.spent)
            self.step.advance(note=block.id)
            return
        final = isinstance(answer, GeosegError) or self.attempts[block.id] >= self.tries
        self._record(block, answer, final)
        if final:
            self.failed[block.id] = answer
        elif self.attempts[block.id] == self.tries - 1:
            self.suspects.append(sent)
        else:
            self._send(sent)

    def _record(self, block: Block, error: BaseException, final: bool) -> None:
        """Tell of a failed try here too: a worker that was killed told nobody."""
        text = str(error) if isinstance(error, GeosegError) else f"{type(error).__name__}: {error}"
        self.tally.failed(block.id, text, final)
        about = {"run": output_of(str(self.job.file)), "stage": "predict", "block": block.id}
        what = "given up" if final else "to be tried again"
        attempt = self.attempts[block.id]
        log.warning("block is %s: %s", what, text, extra={**about, "attempt": attempt})

    @property
    def _hopeless(self) -> bool:
        return any(isinstance(error, HOPELESS) for error in self.failed.values())


def _abandoned(future: Future[Answer]) -> Future[Answer]:
    """What stands for an answer that never comes; the cluster forgets the question."""
    future.cancel()
    failed: Future[Answer] = Future()
    failed.set_exception(ConnectionError("all workers went away, and others came"))
    return failed


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
