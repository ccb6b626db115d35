"""``geoseg trace``: one pixel from bands to polygon."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from geoseg.cli.arguments import Config, Output


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(
        # A negative number is no option.
        context_settings={"ignore_unknown_options": True},
        epilog="Examples: `geoseg trace configs/demo.yaml 10.02 52.71`, "
        "`geoseg trace configs/demo.yaml --pixel 120 44 --json`",
    )(trace)


def trace(
    config: Config,
    lon: Annotated[float, typer.Argument(metavar="LON", help="Degrees, or COL with --pixel.")],
    lat: Annotated[float, typer.Argument(metavar="LAT", help="Degrees, or ROW with --pixel.")],
    output: Output = None,
    pixel: Annotated[bool, typer.Option("--pixel", help="Column and row, from 0.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Follow one pixel from bands to polygon: why is this field maize?"""
    from geoseg.diagnose import trace as tracing

    found = tracing.trace(config, output, tracing.Point(lon, lat, pixel))
    text = [json.dumps(found, indent=1)] if as_json else tracing.lines(found)
    for line in text:
        typer.echo(line)
