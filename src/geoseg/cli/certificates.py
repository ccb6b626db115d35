"""``geoseg certificates``: what a Dask cluster needs to talk encrypted and to let nobody else in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(
        epilog="Examples: `geoseg certificates keys`, "
        "`geoseg certificates keys --host node1.lan --host 10.0.0.5 --days 90`"
    )(certificates)


def certificates(
    folder: Annotated[Path, typer.Argument(help="Where they go; it must not have any yet.")],
    host: Annotated[
        list[str] | None,
        typer.Option(help="Name or address of a machine that takes part; repeat for more."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=36500, help="How long they are valid.")] = 365,
) -> None:
    """Make certificates for a Dask scheduler, its workers and the runs that use them (TLS).

    The key of the authority is thrown away, so that nobody can make another certificate that this
    cluster would trust.
    """
    from geoseg.io.certificates import make_certificates

    made = make_certificates(folder.resolve(), host or [], days)
    for line in _usage(made.root, (host or ["127.0.0.1"])[0], days):
        typer.echo(line)


def _usage(folder: Path, host: str, days: int) -> list[str]:
    """How to use them, to be copied."""

    def options(role: str) -> str:
        return (
            f"--tls-ca-file {folder}/ca.pem --tls-cert {folder}/{role}.pem "
            f"--tls-key {folder}/{role}.key"
        )

    return [
        f"certificates: {folder} (ca.pem; scheduler, worker, client: .pem and .key), {days} days",
        "Who has one of the keys can run anything on the workers: copy to each machine only its own.",
        "",
        "scheduler:",
        f"  dask scheduler --host {host} --protocol tls {options('scheduler')}",
        "each worker:",
        f"  dask worker tls://{host}:8786 --nthreads 2 {options('worker')}",
        "runs, by their environment (or by cluster.tls of a config):",
        f"  export GEOSEG_SCHEDULER=tls://{host}:8786",
        f"  export GEOSEG_TLS_CA={folder}/ca.pem",
        f"  export GEOSEG_TLS_CERT={folder}/client.pem GEOSEG_TLS_KEY={folder}/client.key",
    ]
