"""What the blocks of a prediction have come to so far, for those who watch it from afar."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from geoseg.engine.clock import STAGES, Spent
from geoseg.feedback import Progress

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
