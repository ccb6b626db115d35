"""How long work tells where it stands: bars on a terminal, plain lines in a log.

Work announces itself through a ``Progress`` and never asks who listens: the command line shows it
on standard error, a flow also keeps a Prefect artifact up to date.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from tqdm import tqdm


class Progress(Protocol):
    """Where long work reports to."""

    def start(self, what: str, total: int, unit: str) -> Step:
        """Begin ``total`` steps of ``what``, counted in ``unit``; use the result as a context."""

    def say(self, line: str) -> None:
        """One line of news."""

    def note(self, facts: Mapping[str, Any]) -> None:
        """What programs want to know of the work: JSON values by name, the latest of a name counts."""


class Step(Protocol):
    """One piece of long work under way."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """``steps`` more are done; ``note`` is shown beside the count."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Console:
    """Progress on a stream: a bar where it is a terminal, a line per tenth elsewhere."""

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        """``write`` takes each line, for a log; by default they go to standard error, as records
        where logs are structured."""
        self._write = write or _structured_log()

    @property
    def terminal(self) -> bool:
        """Whether a bar can be drawn."""
        return self._write is None and sys.stderr.isatty()

    def start(self, what: str, total: int, unit: str) -> Step:
        """See ``Progress.start``."""
        return _ConsoleStep(self, what, total, unit)

    def say(self, line: str) -> None:
        """See ``Progress.say``."""
        if self._write:
            self._write(line)
        else:
            tqdm.write(line, file=sys.stderr)
            sys.stderr.flush()

    def note(self, facts: Mapping[str, Any]) -> None:
        """See ``Progress.note``: nothing for a person who watches."""


def _structured_log() -> Callable[[str], None] | None:
    """Where lines go that programs read (``GEOSEG_LOG=json``, see ``io.logs``); else None."""
    wanted = os.environ.get("GEOSEG_LOG") == "json"
    return logging.getLogger("geoseg").info if wanted else None


class Silent:
    """Progress that nobody watches: tests and libraries."""

    def start(self, what: str, total: int, unit: str) -> Step:
        """See ``Progress.start``."""
        return _SilentStep()

    def say(self, line: str) -> None:
        """See ``Progress.say``."""

    def note(self, facts: Mapping[str, Any]) -> None:
        """See ``Progress.note``."""


class _SilentStep:
    def advance(self, steps: int = 1, note: str = "") -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _ConsoleStep:
    """One bar, or its lines: a line per tenth, but none within 2 s of another, and one a minute."""

    def __init__(self, console: Console, what: str, total: int, unit: str) -> None:
        self._console, self._what, self._total, self._unit = console, what, total, unit
        self._done, self._told, self._at = 0, 0, time.monotonic()
        self._began = self._at
        self._bar: Any = None
        if console.terminal:
            self._bar = tqdm(total=total, desc=what, unit=f" {unit}", file=sys.stderr)

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._done += steps
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(steps)
        elif self._due():
            self._line(note)

    def _due(self) -> bool:
        tenth = (self._done * 10) // max(1, self._total) > (self._told * 10) // max(1, self._total)
        since = time.monotonic() - self._at
        return self._done >= self._total or (tenth and since > 2) or since > 60

    def _line(self, note: str) -> None:
        spent = time.monotonic() - self._began
        tail = f", {note}" if note else ""
        self._console.say(
            f"{self._what}: {self._done}/{self._total} {self._unit} after {spent:.0f} s{tail}"
        )
        self._told, self._at = self._done, time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
