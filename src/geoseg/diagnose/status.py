"""How a run stands, from its progress file alone: running, finished, failed, or dead."""

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
