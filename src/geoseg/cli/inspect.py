"""``geoseg inspect``: what a raster, a vector file or a run's input is, and what would go wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.feedback import Console


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog="Examples: `geoseg inspect image.tif`, `geoseg inspect configs/demo.yaml`")(
        inspect
    )


def inspect(
    path: Annotated[Path, typer.Argument(help="A raster, or a run's config.")],
) -> None:
    """Say what a raster or a run's input is, and what would go wrong."""
    from geoseg.diagnose import preview

    for line in preview.describe(path, Console()):
        typer.echo(line)
