"""What a block costs: seconds of each of its stages, bytes read."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

READ, WAIT, PREDICT, WRITE = "read", "wait", "predict", "write"
STAGES = (READ, WAIT, PREDICT, WRITE)
"""Of a block. ``wait``: it is read, and other blocks have the networks."""


@dataclass(frozen=True, slots=True)
class Spent:
    """The clock of a finished block, as it travels to whoever counts."""

    seconds: dict[str, float]
    bytes_read: int


@dataclass(slots=True)
class Clock:
    """Runs from its making; each ``lap`` gives what has passed since the last one to a stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    bytes_read: int = 0
    """Decoded pixels of all dates, margins included; what the files hold may be compressed."""
    _at: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str) -> None:
        """The stage is over."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._at
        self._at = now

    def spent(self) -> Spent:
        """What it shows, to the tenth of a millisecond."""
        seconds = {stage: round(value, 4) for stage, value in self.seconds.items()}
        return Spent(seconds, self.bytes_read)
