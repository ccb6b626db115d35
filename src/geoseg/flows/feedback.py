"""Progress and products where a Prefect user looks for them: logs and artifacts."""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from httpx import HTTPError
from prefect import get_run_logger, runtime
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.exceptions import CancelledRun, FailedRun, PrefectHTTPStatusError

from geoseg.errors import GeosegError
from geoseg.feedback import Console, Step
from geoseg.io import logs

EVERY = 5
"""Percent between two updates of a progress artifact; each is a request to the server."""

SHOWN = frozenset({"training", "predict"})
"""The work that takes long enough to be watched from afar."""


@contextmanager
def shown() -> Iterator[None]:
    """For what only shows a run: a server or its database that is away for a moment must not end it."""
    try:
        yield
    except (PrefectHTTPStatusError, HTTPError, RuntimeError) as error:  # the last: no connection
        logs.log.warning("not shown on the run's page: %s", error)


class FlowProgress:
    """A bar or log lines, and for the longest work a Prefect progress artifact."""

    def __init__(self) -> None:
        deployed = runtime.deployment.id is not None
        self._console = Console(_log if deployed else None)

    def start(self, what: str, total: int, unit: str) -> Step:
        """See ``geoseg.feedback.Progress.start``."""
        step = self._console.start(what, total, unit)
        return _FlowStep(step, what, total, unit) if what in SHOWN else step

    def say(self, line: str) -> None:
        """See ``geoseg.feedback.Progress.say``."""
        self._console.say(line)

    def note(self, facts: Mapping[str, Any]) -> None:
        """See ``geoseg.feedback.Progress.note``: of these only a link is for people."""
        if facts.get("dashboard"):
            with shown():
                create_link_artifact(
                    facts["dashboard"],
                    link_text="Dask dashboard",
                    key="geoseg-dask",
                    description="The workers of this run, while it predicts",
                )


def _log(line: str) -> None:
    """A line of news where nobody watches: Prefect's log, and geoseg's own."""
    get_run_logger().info(line)
    logs.log.info(line)


def flow_facts() -> dict[str, Any]:
    """What a run's progress file says of its flow run; no link to a server that goes with the run."""
    flow_run = str(runtime.flow_run.id or "")
    logs.about({"flow_run": flow_run})
    url = runtime.flow_run.ui_url if os.environ.get("PREFECT_API_URL") else None
    return {"prefect": {"run": flow_run, **({"url": url} if url else {})}}


class _Reasons(logging.Filter):
    """Tells by its message alone what a user can mend, or has done: Prefect adds the way it came."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten in place; every record passes."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, (GeosegError, FailedRun, CancelledRun)):
            record.msg, record.args, record.exc_text = str(error), (), None
            error = None
        if error is None:  # of a state that was returned Prefect logs "NoneType: None"
            record.exc_info = None
        return True


def tidy_prefect() -> None:
    """Keep secrets, and tracebacks of what is no bug, out of what Prefect logs for a run."""
    for name in ("prefect", "prefect.flow_runs", "prefect.task_runs"):
        for handler in logging.getLogger(name).handlers:
            if not any(isinstance(known, logs.Redacting) for known in handler.filters):
                handler.addFilter(_Reasons())
                handler.addFilter(logs.Redacting())


class _FlowStep:
    def __init__(self, step: Step, what: str, total: int, unit: str) -> None:
        self._step, self._what, self._total, self._unit = step, what, max(1, total), unit
        self._done, self._told = 0, 0
        self._artifact: UUID | None = None

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._step.advance(steps, note)
        self._done += steps
        percent = min(100, 100 * self._done // self._total)
        if percent - self._told >= EVERY or percent == 100 > self._told:
            self._told = percent
            with shown():
                self._publish(float(percent))

    def _publish(self, percent: float) -> None:
        if self._artifact is None:
            text = f"{self._what}: {self._total} {self._unit}"
            key = f"geoseg-{self._what}"
            made = create_progress_artifact(percent, key=key, description=text)
            assert isinstance(made, UUID)  # a coroutine only where the caller is one
            self._artifact = made
        else:
            update_progress_artifact(self._artifact, percent)

    def __enter__(self) -> Self:
        self._step.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._step.__exit__(*error)


def publish_products(products: dict[str, Any]) -> None:
    """The table of areas, and links to the report and the progress file."""
    with shown():
        create_table_artifact(
            _readable(products["areas"]), key="geoseg-areas", description="Area per class"
        )
        create_link_artifact(
            products["report"],
            link_text="Report",
            key="geoseg-report",
            description="The whole report",
        )
        create_link_artifact(
            products["status"],
            link_text="Status",
            key="geoseg-status",
            description="The run's progress file, as geoseg status reads it",
        )


def _readable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with four digits of each fraction."""
    return [
        {key: float(f"{v:.4g}") if isinstance(v, float) else v for key, v in row.items()}
        for row in rows
    ]


def publish_gates(verdicts: list[dict[str, Any]]) -> None:
    """What the map had to pass, as a table on the run's page."""
    first = ("name", "passed", "why")  # the page shows columns in this order, and cuts the last
    rows = [{**{key: verdict[key] for key in first}, **verdict} for verdict in verdicts]
    with shown():
        create_table_artifact(_readable(rows), key="geoseg-gates", description="Quality gates")


def publish_map(quicklook: Path, quality_summary: str) -> None:
    """The map, and what tells at a glance whether it can be trusted.

    Called in the flow's body, outside of its tasks: the run's page has what is the flow's own first,
    and the order among others is by chance.
    """
    picture = base64.b64encode(quicklook.read_bytes()).decode()
    with shown():
        create_image_artifact(
            f"data:image/png;base64,{picture}", key="geoseg-quicklook", description="The map"
        )
        create_markdown_artifact(quality_summary, key="geoseg-map", description="Is the map sound?")
