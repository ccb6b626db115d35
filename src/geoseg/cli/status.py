"""``geoseg status`` and ``geoseg metrics``: how runs stand, for a person and for Prometheus."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

from geoseg.errors import ConfigError

REFRESH_SECONDS = 2.0
BAD = 3
"""Exit code for a run that failed or died; 2, of every mistake in the input, where none is."""
CLEAR = "\x1b[H\x1b[2J"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command(epilog="Examples: `geoseg status out/demo`, `geoseg status out/demo --watch`")(
        status
    )
    app.command(
        epilog="Examples: `geoseg metrics out`, `geoseg metrics out /data/service "
        "--service configs/service.yaml --listen 127.0.0.1:9108`"
    )(metrics)


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
    from geoseg.diagnose import status as statuses  # noqa: PLC0415
    from geoseg.diagnose import status_text  # noqa: PLC0415

    while True:
        found = statuses.status(run)
        text = [json.dumps(found.to_dict())] if as_json else list(status_text.lines(found))
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


def metrics(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Where runs lie, at any depth.", metavar="[FOLDER...]"),
    ] = None,
    service: Annotated[
        list[Path] | None, typer.Option(help="A service file: its orders too. May come again.")
    ] = None,
    listen: Annotated[
        str, typer.Option(envvar="GEOSEG_METRICS", help="HOST:PORT; port 0: any that is free.")
    ] = "127.0.0.1:9108",
) -> None:
    """Serve the progress of all runs below some folders, and services, as a page for Prometheus.

    Nobody has to sign in to read it: leave it on loopback, or behind a proxy that asks.
    """
    from geoseg.diagnose.metrics import serve  # noqa: PLC0415

    if not folders and not service:
        raise ConfigError("name a FOLDER of runs, or a service file with --service")
    with serve(tuple(folders or ()), listen, tuple(service or ())) as address:
        typer.echo(f"metrics: http://{address}/metrics")
        _await_signal()


def _await_signal() -> None:
    """Until somebody asks to end: also in a container, whose first process hears no SIGTERM else."""
    asked = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    asked.wait()
