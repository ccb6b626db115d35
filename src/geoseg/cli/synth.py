"""``geoseg synth``: the reference scene, made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.feedback import Console


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog="Example: `geoseg synth data/demo --width 600 --height 400 --dates 6`")(
        synth
    )


def synth(
    folder: Annotated[Path, typer.Argument(help="Where imagery, masks, labels and truth go.")],
    width: Annotated[int, typer.Option(min=1, help="Pixels.")] = 1800,
    height: Annotated[int, typer.Option(min=1, help="Pixels.")] = 1135,
    dates: Annotated[int, typer.Option(min=1, max=365, help="Images over the year.")] = 12,
    seed: Annotated[int, typer.Option(help="Another seed is another landscape.")] = 7,
) -> None:
    """Make the reference scene: imagery, cloud masks, labels of some fields, and the truth."""
    from geoseg.synthetic import SceneSpec, write_scene

    spec = SceneSpec(width=width, height=height, dates=dates, seed=seed)
    write_scene(folder, spec, Console())
    typer.echo(f"{folder}: {dates} dates of {width} x {height} pixels, labels.gpkg, truth.tif")
