"""The command line: parse, call one function, print what was produced.

Exit codes: 0 done; 2 a mistake in the input, or something that is not there (a disk, a cluster, a
server), explained in one message; 3 blocks that failed for good; 4 a map that was made and did not
pass its checks; 1 anything else, which is a bug and shows its traceback. Heavy imports wait inside
the commands, so that ``--help`` is quick.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from geoseg import __version__
from geoseg.cli import (
    certificates,
    change,
    evaluate,
    inspect,
    ledger,
    metrics,
    parcels,
    predict,
    publish,
    run,
    status,
    synth,
    trace,
    train,
    vectorize,
    versions,
)
from geoseg.errors import GeosegError
from geoseg.io import logs
from geoseg.pipeline import progress_file

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

COMMANDS = (
    synth, inspect, train, predict, vectorize, evaluate, trace, run, parcels, change, status, metrics,
    publish, versions, ledger, certificates,
)  # fmt: skip
"""In the order of ``--help``: a run, what is asked of its map, and the service."""


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


for command in COMMANDS:
    command.register(app)
