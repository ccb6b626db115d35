"""``geoseg ledger``: what was seen and ordered, and what an operator may do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(
        epilog="Examples: `geoseg ledger configs/service.yaml`, "
        "`geoseg ledger configs/service.yaml --area north --seen`, "
        "`geoseg ledger configs/service.yaml --retry 12`"
    )(ledger)


def ledger(
    service: Annotated[Path, typer.Argument(help="The service file.", metavar="SERVICE")],
    area: Annotated[str | None, typer.Option(help="Of this area alone.")] = None,
    seen: Annotated[bool, typer.Option("--seen", help="List the images, with verdicts.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    retry: Annotated[
        int | None, typer.Option(help="Send this order on its way again.", metavar="ID")
    ] = None,
    release: Annotated[
        int | None,
        typer.Option(help="Publish this quarantined map though a gate fails.", metavar="ID"),
    ] = None,
) -> None:
    """List the orders of a service and how they ended, or its images, or send an order on its way."""
    from geoseg.io import configs  # noqa: PLC0415
    from geoseg.operations.service import listing  # noqa: PLC0415
    from geoseg.operations.service.ledger import Ledger  # noqa: PLC0415

    config = configs.load_service(service)
    with Ledger.open(config) as opened:
        for number, act in ((retry, opened.retry), (release, opened.release)):
            if number is not None:
                order = act(number)
                typer.echo(f"order {order.id} ({order.area}) is sent on its way by the next look")
        if retry is not None or release is not None:
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
