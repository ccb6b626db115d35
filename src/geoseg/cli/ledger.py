"""``geoseg ledger``: what was seen and ordered, and what an operator may do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from geoseg.feedback import Console


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(
        epilog="Examples: `geoseg ledger configs/service.yaml`, "
        "`geoseg ledger configs/service.yaml --area north --seen`, "
        "`geoseg ledger configs/service.yaml --retry 12`, "
        "`geoseg ledger configs/service.yaml --retry --all`, "
        "`geoseg ledger configs/service.yaml --retry cancelled --area north`"
    )(ledger)


def ledger(
    service: Annotated[Path, typer.Argument(help="The service file.", metavar="SERVICE")],
    area: Annotated[str | None, typer.Option(help="Of this area alone.")] = None,
    seen: Annotated[bool, typer.Option("--seen", help="List the images, with verdicts.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    retry: Annotated[
        str | None,
        typer.Option(
            help="Send orders on their way again: one by its number, those of an area or in a state, "
            "or --all that failed or wait; with --area only of that.",
            metavar="ID|AREA|STATE|--all",
        ),
    ] = None,
    release: Annotated[
        int | None,
        typer.Option(help="Publish this quarantined map though a gate fails.", metavar="ID"),
    ] = None,
    republish: Annotated[
        int | None,
        typer.Option(help="Publish this order's version, which got lost, again.", metavar="ID"),
    ] = None,
) -> None:
    """List the orders of a service and how they ended, or its images, or send orders on their way."""
    from geoseg.io import configs
    from geoseg.service import acts, listing
    from geoseg.service.ledger.ledger import Ledger

    config = configs.load_service(service)
    with Ledger.open(config) as opened:
        wanted = acts.ActRequest(retry, release, republish, area)
        told = False
        for line in acts.act(config, opened, wanted, Console()):
            typer.echo(line)
            told = True
        if told:
            return
        rows: list[dict[str, Any]] = (listing.images if seen else listing.orders)(
            config, opened, area
        )
        if as_json:
            typer.echo(json.dumps(rows, indent=1))
            return
        for line in listing.lines(rows, listing.IMAGE_COLUMNS if seen else listing.ORDER_COLUMNS):
            typer.echo(line)
        for line in [] if seen else listing.notes(config, opened, area):
            typer.echo(line)
