"""Arguments that several commands share, and the run that they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.feedback import Console

if TYPE_CHECKING:
    from geoseg.pipeline.run import Run

Config = Annotated[Path, typer.Argument(help="The run's config, a YAML file.", metavar="CONFIG")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder of the results [default: out/NAME of the config]."),
]
Endpoint = Annotated[
    str | None, typer.Option(help="URL of an S3-compatible service other than Amazon's.")
]


def open_run(config: Path, output: Path | None) -> Run:
    """The run of a config, with progress on the terminal. Raises what ``Run.open`` does."""
    from geoseg.pipeline.run import Run

    return Run.open(config, output, Console())
