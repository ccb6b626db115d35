"""``geoseg publish``: a finished map goes out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.cli.arguments import Endpoint
from geoseg.feedback import Console


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(
        epilog="Examples: `geoseg publish configs/demo.yaml -o out/demo --to published --area demo "
        "--season 2025`, `geoseg publish demo.yaml --to s3://maps/crops --area demo --season 2025 "
        "--gates gates.yaml --keep 3`"
    )(publish)


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
    from geoseg.config.service import PublishConfig
    from geoseg.pipeline.run import Run
    from geoseg.service import release

    outlet = PublishConfig(destination=to, endpoint=endpoint, keep=keep, grace_hours=grace_hours)
    run = Run.open(config, output, Console())
    for line in release.release(run, area, season, outlet, gates):
        typer.echo(line)
