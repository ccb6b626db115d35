"""How a run stands, from its progress file alone: running, finished, failed, or dead; and it as text."""

from __future__ import annotations

import datetime as dt
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from geoseg.errors import OutputError
from geoseg.io import configs, files
from geoseg.pipeline.progress_file import progress_path

State = Literal["running", "finished", "failed", "dead"]

SILENT_SECONDS = 120
"""How long the progress file of a run on another host may be as it is before the run is dead."""

_BLOCKS = "blocks-"
"""How the folders of blocks begin, which may hold a hundred thousand files."""


@dataclass(frozen=True, slots=True)
class Status:
    """One run as its progress file has it."""

    folder: Path
    state: State
    content: dict[str, Any]
    """See docs/observability.md."""

    @property
    def ok(self) -> bool:
        """Whether nobody has to do anything."""
        return self.state in ("running", "finished")

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {**self.content, "folder": str(self.folder), "state": self.state}


def read_status(output: Path) -> Status | None:
    """The run with that folder of results; None where none ever kept its progress there."""
    content = files.read_json(progress_path(output))
    if not isinstance(content, dict) or "state" not in content:
        return None
    return Status(output.resolve(), _state(content), content)


def status(run: Path) -> Status:
    """The status of a run, named by its folder of results or by its config.

    Raises ``OutputError`` where no run is, ``ConfigError`` for a config that is none.
    """
    output = Path("out") / configs.load(run).name if run.is_file() else run
    found = read_status(output)
    if found is None:
        raise OutputError(
            f"{output}: no run was started there (no {progress_path(Path())}); name the folder "
            "given as --output, or a config whose results are in out/NAME"
        )
    return found


def find(folders: tuple[Path, ...]) -> Iterator[Status]:
    """All runs in and below some folders; what lies below a run is not looked through."""
    for folder in folders:
        for place, below, _ in os.walk(folder):
            found = read_status(Path(place)) if "work" in below else None
            below[:] = sorted(b for b in below if b[0] != "." and not b.startswith(_BLOCKS))
            if found:
                below.clear()
                yield found


def _state(content: dict[str, Any]) -> State:
    """What the file says, unless who wrote that it runs is no more."""
    state: State = content["state"]
    return "dead" if state == "running" and not _alive(content) else state


def _alive(content: dict[str, Any]) -> bool:
    """Whether the process that writes is there; on another host, whether it wrote of late."""
    if content.get("host") == socket.gethostname():
        try:
            process = psutil.Process(int(content["pid"]))
            return bool(process.create_time() == content["process_started"])
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:  # there is one, and its owner alone may look closer
            return True
    return age(content) < SILENT_SECONDS


def age(content: dict[str, Any]) -> float:
    """Seconds since the file was written."""
    written = dt.datetime.fromisoformat(content["updated"])
    return (dt.datetime.now(dt.UTC) - written).total_seconds()


REMEDY = "run the same command again: it resumes, finished blocks are kept"


def lines(status: Status) -> Iterator[str]:
    """What runs, how far it is, when it will be done, and what went wrong."""
    content = status.content
    yield f"{content['run']}: {_headline(status)}"
    yield f"  {'results':<9} {status.folder}"
    yield from _work(status)
    yield from _blocks(content.get("blocks") or {})
    spent = ", ".join(f"{name} {_span(s)}" for name, s in content.get("seconds", {}).items())
    if spent:
        yield f"  {'stages':<9} {spent}"
    for key, value in (
        ("dashboard", content.get("dashboard")),
        ("prefect", (content.get("prefect") or {}).get("url")),
        ("order", content.get("order")),
    ):
        if value:
            yield f"  {key:<9} {value}"


def _headline(status: Status) -> str:
    content = status.content
    stage = content.get("stage") or "start"
    if status.state == "finished":
        return f"finished after {_span(_lasted(content))}"
    if status.state == "failed":
        return f"failed in stage {stage}: {content.get('message') or 'no reason was told'}"
    if status.state == "dead":
        # Whether a process of another host is there nobody can see from here.
        here = content.get("host") == socket.gethostname()
        known = "is gone" if here else "was killed, is frozen, or does not reach this folder"
        return (
            f"dead in stage {stage}: its process {content.get('pid')} on {content.get('host')} "
            f"{known}, last heard of {_span(age(content))} ago; {REMEDY}"
        )
    return f"running for {_span(_lasted(content))}, stage {stage}"


def _work(status: Status) -> Iterator[str]:
    work = status.content.get("work") or {}
    if not work or status.state == "finished":
        return
    share = f" ({work['done'] / work['total']:.0%})" if work.get("total") else ""
    parts = [f"{work['done']}/{work['total']} {work['unit']}{share}"]
    if status.state == "running" and work.get("rate"):
        parts.append(f"{work['rate']:.3g} {work['unit']} per second")
        parts.append(f"done about {_clock(work['expected_end'])}")
    yield f"  {work['what']:<9} {', '.join(parts)}"


def _blocks(blocks: dict[str, Any]) -> Iterator[str]:
    if not blocks:
        return
    yield (
        f"  {'blocks':<9} {blocks['done']}/{blocks['total']} done ({blocks['resumed']} before this "
        f"run), {blocks['in_flight']} under way, {blocks['queued']} waiting, "
        f"{blocks['bytes_read'] / 1e6:.0f} MB of pixels read"
    )
    done = max(1, blocks["done"] - blocks["resumed"])
    each = ", ".join(f"{name} {1000 * s / done:.0f} ms" for name, s in blocks["seconds"].items())
    yield f"  {'a block':<9} {each}"
    for name, trouble in blocks["trouble"].items():
        what = "given up" if trouble["given_up"] else "tried again"
        yield f"  {name:<9} {what}: {trouble['message']}"
    unnamed = blocks["failed_tries"] - len(blocks["trouble"])
    if unnamed > 0:
        yield f"  {'':<9} {unnamed} more failed tries"


def _lasted(content: dict[str, Any]) -> float:
    began = dt.datetime.fromisoformat(content["started"])
    end = content.get("ended")
    until = dt.datetime.fromisoformat(end) if end else dt.datetime.now(dt.UTC)
    return (until - began).total_seconds()


def _span(seconds: float) -> str:
    """``12 s``, ``3 min 20 s``, ``5 h 10 min``."""
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s" if whole >= 10 else f"{max(0.0, seconds):.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _clock(moment: str) -> str:
    """In the time zone of who reads; with the day where it is not today's."""
    local = dt.datetime.fromisoformat(moment).astimezone()
    return f"{local:%H:%M:%S}" if local.date() == dt.date.today() else f"{local:%Y-%m-%d %H:%M}"
