"""``geoseg predict``: the map, without the rest of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from geoseg.cli.arguments import Config, Output, open_run


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(
        epilog="Examples: `geoseg predict configs/demo.yaml --workers 2`, "
        "`geoseg predict configs/demo.yaml --scheduler tcp://10.0.0.5:8786`"
    )(predict)


def predict(
    config: Config,
    output: Output = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Dask worker processes to start; 0: threads of this one.")
    ] = 0,
    scheduler: Annotated[
        str, typer.Option(envvar="GEOSEG_SCHEDULER", help="Use a running Dask scheduler.")
    ] = "",
) -> None:
    """Map the imagery with the model of the config, or with the one trained into OUTPUT."""
    run = open_run(config, output)
    from geoseg.pipeline import predict as step
    from geoseg.pipeline import select, stitch

    with run.alone():
        select.select_scenes(run, scheduler)
        step.predict_blocks(run, None if scheduler else workers, scheduler)
        stitch.finish_map(run)
    typer.echo(f"map: {run.folder.class_map}\nconfidence: {run.folder.confidence}")
