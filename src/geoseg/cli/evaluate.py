"""``geoseg evaluate``: a finished map, scored."""

from __future__ import annotations

import typer

from geoseg.cli.arguments import Config, Output, open_run


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog="Example: `geoseg evaluate configs/demo.yaml --output out/demo`")(evaluate)


def evaluate(config: Config, output: Output = None) -> None:
    """Score the map in OUTPUT on pixels whose labels training never saw."""
    run = open_run(config, output)

    from geoseg.pipeline import evaluate as step
    from geoseg.product.report.scores import score_lines

    for line in score_lines(step.evaluate_map(run)):
        typer.echo(line)
