"""``geoseg train``: a model from imagery and labels."""

from __future__ import annotations

import typer

from geoseg.cli.arguments import Config, Output, open_run


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog="Example: `geoseg train configs/demo.yaml --output out/demo`")(train)


def train(config: Config, output: Output = None) -> None:
    """Train a model on the config's imagery and labels; writes OUTPUT/model."""
    run = open_run(config, output)
    from geoseg.pipeline import select
    from geoseg.pipeline import train as step

    with run.alone():
        select.select_scenes(run)
        typer.echo(f"model: {step.train_model(run)['bundle']}")
