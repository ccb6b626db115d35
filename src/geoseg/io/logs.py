"""geoseg's log on standard error: plain text for people, JSON lines for programs.

``GEOSEG_LOG=json`` makes each record one line of JSON with ``time``, ``level``, ``message``, ``pid``
and, where they are known, ``run`` (folder of the results), ``stage``, ``block`` and more.
``GEOSEG_LOG_LEVEL`` is ``debug``, ``info``, ``warning`` or ``error``; by default ``info`` in JSON, and
``error`` in plain text, where bars and messages tell the rest. Secrets are redacted in both.
"""

from __future__ import annotations

import datetime as dt
import io
import logging
import os
import sys
from functools import cache
from types import TracebackType
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

from geoseg.redaction import redact

log = logging.getLogger("geoseg")
"""Every record of geoseg goes through this."""

FACTS = ("run", "flow_run", "stage", "block", "attempt", "seconds", "bytes", "pixels")
"""What a record may say beside its message: keys for ``extra`` and for ``about``."""

_about: dict[str, str] = {}


def structured() -> bool:
    """Whether records are JSON lines."""
    return os.environ.get("GEOSEG_LOG") == "json"


def configure() -> None:
    """Send geoseg's log to standard error as the environment wants it; again changes nothing.

    Nor does a letter that a stream cannot show end the program from then on.

    A level that is none counts as not given: a log is no reason to stop a run.
    """
    show_any_letter()
    if structured():
        sys.excepthook = _log_bug
    if not any(isinstance(handler, _Handler) for handler in log.handlers):
        log.addHandler(_Handler())
        log.propagate = False  # whoever configured the root logger would print it once more
    level = _level(os.environ.get("GEOSEG_LOG_LEVEL", ""), structured())
    if log.level != level:  # setting it makes every logger of the process forget what it knew
        log.setLevel(level)


def show_any_letter() -> None:
    """Print ``?`` for a letter that a stream's encoding does not have: names come in all scripts,
    consoles and log files do not. Where Python writes its code instead, as on standard error, that
    stays."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


@cache
def _level(wanted: str, json_lines: bool) -> int:
    default = logging.INFO if json_lines else logging.ERROR
    return logging.getLevelNamesMapping().get(wanted.upper(), default)


def _log_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What nobody caught, as a record in place of a traceback between the lines."""
    log.critical("%s: %s", kind.__name__, error, exc_info=(kind, error, trace))


def about(facts: dict[str, str]) -> None:
    """What all records of this process are about from now on; an empty value takes a key away."""
    _about.update(facts)


def failure(message: str) -> None:
    """Record how a run failed; for people, whoever started it prints that."""
    if structured():
        log.error(message)


class Redacting(logging.Filter):
    """Takes secrets out of a record, traceback included, before any handler formats it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact in place; every record passes."""
        record.msg, record.args = redact(record.getMessage()), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        return True


class _Handler(logging.StreamHandler[TextIO]):
    """Standard error as it is now: a test or a daemon may have replaced it since."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.addFilter(Redacting())

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        return _JSON.format(record) if structured() else _text(record)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    """What is known beside the message, of the record itself or of the process."""
    own = {key: getattr(record, key, None) for key in FACTS}
    known = {key: _about.get(key) if own[key] is None else own[key] for key in FACTS}
    return {key: value for key, value in known.items() if value not in (None, "")}


class _JsonLines(JsonFormatter):
    """A record as one line of JSON."""

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """What a line holds, in this order."""
        time = dt.datetime.fromtimestamp(record.created, dt.UTC)
        log_data |= {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "pid": record.process,
            **_facts(record),
        }
        if record.exc_text:
            log_data["exception"] = record.exc_text


_JSON = _JsonLines(json_ensure_ascii=False, json_default=str)


def _text(record: logging.LogRecord) -> str:
    facts = _facts(record)
    named = [f"{key} {facts[key]}" for key in ("stage", "block", "attempt") if key in facts]
    where = f" ({', '.join(named)})" if named else ""
    tail = f"\n{record.exc_text}" if record.exc_text else ""
    return f"geoseg {record.levelname.lower()}: {record.getMessage()}{where}{tail}"
