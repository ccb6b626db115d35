"""What a run does for an order of the service, around the steps that make the map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from prefect import State, runtime
from pydantic import Field

from geoseg.errors import GeosegError, of_place
from geoseg.flows.feedback import FlowProgress, publish_gates, tidy_prefect
from geoseg.flows.steps import RunRef, mistake, open_run, step

HELD = "Held"
"""Name of the state of a run that met a fault of its place: the order waits, and uses up no try."""

OrderRef = tuple[str, int, str]
"""Service file, number of the order, id of the run."""

Service = Annotated[
    str,
    Field(
        examples=["configs/service.yaml"],
        json_schema_extra={
            "title": "Service file",
            "description": "Filled in by watch-imagery; leave it empty for a map of your own.",
        },
    ),
]
OrderNumber = Annotated[
    int,
    Field(
        ge=0,
        json_schema_extra={
            "title": "Order",
            "description": "Number of an order in the service's ledger; filled in by watch-imagery. "
            "0: none, the map stays in its folder.",
        },
    ),
]


def job(service: str, order: int) -> OrderRef:
    """This run and its order."""
    return service, order, str(runtime.flow_run.id)


def _assignment(job: OrderRef) -> Any:
    from geoseg.service.order_run import OrderRun

    service, order, run = job
    return OrderRun(Path(service), order, run)


@step("fetch")
def fetch(job: OrderRef) -> dict[str, Any]:
    """Download what of the order's imagery is elsewhere."""
    from geoseg.service import order_run

    return order_run.fetch(_assignment(job), FlowProgress())


@step("gates")
def gates(place: RunRef, job: OrderRef) -> dict[str, Any]:
    """Measure what a map must pass to be published."""
    from geoseg.service import order_run

    record = order_run.judge(open_run(place), _assignment(job))
    publish_gates(record["gates"])
    return record


@step("publish")
def publish(place: RunRef, job: OrderRef) -> dict[str, Any]:
    """Publish the map where it has passed its gates."""
    from geoseg.service import order_run

    return order_run.publish(open_run(place), _assignment(job))


def while_lease_held(job: OrderRef, work: Callable[[], State[Any]]) -> State[Any]:
    """Do the work while the order is this run's, and tell the ledger where it fails."""
    from geoseg.service import order_run

    assignment = _assignment(job)
    tidy_prefect()
    try:
        with order_run.lease_held(assignment):
            state = work()
            if not state.is_completed():
                failure = _failure(state)
                order_run.tell(assignment, failure)
                return _named(state, failure.of_place)
            return state
    except GeosegError as error:  # the order has ended, is another's, or the ledger is away
        return _named(mistake(error), error.of_place)


def _failure(state: State[Any]) -> Any:
    from geoseg.service import order_run

    cause = state.result(raise_on_failure=False)
    message = state.message or "it failed"
    if not isinstance(cause, GeosegError):
        return order_run.Failure(message, of_place=of_place(cause))
    return order_run.Failure(message, cause.retryable, cause.exit_code, of_place(cause))


def _named(state: State[Any], held: bool) -> State[Any]:
    """``Held`` tells the watcher too, where the ledger was away and could not be told."""
    return state.model_copy(update={"name": HELD}) if held else state
