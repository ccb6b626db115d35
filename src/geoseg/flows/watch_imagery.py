"""The flow ``watch-imagery``: one poll of every area of a service; new maps are ordered.

Each map is a run of the service's deployment. Schedule it every few minutes, or run it with

    python -m geoseg.flows.watch_imagery --service configs/service.yaml --every 300
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Failed
from pydantic import Field

from geoseg.errors import ConfigError, GeosegError
from geoseg.flows.dispatch import PrefectDispatcher
from geoseg.flows.feedback import FlowProgress, shown, tidy_prefect
from geoseg.flows.stale_polls import end_overtaken
from geoseg.flows.steps import mistake

ServiceFile = Annotated[
    str,
    Field(
        min_length=1,
        examples=["configs/service.yaml"],
        json_schema_extra={
            "title": "Service file",
            "description": "Areas, sources and destination (YAML), as the Prefect worker can read it.",
        },
    ),
]


@flow(name="watch-imagery", description=__doc__)
def watch_imagery(service: ServiceFile) -> Any:
    """Look for new imagery once."""
    tidy_prefect()
    with shown():
        end_overtaken()
    try:
        record = poll_once(service)
    except GeosegError as error:
        return mistake(error)
    with shown():
        create_table_artifact(table(record), key="geoseg-areas-waiting", description="Areas")
    text = summary(record)
    failed = record["failed"] or "unreconciled" in record
    return Failed(message=text) if failed else Completed(message=text)


def poll_once(service: str) -> dict[str, Any]:
    """One poll, with Prefect to start the runs."""
    from geoseg.io import configs
    from geoseg.service.ledger.ledger import Ledger
    from geoseg.service.poll import poll

    path = Path(service).resolve()
    config = configs.load_service(path)
    runs = PrefectDispatcher(config.deployment, str(path))
    with Ledger.open(config) as ledger, runs as dispatcher:
        return poll(config, ledger, dispatcher, FlowProgress())


def table(record: dict[str, Any]) -> list[dict[str, str]]:
    """How each area stands, those that failed first."""
    failed = [{"area": name, "failed": why, "stands": ""} for name, why in record["failed"].items()]
    others = record["waiting"].items()
    return [*failed, *({"area": name, "failed": "", "stands": why} for name, why in others)]


def summary(record: dict[str, Any]) -> str:
    """A poll in one line."""
    counts = ("seen", "claimed", "started", "retried", "lost", "cancelled")
    parts = [f"{record[name]} {name}" for name in counts if record.get(name)]
    failed = [f"{name}: {why}" for name, why in record["failed"].items()]
    text = f"{record['areas']} areas; " + (", ".join(parts) or "nothing new")
    if "unreconciled" in record:
        text += f"; orders under way were not looked after: {record['unreconciled']}"
    return "; ".join([text, *failed[:3]]) + ("; ..." if len(failed) > 3 else "")


def main(service: str, every: float | None = None) -> int:
    """Look once, or again and again until interrupted; returns the exit code of the last poll: 2
    where an area could not be looked at, the others were."""
    if not PREFECT_API_URL.value():
        raise ConfigError(
            "no Prefect server is named, so there is nobody to start a run; set PREFECT_API_URL, "
            "such as http://127.0.0.1:4200/api"
        )
    while True:
        began = time.monotonic()
        state: Any = watch_imagery(service, return_state=True)
        print(state.message, file=sys.stderr if state.is_failed() else sys.stdout, flush=True)
        if every is None:
            return 2 if state.is_failed() else 0
        time.sleep(max(0.0, every - (time.monotonic() - began)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m geoseg.flows.watch_imagery",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--service", required=True, help="the service file (YAML)")
    parser.add_argument("--every", type=float, help="look again so many seconds later [once]")
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    try:
        sys.exit(main(given.service, given.every))
    except KeyboardInterrupt:
        sys.exit(130)
    except GeosegError as error:
        print(f"geoseg: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
