"""A run's progress as a small file that anybody can read: ``<output>/work/progress.json``.

The run only changes values in memory. A thread of its own writes them, whole, at most once a second,
and now and then where nothing changed: a file that is not renewed is that of a run that died. How
its content is read back and judged is in ``diagnose.status``.
"""

from __future__ import annotations

import datetime as dt
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Self

import psutil

from geoseg.errors import GeosegError
from geoseg.feedback import Progress, Step
from geoseg.io import files, logs
from geoseg.redaction import redact_all

NAME = "progress.json"
SCHEMA = "geoseg-progress-1"
EVERY = 1.0
"""Seconds between two writings at least."""
INTERRUPTED = "interrupted; the same command resumes"
RENEWED = 20.0
"""Seconds between two writings at most, while the run's process lives."""


class ProgressFile:
    """The progress of one run, from ``begin`` to ``end``; for any number of threads."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._content: dict[str, Any] = {}
        self._lock, self._over = Lock(), Event()
        self._changed = False
        self._written = 0.0

    def put(self, facts: Mapping[str, Any]) -> None:
        """Set values by their names; ``None`` takes one away. Begins the run if nobody did."""
        with self._lock:
            if not self._content:
                self._begin()
            self._content.update(facts)
            self._changed = True

    def _begin(self) -> None:
        now = _now()
        self._content = {
            "schema": SCHEMA,
            "run": self._name,
            "state": "running",
            "message": "",
            "started": now,
            "updated": now,
            "stage": "",
            "seconds": {},
            **_process(),
        }
        Thread(target=self._keep_writing, name="progress", daemon=True).start()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage is under way while the body runs; its seconds are kept once it has ended well."""
        began = time.perf_counter()
        self.put({"stage": name, "work": None})
        logs.about({"run": str(self._path.parents[1]), "stage": name})
        logs.log.info("stage started")
        yield
        seconds = round(time.perf_counter() - began, 2)
        with self._lock:
            spent = {**self._content.get("seconds", {}), name: seconds}
        self.put({"seconds": spent})
        logs.log.info("stage finished", extra={"seconds": seconds})

    def end(self, state: str, message: str = "") -> None:
        """The run is ``finished`` or ``failed``; what is told afterwards begins another."""
        with self._lock:
            if not self._content:
                return
            self._over.set()
            self._content.update(state=state, message=message, ended=_now())
            self._write()
            self._content, self._over = {}, Event()
        logs.about({"stage": ""})

    def _keep_writing(self) -> None:
        over = self._over
        while not over.wait(EVERY):
            with self._lock:
                due = self._changed or time.monotonic() - self._written > RENEWED
                if due and not over.is_set():
                    self._write()

    def _write(self) -> None:
        """Best effort: a full disk stops the run where its bytes are written, not here."""
        self._content["updated"] = _now()
        told = {key: value for key, value in self._content.items() if value is not None}
        # A folder that was removed stays removed, though the run may not know it yet.
        if self._path.parent.is_dir():
            try:
                files.write_json(self._path, redact_all(told))
            except GeosegError as error:
                logs.log.warning("progress is not kept: %s", error)
            else:
                self._changed = False
        self._written = time.monotonic()


def _process() -> dict[str, Any]:
    """What tells this process from all others, also from a later one of the same number."""
    own = psutil.Process()
    return {"pid": own.pid, "process_started": own.create_time(), "host": socket.gethostname()}


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


_open: dict[Path, ProgressFile] = {}


def of(work: Path, name: str) -> ProgressFile:
    """The progress file of a run that this process works on; steps of a run share it."""
    path = work / NAME
    return _open.setdefault(path, ProgressFile(path, name))


def end_all(state: str, message: str = "") -> None:
    """All that this process worked on has ended so."""
    for file in _open.values():
        file.end(state, message)


@contextmanager
def ending() -> Iterator[None]:
    """What the body works on is finished when it ends well, and has failed when it does not."""
    try:
        yield
    except SystemExit as ended:
        code = ended.code or 0
        message = INTERRUPTED if code == 130 else f"ended with exit code {code}"
        end_all("failed" if code else "finished", message if code else "")
        raise
    except GeosegError as error:
        end_all("failed", str(error))
        raise
    except BaseException as error:
        end_all("failed", _told(error))
        raise
    end_all("finished")


def _told(error: BaseException) -> str:
    kind = type(error).__name__
    if isinstance(error, Exception):
        return f"{kind}: {error}"
    return f"{INTERRUPTED} ({kind})"


def progress_path(output: Path) -> Path:
    """Where the run with that folder of results keeps its progress."""
    return output / "work" / NAME


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
