"""The smallest set-up: ``python -m geoseg.flows.serve`` takes up runs of all deployments by itself.

No work pool, no worker, no Dask: one process beside a Prefect server of its own. Ctrl-C ends it. A
server that knows the deployments from ``geoseg.flows.register`` would go on handing runs to its workers.
"""

from __future__ import annotations

import argparse
import signal
import sys
from datetime import timedelta
from typing import Any

from prefect import serve
from prefect.flows import load_flow_from_entrypoint
from prefect.schedules import Interval, Schedule
from prefect.settings import get_current_settings

from geoseg.errors import ConfigError, GeosegError
from geoseg.flows.register import Entry, deployments, is_there


def served(schedules: bool = False) -> list[Any]:
    """The deployments of ``prefect.yaml`` whose flow is there, their ``schedules`` on or off."""
    return [_deployment(entry, schedules) for entry in deployments() if is_there(entry)]


def _deployment(entry: Entry, schedules: bool) -> Any:
    return load_flow_from_entrypoint(entry["entrypoint"]).to_deployment(
        entry["name"],
        description=entry["description"],
        tags=entry["tags"],
        parameters=entry["parameters"],
        schedules=[_schedule(each, schedules) for each in entry.get("schedules", [])],
    )


def _schedule(entry: Entry, active: bool) -> Schedule:
    return Interval(timedelta(seconds=entry["interval"]), active=active, slug=entry["slug"])


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m geoseg.flows.serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: PREFECT_SERVER_UI_V2_ENABLED=false prefect server start --background; "
        "export PREFECT_API_URL=http://127.0.0.1:4200/api;\n"
        "python -m geoseg.flows.serve, and in another terminal: "
        "prefect deployment run 'crop-map/demo' --watch",
    )
    parser.add_argument("--limit", type=int, default=2, help="runs at once [2]")
    parser.add_argument(
        "--schedules", action="store_true", help="look for new imagery regularly [only when asked]"
    )
    given = parser.parse_args()
    try:
        if not get_current_settings().api.url:
            raise ConfigError(
                "PREFECT_API_URL: not set, so nobody could reach this; start a server with "
                "'prefect server start' and export PREFECT_API_URL=http://127.0.0.1:4200/api"
            )
        # Started in the background of a shell (`... &`) it would ignore this signal, and so would its
        # runs: Prefect ends both by it, on Ctrl-C, on SIGTERM and when a run is cancelled.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        serve(*served(given.schedules), limit=given.limit)
    except GeosegError as error:
        print(f"geoseg: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
