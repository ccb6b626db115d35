"""``geoseg change``: a map against another map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.feedback import Console


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(
        epilog="Example: `geoseg change out/2024/area_class.tif out/2025/area_class.tif -o out/change`"
    )(change)


def change(
    before: Annotated[Path, typer.Argument(help="The earlier class raster.")],
    after: Annotated[Path, typer.Argument(help="The later one, on the same grid.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the results.")],
    above: Annotated[
        float | None,
        typer.Option(
            min=0, max=100, help="Count changes only where both maps are this confident (percent)."
        ),
    ] = None,
    parcels: Annotated[
        Path | None, typer.Option(help="Also say of each of these parcels what changed.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Needed where the file has several.")] = None,
) -> None:
    """Compare two maps of one grid: transition matrix, change raster, changed parcels."""
    from geoseg.analysis.change.outputs import ChangeRequest, compare_files

    request = ChangeRequest(before, after, above, parcels, layer)
    for line in compare_files(request, output, Console()):
        typer.echo(line)
