"""Puts work pool, deployments and automations into the Prefect server.

By hand: ``python -m geoseg.flows.register``.

For a server that is new, and again after each change of ``prefect.yaml``. What an operator has set on
the page stays as it is: schedules turned on, a pool paused, limits of queues, automations turned off.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound

from geoseg.errors import ConfigError, GeosegError
from geoseg.flows import schedule
from geoseg.flows.automations import register_automations
from geoseg.io import plain_yaml

POOL = "geoseg"
MAPS = "default"
"""The queue for what takes long; every pool has this one."""
POLLS = "polls"
"""The queue for polls for new imagery, which must not wait behind maps."""
TRAININGS = "trainings"
"""The queue for trainings, one at a time. What a queue counts is in the server's database, and survives
its restart; a deployment's ``concurrency_limit`` does not."""
RUNS = 2
"""Maps at once, where nobody says otherwise."""

Say = Callable[[str], None]


def register(say: Say = print, runs: int | None = None) -> None:
    """Register everything of the ``prefect.yaml`` in this folder; ``runs`` maps at once where given.

    Raises ``ConfigError`` where no server answers, or it does not want this password.
    """
    entries = deployments()
    with get_client(sync_client=True) as client:
        _require_server(client)
        _pool(client, say, runs)
        before = schedule.read(client)
        _deploy(entries, say)
        schedule.restore(client, before)
        register_automations(client, say, os.environ.get("GEOSEG_WEBHOOK", ""))


def _require_server(client: SyncPrefectClient) -> None:
    try:
        client.read_work_pools(limit=1)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.UNAUTHORIZED:
            raise
        raise ConfigError(
            f"PREFECT_API_AUTH_STRING: the server at {client.api_url} wants another user and password"
        ) from None
    except httpx.HTTPError as error:
        raise ConfigError(
            f"PREFECT_API_URL: no Prefect server answers at {client.api_url} ({error}); 'make up' "
            "starts one"
        ) from None


def _pool(client: SyncPrefectClient, say: Say, runs: int | None) -> None:
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        say(f"work pool {POOL}: made")
    queues = {queue.name: queue for queue in client.read_work_queues(work_pool_name=POOL)}
    for name in {POLLS, TRAININGS} - queues.keys():
        queues[name] = client.create_work_queue(name, work_pool_name=POOL)
    for name, limit, given in ((MAPS, runs or RUNS, runs), (TRAININGS, 1, None)):
        if given or queues[name].concurrency_limit is None:
            client.update_work_queue(queues[name].id, concurrency_limit=limit)


def _deploy(entries: list[Entry], say: Say) -> None:
    """As ``prefect deploy`` does, for those whose flow is there."""
    names: list[str] = []
    for entry in entries:
        if is_there(entry):
            names.append(entry["name"])
        else:
            say(f"deployment {entry['name']}: left out, there is no {entry['entrypoint']}")
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy"]
    options = [word for name in names for word in ("--name", name)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{PROJECT}: 'prefect deploy' refuses it:\n{done.stdout}{done.stderr}")
    say(f"deployments: {', '.join(names)}")


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m geoseg.flows.register",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Environment: PREFECT_API_URL, PREFECT_API_AUTH_STRING (the server); GEOSEG_WEBHOOK "
        "(where failures\nare told: a URL that gets a POST with JSON).\n\n"
        'Example: eval "$(cat .geoseg/env)"; python -m geoseg.flows.register --runs 4',
    )
    parser.add_argument("--runs", type=int, help=f"maps at once [{RUNS}, or as it is]")
    try:
        register(runs=parser.parse_args().runs)
    except GeosegError as error:
        print(f"geoseg: {error}", file=sys.stderr)
        return error.exit_code
    return 0


PROJECT = Path("prefect.yaml")

Entry = dict[str, Any]
"""One deployment, as the file has it."""


def deployments() -> list[Entry]:
    """All deployments of the file in this folder. Raises ``ConfigError`` where there is none."""
    if not PROJECT.is_file():
        raise ConfigError(
            f"{PROJECT.resolve()}: no such file; go where it is, into geoseg's folder with the configs"
        )
    content = plain_yaml.load(PROJECT.read_text(encoding="utf-8"), PROJECT)
    listed = content.get("deployments") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not all(
        isinstance(entry, dict) and {"name", "entrypoint"} <= entry.keys() for entry in listed
    ):
        raise ConfigError(
            f"{PROJECT}: 'deployments' is a list of deployments, each with a name and an entrypoint"
        )
    return listed


def is_there(entry: Entry) -> bool:
    """Whether the file with the deployment's flow is there."""
    return Path(entry["entrypoint"].partition(":")[0]).is_file()


if __name__ == "__main__":
    sys.exit(main())
