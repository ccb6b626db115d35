"""``geoseg status``: how a run stands."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

REFRESH_SECONDS = 2.0
BAD = 3
"""Exit code for a run that failed or died; 2, of every mistake in the input, where none is."""
CLEAR = "\x1b[H\x1b[2J"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog="Examples: `geoseg status out/demo`, `geoseg status out/demo --watch`")(
        status
    )


def status(
    run: Annotated[
        Path, typer.Argument(help="Folder of the results, or a config with results in out/NAME.")
    ],
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again and again, until the run ends.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one object.")] = False,
) -> None:
    """Say how far a run is, when it will be done, and what went wrong.

    Exit code 0: it runs or has finished; 2: there is no run; 3: it has failed, or its process died.
    """
    from geoseg.diagnose import status as statuses

    while True:
        found = statuses.status(run)
        text = [json.dumps(found.to_dict())] if as_json else list(statuses.lines(found))
        # One write: a terminal that is cleared first would flicker.
        start = CLEAR if watch and not as_json and _terminal() else ""
        typer.echo(start + "\n".join(text))
        if not watch or found.state != "running":
            break
        time.sleep(REFRESH_SECONDS)
    if not found.ok:
        raise typer.Exit(BAD)


def _terminal() -> bool:
    return typer.get_text_stream("stdout").isatty()
