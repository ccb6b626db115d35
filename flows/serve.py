"""The smallest set-up: ``python -m flows.serve`` takes up runs of all deployments by itself.

No work pool, no worker, no Dask: one process beside a Prefect server. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from typing import Any

from prefect import serve
from prefect.flows import load_flow_from_entrypoint
from prefect.schedules import Interval, Schedule
from prefect.settings import get_current_settings

from flows.project import Entry, deployments, is_there
from geoseg.errors import ConfigError, GeosegError


def served() -> list[Any]:
    """The deployments of ``prefect.yaml`` whose flow is there, for Prefect's ``serve``."""
    return [_deployment(entry) for entry in deployments() if is_there(entry)]


def _deployment(entry: Entry) -> Any:
    return load_flow_from_entrypoint(entry["entrypoint"]).to_deployment(
        entry["name"],
        description=entry["description"],
        tags=entry["tags"],
        parameters=entry["parameters"],
        schedules=[_schedule(each) for each in entry.get("schedules", [])],
    )


def _schedule(entry: Entry) -> Schedule:
    every = timedelta(seconds=entry["interval"])
    return Interval(every, active=entry["active"], slug=entry["slug"])


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: prefect server start --background; "
        "export PREFECT_API_URL=http://127.0.0.1:4200/api;\n"
        "python -m flows.serve, and in another terminal: "
        "prefect deployment run 'crop-map/demo' --watch",
    )
    parser.add_argument("--limit", type=int, default=1, help="runs at once [1]")
    limit = parser.parse_args().limit
    try:
        if not get_current_settings().api.url:
            raise ConfigError(
                "PREFECT_API_URL: not set, so nobody could reach this; start a server with "
                "'prefect server start' and export PREFECT_API_URL=http://127.0.0.1:4200/api"
            )
        serve(*served(), limit=limit)
    except GeosegError as error:
        print(f"geoseg: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
