"""``geoseg metrics``: the progress of runs and services, for Prometheus."""

from __future__ import annotations

import signal
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

from geoseg.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(
        epilog="Examples: `geoseg metrics out`, `geoseg metrics out /data/service "
        "--service configs/service.yaml --listen 127.0.0.1:9108`"
    )(metrics)


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
    from geoseg.diagnose.metrics import serve
    from geoseg.service.metrics import collectors

    if not folders and not service:
        raise ConfigError("name a FOLDER of runs, or a service file with --service")
    with serve(collectors(tuple(folders or ()), tuple(service or ())), listen) as address:
        typer.echo(f"metrics: http://{address}/metrics")
        _await_signal()


def _await_signal() -> None:
    """Until somebody asks to end: also in a container, whose first process hears no SIGTERM else."""
    asked = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    asked.wait()
