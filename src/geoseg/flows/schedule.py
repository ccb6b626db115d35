"""Turns the polls for new imagery on and off: ``python -m geoseg.flows.schedule on --service FILE``.

What is set here stays when deployments are registered anew.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.schedules import SCHEDULE_TYPES, IntervalSchedule
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from geoseg.errors import ConfigError, GeosegError
from geoseg.io import logs

DEPLOYMENT = "watch-imagery/service"
SERVICE = "service"
"""The parameter that names the service file; all others are what ``prefect.yaml`` says."""
SHORTEST = 10
"""Seconds between two polls at least: each is a run with a process of its own."""


@dataclass(frozen=True)
class Kept:
    """What an operator has set of a deployment's schedule."""

    active: bool
    schedule: SCHEDULE_TYPES


Settings = dict[UUID, tuple[dict[str, Any], dict[str, Kept]]]
"""By deployment: its service file, if it has one, and its schedules by their slugs."""


def read(client: SyncPrefectClient) -> Settings:
    """What is set of every deployment that has a schedule."""
    return {
        deployment.id: (
            {name: v for name, v in deployment.parameters.items() if name == SERVICE},
            {s.slug: Kept(s.active, s.schedule) for s in deployment.schedules if s.slug},
        )
        for deployment in client.read_deployments()
        if deployment.schedules
    }


def restore(client: SyncPrefectClient, before: Settings) -> None:
    """Set again what ``prefect deploy`` has put back to what ``prefect.yaml`` says."""
    for deployment in client.read_deployments():
        parameters, schedules = before.get(deployment.id, ({}, {}))
        wanted = {**deployment.parameters, **parameters}
        if wanted != deployment.parameters:
            _set_parameters(client, deployment.id, wanted)
        for schedule in deployment.schedules:
            kept = schedules.get(schedule.slug or "")
            if kept and kept != Kept(schedule.active, schedule.schedule):
                client.update_deployment_schedule(
                    deployment.id, schedule.id, active=kept.active, schedule=kept.schedule
                )


def switch(active: bool, service: Path | None = None, every: float | None = None) -> str:
    """Turn the polls on or off; returns how they stand.

    Raises ``ConfigError`` where there is no such deployment, or nothing that may be looked at.
    """
    if service and active:
        from geoseg.io import configs

        configs.load_service(service)
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            raise ConfigError(
                f"there is no deployment {DEPLOYMENT}; 'make up' or "
                "'python -m geoseg.flows.register' makes it"
            ) from None
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            raise ConfigError(
                f"PREFECT_API_URL: no Prefect server answers as it should ({error}); "
                "eval \"$(cat .geoseg/env)\" names that of 'make up'"
            ) from None
        parameters = dict(deployment.parameters)
        if service:
            parameters[SERVICE] = str(service.resolve())
            _set_parameters(client, deployment.id, parameters)
        (schedule,) = deployment.schedules
        interval = schedule.schedule
        if every:
            interval = IntervalSchedule(
                interval=dt.timedelta(seconds=every), anchor_date=dt.datetime.now(dt.UTC)
            )
        client.update_deployment_schedule(
            deployment.id, schedule.id, active=active, schedule=interval
        )
    pace = getattr(interval, "interval", "its schedule")
    return f"{parameters['service']}: looked at every {pace}" if active else "polls are off"


def _set_parameters(client: SyncPrefectClient, deployment: UUID, values: dict[str, Any]) -> None:
    client.request(
        "PATCH", "/deployments/{id}", path_params={"id": deployment}, json={"parameters": values}
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m geoseg.flows.schedule",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python -m geoseg.flows.schedule on\n"
        "  python -m geoseg.flows.schedule on --service /data/service.yaml --every 900\n"
        "  python -m geoseg.flows.schedule off\n\n"
        "exit codes: 0 done; 2 a mistake, explained in one message",
    )
    parser.add_argument("state", choices=("on", "off"))
    parser.add_argument("--service", type=Path, help="the service file [as it is]")
    parser.add_argument("--every", type=float, help="seconds from poll to poll [as it is, 300]")
    return parser.parse_args()


def main() -> int:
    """The command line; returns the exit code."""
    given = _arguments()
    logs.show_any_letter()
    try:
        if given.every is not None and given.every < SHORTEST:
            raise ConfigError(f"--every: {given.every:g} s is too often; {SHORTEST} at least")
        print(switch(given.state == "on", given.service, given.every))
    except GeosegError as error:
        print(f"geoseg: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
