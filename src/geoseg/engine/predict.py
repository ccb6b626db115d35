"""All blocks of a job: those without a receipt, a few at a time, each tried a bounded number of times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from geoseg.engine.block import STAGES, Clock, Receipt, Spent, predict_block, read_receipt
from geoseg.engine.executors.executor import Executor, concurrency_of
from geoseg.engine.job import Job
from geoseg.errors import (
    BlockError,
    ChangedInputError,
    ClusterError,
    GeosegError,
    ModelError,
    OutputError,
)
from geoseg.feedback import Progress, Step
from geoseg.io import files, logs
from geoseg.io.logs import log
from geoseg.tiling import Block, Plan, block_id

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


def predict(job: Job, executor: Executor, tries: int, progress: Progress) -> Outcome:
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
        routes = BlockQueues(job.plan, receipts, executor.processes)
        stats = PredictionStats(len(job.plan), resumed, progress)
        failed = _Window(job, executor, tries, routes, receipts, step, stats).run()
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
    executor: Executor
    tries: int
    routes: BlockQueues
    receipts: dict[str, int]
    step: Step
    stats: PredictionStats
    sent: dict[Future[Answer], _Sent] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)
    suspects: list[_Sent] = field(default_factory=list)
    """Blocks with one try left: they may have brought down others beside them, or been brought down."""
    failed: dict[str, BaseException] = field(default_factory=dict)

    def run(self) -> dict[str, BaseException]:
        """Empty the window; returns the blocks given up, with their last error."""
        for number in range(self.executor.threads * IN_FLIGHT):
            self._send_next(number % self.executor.processes)
        while self.sent:
            self.stats.tell(in_flight=len(self.sent))
            for sent, future in self._returned():
                self._take(sent, future)
                if not self._hopeless:
                    self._send_next(sent.route)
            if not self.sent and self.suspects and not self._hopeless:
                self._send(self.suspects.pop())
        self.stats.tell(in_flight=0)
        return self.failed

    def _send_next(self, route: int) -> None:
        block = self.routes.take(route)
        if block:
            self._send(_Sent(block, route))

    def _send(self, sent: _Sent) -> None:
        place = (str(self.job.file), sent.block.row, sent.block.col)
        future = self.executor.submit_to(
            sent.route, attempt_block, *place, concurrency_of(self.executor.per_process)
        )
        self.sent[future] = sent

    def _returned(self) -> list[tuple[_Sent, Future[Answer]]]:
        """What is not under way any more: done, or unschedulable, which counts as a failed try."""
        while True:
            done, _ = wait(self.sent, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            if done:
                return [(self.sent.pop(future), future) for future in done]
            lost = self.executor.disconnected()
            if lost:
                self._give_up(next(iter(self.sent.values())), lost)
            if self.executor.unschedulable():
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
            lost = self.executor.disconnected() or "the connection to the Dask scheduler was lost"
            self._give_up(sent, lost)
        self.attempts[block.id] += 1
        answer = future.exception() or future.result()
        if isinstance(answer, Done):
            self.receipts[block.id] = answer.receipt.pixels
            self.stats.finished(answer.spent)
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
        self.stats.failed(block.id, text, final)
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


@dataclass(frozen=True, slots=True)
class Done:
    """A finished block. What it cost is not in the receipt, which is the same at each try."""

    receipt: Receipt
    spent: Spent


Answer = Done | GeosegError
"""A finished block, or the user's mistake that stops it."""


def attempt_block(job_file: str, row: int, col: int, concurrency: int) -> Answer:
    """``predict_block`` for an executor: a user's mistake is an answer, not a failure.

    Raised on a worker, it would be logged there with a traceback; and it would be tried again.
    """
    logs.configure()  # nobody else does in a process that Dask started
    about = {"run": output_of(job_file), "stage": "predict", "block": block_id(row, col)}
    logs.log.debug("block started", extra=about)
    clock = Clock()
    try:
        receipt = predict_block(job_file, row, col, concurrency, clock)
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


class BlockQueues:
    """The unfinished blocks of a plan, a few bytes each, on ``count`` routes of the same length."""

    def __init__(self, plan: Plan, done: Iterable[str], count: int) -> None:
        finished = frozenset(done)
        places = [(block.row, block.col) for block in plan if block.id not in finished]
        self._plan = plan
        self._places = np.array(places, dtype=np.int32).reshape(-1, 2)
        bounds: list[int] = np.linspace(0, len(places), count + 1).astype(int).tolist()
        self._stretches = list(pairwise(bounds))

    def take(self, route: int) -> Block | None:
        """The next block of a route; None where no route has any left.

        A route at its end goes on with the second half of what is left of the longest.
        """
        if self._left(route) == 0:
            self._relieve(route)
        start, stop = self._stretches[route]
        if start == stop:
            return None
        self._stretches[route] = (start + 1, stop)
        row, col = self._places[start].tolist()
        return self._plan.block_at(row, col)

    def _left(self, route: int) -> int:
        start, stop = self._stretches[route]
        return stop - start

    def _relieve(self, route: int) -> None:
        longest = max(range(len(self._stretches)), key=self._left)
        start, stop = self._stretches[longest]
        middle = (start + stop) // 2
        self._stretches[longest] = (start, middle)
        self._stretches[route] = (middle, stop)


NAMED = 20
"""Blocks in trouble that are named at most; all are counted."""


@dataclass
class PredictionStats:
    """Counts of one prediction; ``tell`` hands them to the run's progress as ``blocks``."""

    total: int
    resumed: int
    """Blocks that were finished before."""
    progress: Progress
    predicted: int = 0
    """Blocks that this prediction finished."""
    bytes_read: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    """Of all blocks together, by stage: workers work side by side."""
    failed_tries: int = 0
    given_up: int = 0
    trouble: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The blocks that failed: message, and whether they are given up."""

    def finished(self, spent: Spent) -> None:
        """One more block is done."""
        self.predicted += 1
        self.bytes_read += spent.bytes_read
        for stage, seconds in spent.seconds.items():
            self.seconds[stage] += seconds

    def failed(self, block: str, message: str, final: bool) -> None:
        """A try at a block failed; ``final``: there will be no other."""
        self.failed_tries += 1
        self.given_up += final
        if block in self.trouble or len(self.trouble) < NAMED:
            self.trouble[block] = {"message": message, "given_up": final}

    def tell(self, in_flight: int) -> None:
        """Say how things stand; ``in_flight``: blocks that are with a worker."""
        done = self.resumed + self.predicted
        self.progress.note(
            {
                "blocks": {
                    "total": self.total,
                    "done": done,
                    "resumed": self.resumed,
                    "in_flight": in_flight,
                    "queued": max(0, self.total - done - in_flight - self.given_up),
                    "given_up": self.given_up,
                    "failed_tries": self.failed_tries,
                    "bytes_read": self.bytes_read,
                    "seconds": {stage: round(total, 3) for stage, total in self.seconds.items()},
                    "trouble": dict(self.trouble),
                }
            }
        )
