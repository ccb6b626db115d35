"""What the flows share: their parameters as the Prefect page shows them, tasks, and their sequence."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

from prefect import State, task
from prefect.states import Completed, Failed
from pydantic import Field

from geoseg.errors import GateError, GeosegError
from geoseg.flows.feedback import FlowProgress, flow_facts, tidy_prefect
from geoseg.io import logs
from geoseg.pipeline import progress_file

RunRef = tuple[str, str]
"""Config file and folder of the results."""

StepCall = tuple[Callable[..., State[Any]], tuple[Any, ...]]
"""A step and its arguments."""


def _shown(title: str, description: str) -> dict[str, Any]:
    """Words for the form. Prefect puts the parameter's name and docstring over a Field's own."""
    return {"title": title, "description": description}


Config = Annotated[
    str,
    Field(
        min_length=1,
        examples=["configs/demo.yaml"],
        json_schema_extra=_shown(
            "Config", "The run's config, a YAML file that the Prefect worker can read."
        ),
    ),
]
Output = Annotated[
    str,
    Field(
        examples=["out/demo"],
        json_schema_extra=_shown(
            "Folder of the results",
            "out/NAME of the config where empty. The same folder again resumes what is unfinished.",
        ),
    ),
]
Scheduler = Annotated[
    str,
    Field(
        pattern=r"^$|^[a-z]+://.+",
        examples=["tls://127.0.0.1:8786"],
        json_schema_extra=_shown(
            "Dask scheduler",
            "Address of a running one. Where empty: GEOSEG_SCHEDULER of the Prefect worker, else "
            "workers of the run's own.",
        ),
    ),
]


def step(name: str) -> Callable[[Callable[..., Any]], Callable[..., State[Any]]]:
    """A Prefect task that gives its state: a user's mistake fails it with its message alone.

    Raised, the mistake would be logged with the traceback of every layer it came through.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., State[Any]]:
        @wraps(function)
        def run(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except GeosegError as error:
                return mistake(error)

        prefect_task = task(name=name)(run)

        def call(*arguments: Any) -> State[Any]:
            state: State[Any] = prefect_task(*arguments, return_state=True)
            return state

        return call

    return decorate


def mistake(error: GeosegError) -> State[Any]:
    """A failed state that says what a user can do, and what a program can."""
    return _failed(str(error), error)


def _failed(message: str | None, cause: Any) -> State[Any]:
    """A state of its own: Prefect would sum a task's state up as "1/1 states failed"."""
    gate = isinstance(cause, GateError)
    return Failed(message=message, data=cause, name="Quarantined" if gate else None)


def open_run(place: RunRef) -> Any:
    """The run of a place, which tells Prefect how far it is. Raises what ``Run.open`` does."""
    run = _open(place)
    run.progress.note(flow_facts())
    return run


def _open(place: RunRef) -> Any:
    from geoseg.pipeline.run import Run

    config, output = place
    return Run.open(Path(config), Path(output) if output else None, FlowProgress())


def scheduler_or_default(scheduler: str) -> str:
    """The scheduler named, else the one of this process's environment."""
    return scheduler or os.environ.get("GEOSEG_SCHEDULER", "")


def in_turn(place: RunRef, calls: Sequence[StepCall], done: str) -> State[Any]:
    """The steps one after the other, to the first that fails; ``done`` is said where none does.

    Nobody else may work in the place's folder meanwhile.
    """
    logs.configure()
    tidy_prefect()
    try:
        with _open(place).alone(), progress_file.ending():
            return _in_turn(calls, done)
    except GeosegError as error:  # the config cannot be read, or another run works in the folder
        return mistake(error)


def _in_turn(calls: Sequence[StepCall], done: str) -> State[Any]:
    for call, arguments in calls:
        state = call(*arguments)
        if not state.is_completed():
            logs.failure(state.message or "")
            progress_file.end_all("failed", state.message or "")
            return _failed(state.message, state.result(raise_on_failure=False))
    return Completed(message=done)


@step("select")
def select(place: RunRef, scheduler: str) -> dict[str, Any]:
    """Find the season's scenes and check that all fits together."""
    from geoseg.pipeline import select

    return select.select_scenes(open_run(place), scheduler)


@step("train")
def train(place: RunRef) -> dict[str, Any]:
    """Train a model, unless the config names one or it was trained before."""
    from geoseg.pipeline import train

    return train.train_model(open_run(place))


@step("evaluate")
def evaluate(place: RunRef) -> dict[str, Any]:
    """Score the map on labels that training never saw."""
    from geoseg.pipeline import evaluate

    return evaluate.evaluate_map(open_run(place))
