"""A run's progress on its way to two readers: whoever watches, and the run's progress file."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping
from typing import Any, Self

from geoseg.feedback import Progress, Step
from geoseg.pipeline.progress_file import ProgressFile


class Watched:
    """A ``Progress`` that hands all on, and keeps it in the progress file."""

    def __init__(self, shown: Progress, file: ProgressFile) -> None:
        self._shown, self._file = shown, file

    def start(self, what: str, total: int, unit: str) -> Step:
        """See ``Progress.start``."""
        return _WatchedStep(self._shown.start(what, total, unit), self._file, what, total, unit)

    def say(self, line: str) -> None:
        """See ``Progress.say``."""
        self._shown.say(line)
        self._file.put({"said": line})

    def note(self, facts: Mapping[str, Any]) -> None:
        """See ``Progress.note``."""
        self._shown.note(facts)
        self._file.put(facts)


class _WatchedStep:
    def __init__(self, shown: Step, file: ProgressFile, what: str, total: int, unit: str) -> None:
        self._shown, self._file = shown, file
        self._work: dict[str, Any] = {"what": what, "done": 0, "total": total, "unit": unit}
        self._first: tuple[float, int] | None = None

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._shown.advance(steps, note)
        done = self._work["done"] + steps
        self._work = {**self._work, "done": done, "note": note, **self._pace(done)}
        self._file.put({"work": self._work})

    def _pace(self, done: int) -> dict[str, Any]:
        """Steps per second and the end by that, from the first advance on.

        What that brought may have been done before (resumed blocks), or have taken long to set up.
        """
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        began, before = self._first
        if done == before or now == began:
            return {}
        rate = (done - before) / (now - began)
        left = max(0, self._work["total"] - done) / rate
        end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=left)
        return {"rate": round(rate, 4), "expected_end": end.isoformat(timespec="seconds")}

    def __enter__(self) -> Self:
        self._shown.__enter__()
        self._file.put({"work": self._work})
        return self

    def __exit__(self, *error: Any) -> None:
        self._shown.__exit__(*error)
