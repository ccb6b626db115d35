"""The command line: parse, call one function, print what was produced.

Exit codes: 0 done; 2 a mistake in the input, or something that is not there (a disk, a cluster, a
server), explained in one message; 3 blocks that failed for good; 4 a map that was made and did not
pass its checks; 1 anything else, which is a bug and shows its traceback. Heavy imports wait inside
the commands, so that ``--help`` is quick.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg import __version__
from geoseg.cli.app import certificates, ledger, parcels, publish, status
from geoseg.errors import GeosegError
from geoseg.feedback import Console
from geoseg.io import logs
from geoseg.pipeline import progress_file

if TYPE_CHECKING:
    from geoseg.pipeline.run import Run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a season of satellite images to a crop-type map.",
    epilog="Start with: `geoseg synth data/demo`, then `geoseg run configs/demo.yaml`.",
)

INTERRUPTED = 130

Config = Annotated[Path, typer.Argument(help="The run's config, a YAML file.", metavar="CONFIG")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder of the results [default: out/NAME of the config]."),
]


def main() -> None:
    """Entry point: a user's mistake ends with its message alone."""
    logs.configure()
    try:
        with progress_file.ending():
            app()
    except GeosegError as error:
        _tell(str(error), typer.colors.RED)
        sys.exit(error.exit_code)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # what typer makes of Ctrl-C, and says nothing
            _tell("interrupted; the same command resumes")
        raise


def _tell(message: str, color: str | None = None) -> None:
    """The last word of a command that went wrong."""
    if logs.structured():
        logs.log.error(message)
    else:
        typer.secho(f"geoseg: {message}", fg=color, err=True)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"geoseg {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: `geoseg synth data/demo --width 600 --height 400 --dates 6`")
def synth(
    folder: Annotated[Path, typer.Argument(help="Where imagery, masks, labels and truth go.")],
    width: Annotated[int, typer.Option(min=1, help="Pixels.")] = 1800,
    height: Annotated[int, typer.Option(min=1, help="Pixels.")] = 1135,
    dates: Annotated[int, typer.Option(min=1, max=365, help="Images over the year.")] = 12,
    seed: Annotated[int, typer.Option(help="Another seed is another landscape.")] = 7,
) -> None:
    """Make the reference scene: imagery, cloud masks, labels of some fields, and the truth."""
    from geoseg.synthetic import SceneSpec, write_scene  # noqa: PLC0415

    spec = SceneSpec(width=width, height=height, dates=dates, seed=seed)
    write_scene(folder, spec, Console())
    typer.echo(f"{folder}: {dates} dates of {width} x {height} pixels, labels.gpkg, truth.tif")


@app.command(epilog="Examples: `geoseg inspect image.tif`, `geoseg inspect configs/demo.yaml`")
def inspect(
    path: Annotated[Path, typer.Argument(help="A raster, or a run's config.")],
) -> None:
    """Say what a raster or a run's input is, and what would go wrong."""
    from geoseg.diagnose import preview  # noqa: PLC0415

    for line in preview.describe(path, Console()):
        typer.echo(line)


@app.command(epilog="Example: `geoseg train configs/demo.yaml --output out/demo`")
def train(config: Config, output: Output = None) -> None:
    """Train a model on the config's imagery and labels; writes OUTPUT/model."""
    run = _open(config, output)
    from geoseg.pipeline import select, train  # noqa: PLC0415

    with run.alone():
        select.select_scenes(run)
        typer.echo(f"model: {train.train_model(run)['bundle']}")


@app.command(
    epilog="Examples: `geoseg predict configs/demo.yaml --workers 2`, "
    "`geoseg predict configs/demo.yaml --scheduler tcp://10.0.0.5:8786`"
)
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
    run = _open(config, output)
    from geoseg.pipeline import predict, select  # noqa: PLC0415

    with run.alone():
        select.select_scenes(run, scheduler)
        predict.predict_blocks(run, None if scheduler else workers, scheduler)
        predict.finish_map(run)
    typer.echo(f"map: {run.folder.class_map}\nconfidence: {run.folder.confidence}")


@app.command(
    epilog="Example: `geoseg vectorize out/demo/demo_class.tif --simplify 1 -o fields.parquet`"
)
def vectorize(
    class_map: Annotated[Path, typer.Argument(help="A class raster that geoseg wrote.")],
    confidence: Annotated[
        Path | None, typer.Option(help="[default: *_confidence.tif beside the class raster]")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="*.gpkg, *.parquet, *.fgb [default: *_crops.gpkg]"),
    ] = None,
    simplify: Annotated[
        float, typer.Option(min=0, max=64, help="How far a border may move, in pixels; 0: not.")
    ] = 0,
    smooth: Annotated[
        int, typer.Option(min=0, max=4, help="Round corners off: 1 coarsely to 4 finely.")
    ] = 0,
    minimum_area: Annotated[
        float, typer.Option(min=0, max=1e9, help="Smaller fields (hectares) join a neighbour.")
    ] = 0,
    minimum_pixels: Annotated[int, typer.Option(min=0, help="The same in pixels.")] = 0,
) -> None:
    """Turn a class raster into crop polygons with area and confidence."""
    from geoseg.config import VectorsConfig  # noqa: PLC0415
    from geoseg.pipeline import train  # noqa: PLC0415

    shape = VectorsConfig(
        simplify=simplify,
        smooth=smooth,
        minimum_area=minimum_area,
        minimum_pixels=minimum_pixels,
    )
    (target,), found = train.vectorize_file(class_map, confidence, output, shape, Console())
    typer.echo(f"polygons: {target} ({found.polygons})")
    for row in found.classes:
        if row.difference_ha:
            typer.echo(
                f"  {row.name}: {row.polygons_ha} ha, {row.difference_ha:+} ha "
                f"({row.difference_percent:+} %) against the raster"
            )


@app.command(epilog="Example: `geoseg evaluate configs/demo.yaml --output out/demo`")
def evaluate(config: Config, output: Output = None) -> None:
    """Score the map in OUTPUT on pixels whose labels training never saw."""
    run = _open(config, output)
    from geoseg.diagnose import preview
    from geoseg.pipeline import train  # noqa: PLC0415

    for line in preview.score_lines(train.evaluate_map(run)):
        typer.echo(line)


@app.command(
    # A negative number is no option.
    context_settings={"ignore_unknown_options": True},
    epilog="Examples: `geoseg trace configs/demo.yaml 10.02 52.71`, "
    "`geoseg trace configs/demo.yaml --pixel 120 44 --json`",
)
def trace(
    config: Config,
    lon: Annotated[float, typer.Argument(metavar="LON", help="Degrees, or COL with --pixel.")],
    lat: Annotated[float, typer.Argument(metavar="LAT", help="Degrees, or ROW with --pixel.")],
    output: Output = None,
    pixel: Annotated[bool, typer.Option("--pixel", help="Column and row, from 0.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Follow one pixel from bands to polygon: why is this field maize?"""
    from geoseg.diagnose import trace as tracing  # noqa: PLC0415
    from geoseg.diagnose import trace_text  # noqa: PLC0415

    found = tracing.trace(config, output, tracing.Point(lon, lat, pixel))
    text = [json.dumps(found, indent=1)] if as_json else trace_text.lines(found)
    for line in text:
        typer.echo(line)


@app.command(
    epilog="Examples: `geoseg run configs/demo.yaml`, "
    "`geoseg run configs/demo.yaml -o out/june --scheduler tcp://10.0.0.5:8786`"
)
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
    from geoseg.flows.crop_map import main as crop_map  # noqa: PLC0415

    code = crop_map(str(config), str(output or ""), scheduler)
    if code:
        raise typer.Exit(code)


for commands in (certificates, ledger, parcels, publish, status):
    commands.register(app)


def _open(config: Path, output: Path | None) -> Run:
    from geoseg.pipeline.run import Run  # noqa: PLC0415

    return Run.open(config, output, Console())


if __name__ == "__main__":
    main()
