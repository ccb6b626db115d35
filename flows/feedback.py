"""Progress and products where a Prefect user looks for them: logs and artifacts."""

from __future__ import annotations

import base64
from typing import Any, Self
from uuid import UUID

from prefect import get_run_logger, runtime
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from geoseg.feedback import Console, Step

EVERY = 5
"""Percent between two updates of a progress artifact; each is a request to the server."""

SHOWN = frozenset({"training", "predict"})
"""The work that takes long enough to be watched from afar."""


class FlowProgress:
    """A bar or log lines, and for the longest work a Prefect progress artifact."""

    def __init__(self) -> None:
        deployed = runtime.deployment.id is not None
        self._console = Console(get_run_logger().info if deployed else None)

    def start(self, what: str, total: int, unit: str) -> Step:
        """See ``geoseg.feedback.Progress.start``."""
        step = self._console.start(what, total, unit)
        return _FlowStep(step, what, total, unit) if what in SHOWN else step

    def say(self, line: str) -> None:
        """See ``geoseg.feedback.Progress.say``."""
        self._console.say(line)


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
            self._publish(float(percent))

    def _publish(self, percent: float) -> None:
        if self._artifact is None:
            text = f"{self._what}: {self._total} {self._unit}"
            key = f"geoseg-{self._what}"
            self._artifact = create_progress_artifact(percent, key=key, description=text)
        else:
            update_progress_artifact(self._artifact, percent)

    def __enter__(self) -> Self:
        self._step.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._step.__exit__(*error)


def publish_products(products: dict[str, Any]) -> None:
    """The table of areas, the link to the report and the quicklook as artifacts of this run."""
    create_table_artifact(products["areas"], key="geoseg-areas", description="Area per class")
    create_link_artifact(
        products["report"], link_text="Report", key="geoseg-report", description="The whole report"
    )
    picture = base64.b64encode(products["quicklook"].read_bytes()).decode()
    create_image_artifact(
        f"data:image/png;base64,{picture}", key="geoseg-quicklook", description="The map"
    )


def publish_gates(verdicts: list[dict[str, Any]]) -> None:
    """What the map had to pass, as a table on the run's page."""
    create_table_artifact(verdicts, key="geoseg-gates", description="Quality gates")
