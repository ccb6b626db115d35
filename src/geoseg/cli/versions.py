"""``geoseg versions``: what is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from geoseg.cli.arguments import Endpoint
from geoseg.errors import OutputError
from geoseg.feedback import Console


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(
        epilog="Examples: `geoseg versions published`, `geoseg versions s3://maps/crops demo --verify`, "
        "`geoseg versions published --verify --service configs/service.yaml`"
    )(versions)


def versions(
    destination: Annotated[str, typer.Argument(help="A folder, or s3://bucket/prefix.")],
    area: Annotated[str | None, typer.Argument(help="Only of this area.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every file and compare its checksum.")
    ] = False,
    service: Annotated[
        Path | None,
        typer.Option(help="A service file: are the maps there that its ledger has published?"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    endpoint: Endpoint = None,
) -> None:
    """List what is published, the newest first; exit code 2 where something is lost or damaged."""
    from geoseg.service import versions as found

    rows, lost = found.survey(destination, endpoint, area, verify, service, Console())
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        widths = [max((len(row[key]) for row in rows), default=0) for key in ("area", "version")]
        for row in rows:
            names = (f"{row[key]:<{width}}" for key, width in zip(row, widths, strict=False))
            kind = "latest" if row["latest"] else ""
            typer.echo(
                f"{'  '.join(names)}  {row['published'][:19]}Z  {kind:<6}  {row['item']}".rstrip()
            )
    for row in rows:
        lost |= row["damaged"]
    if lost:
        raise OutputError(
            f"{destination}: {len(lost)} thing(s) that were published are lost or damaged:\n"
            + "\n".join(f"  {what}: {trouble}" for what, trouble in lost.items())
            + "\nRestore them from a backup; a map whose order a service still has the results of: "
            "geoseg ledger SERVICE --republish ID"
        )
