"""``geoseg publish`` and ``geoseg versions``: a finished map goes out, and what is out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from geoseg.errors import OutputError
from geoseg.feedback import Console

Endpoint = Annotated[
    str | None, typer.Option(help="URL of an S3-compatible service other than Amazon's.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command(
        epilog="Examples: `geoseg publish configs/demo.yaml -o out/demo --to published --area demo "
        "--season 2025`, `geoseg publish demo.yaml --to s3://maps/crops --area demo --season 2025 "
        "--gates gates.yaml --keep 3`"
    )(publish)
    app.command(
        epilog="Examples: `geoseg versions published`, `geoseg versions s3://maps/crops demo --verify`, "
        "`geoseg versions published --verify --service configs/service.yaml`"
    )(versions)


def publish(  # noqa: PLR0913
    config: Annotated[Path, typer.Argument(help="The run's config.", metavar="CONFIG")],
    to: Annotated[str, typer.Option("--to", help="A folder, or s3://bucket/prefix.")],
    area: Annotated[str, typer.Option(help="Name of the area, part of folder names and URLs.")],
    season: Annotated[str, typer.Option(help="Name of the season, such as 2025.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the run [default: out/NAME of the config]."),
    ] = None,
    gates: Annotated[
        Path | None,
        typer.Option(help="YAML with what the map must pass [default: no holes, seam score <= 2]."),
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Versions of the season that stay [default: all].")
    ] = None,
    grace_hours: Annotated[
        float, typer.Option(min=0, help="Hours that the files of others stay readable.")
    ] = 24,
    endpoint: Endpoint = None,
) -> None:
    """Check a finished map and publish it as a new version; one that fails is not published."""
    from geoseg.config.service import PublishConfig  # noqa: PLC0415
    from geoseg.pipeline.run import Run  # noqa: PLC0415
    from geoseg.service import release  # noqa: PLC0415

    outlet = PublishConfig(destination=to, endpoint=endpoint, keep=keep, grace_hours=grace_hours)
    run = Run.open(config, output, Console())
    for line in release.release(run, area, season, outlet, gates):
        typer.echo(line)


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
    from geoseg.service import versions as found  # noqa: PLC0415

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
