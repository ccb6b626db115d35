"""``geoseg run``: the whole flow."""

from __future__ import annotations

from typing import Annotated

import typer

from geoseg.cli.arguments import Config, Output


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(
        epilog="Examples: `geoseg run configs/demo.yaml`, "
        "`geoseg run configs/demo.yaml -o out/june --scheduler tcp://10.0.0.5:8786`"
    )(run)


def run(
    config: Config,
    output: Output = None,
    scheduler: Annotated[
        str, typer.Option(envvar="GEOSEG_SCHEDULER", help="Use a running Dask scheduler.")
    ] = "",
) -> None:
    """The whole flow: select, train where no model is named, predict, stitch, polygons, report.

    Starts what it needs (a Prefect server of its own, Dask workers on this machine) and stops it
    again. Run twice, it resumes: finished blocks and a finished training are not done again.
    """
    from geoseg.flows.crop_map import main as crop_map

    code = crop_map(str(config), str(output or ""), scheduler)
    if code:
        raise typer.Exit(code)
