"""The flow ``crop-map``: a season of rasters in, a crop-type map, its polygons and a report out.

Each task is one step of geoseg and passes on nothing but small records: pixels stay in files, and
blocks go to Dask workers inside the predict task. Run it with

    python -m flows.crop_map --config configs/demo.yaml
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

# Where no server is named, Prefect starts one of its own: it need not call home, and its lines would
# stand between the progress bars. What goes wrong is told by `main`.
if "PREFECT_API_URL" not in os.environ:
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")

from prefect import State, flow, task
from prefect.states import Completed, Failed

from flows.feedback import FlowProgress, publish_products
from geoseg.errors import GeosegError

Place = tuple[str, str]
"""Config file and folder of the results."""


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
                return _mistake(error)

        prefect_task = task(run, name=name)

        def call(*arguments: Any) -> State[Any]:
            return prefect_task(*arguments, return_state=True)

        return call

    return decorate


def _mistake(error: GeosegError) -> State[Any]:
    return Failed(message=str(error), data={"exit_code": error.exit_code, "passing": error.passing})


def _open(place: Place) -> Any:
    from geoseg.operations.run import Run

    config, output = place
    return Run.open(Path(config), Path(output) if output else None, FlowProgress())


@step("select")
def select(place: Place, scheduler: str) -> dict[str, Any]:
    """Find the season's scenes and check that all fits together."""
    from geoseg.operations import selection

    return selection.select_scenes(_open(place), scheduler)


@step("train")
def train(place: Place) -> dict[str, Any]:
    """Train a model, unless the config names one or it was trained before."""
    from geoseg.operations import steps

    return steps.train_model(_open(place))


@step("predict")
def predict(place: Place, scheduler: str) -> dict[str, Any]:
    """Plan the blocks and predict each on the Dask workers."""
    from geoseg.operations import mapping

    return mapping.predict_blocks(_open(place), scheduler=scheduler)


@step("stitch")
def stitch(place: Place) -> dict[str, Any]:
    """Put the blocks together into the two cloud-optimized GeoTIFFs."""
    from geoseg.operations import mapping

    return mapping.finish_map(_open(place))


@step("vectorize")
def vectorize(place: Place) -> dict[str, Any]:
    """Turn the class raster into crop polygons."""
    from geoseg.operations import steps

    return steps.vectorize_map(_open(place))


@step("parcels")
def parcels(place: Place) -> dict[str, Any]:
    """Say the crop of each parcel of the config's layer, and check what was declared."""
    from geoseg.operations import parcels as operation

    return operation.check_run(_open(place))


@step("evaluate")
def evaluate(place: Place) -> dict[str, Any]:
    """Score the map on labels that training never saw."""
    from geoseg.operations import steps

    return steps.evaluate_map(_open(place))


@step("report")
def report(place: Place) -> dict[str, Any]:
    """Write quicklook and report, and show them in Prefect."""
    from geoseg.operations import reporting

    run = _open(place)
    record = reporting.write_reports(run)
    publish_products(
        {
            "areas": record["areas"],
            "report": run.folder.report.as_uri(),
            "quicklook": run.folder.quicklook,
        }
    )
    return record


@step("describe")
def describe(place: Place) -> dict[str, Any]:
    """Describe the products for catalogues, as a STAC item."""
    from geoseg.operations import publishing

    return publishing.describe_products(_open(place))


@flow(name="crop-map", description=__doc__)
def crop_map(config: str, output: str = "", scheduler: str = "") -> Any:
    """Make a crop-type map.

    Args:
        config: the run's config, a YAML file that this process can read.
        output: folder of the results; out/NAME of the config where empty.
        scheduler: address of a running Dask scheduler; workers on this machine where empty.
    """
    place = (config, output)
    try:
        with _open(place).alone():
            return _steps(place, scheduler or os.environ.get("GEOSEG_SCHEDULER", ""))
    except GeosegError as error:  # the config cannot be read, or another run works in the folder
        return _mistake(error)


def _steps(place: Place, scheduler: str) -> State[Any]:
    """The tasks, in their order, until one fails."""
    calls: list[tuple[Callable[..., State[Any]], tuple[Any, ...]]] = [
        (select, (place, scheduler)),
        (train, (place,)),
        (predict, (place, scheduler)),
        (stitch, (place,)),
        (vectorize, (place,)),
        (parcels, (place,)),
        (evaluate, (place,)),
        (report, (place,)),
        (describe, (place,)),
    ]
    for call, arguments in calls:
        state = call(*arguments)
        if not state.is_completed():
            # A state of its own: Prefect would sum a task's state up as "1/1 states failed".
            return Failed(message=state.message, data=state.result(raise_on_failure=False))
    return Completed(message="map, polygons and report are written")


def main(config: str, output: str = "", scheduler: str = "") -> int:
    """Run the flow here; prints what was produced and returns the exit code."""
    from geoseg.operations import reporting
    from geoseg.operations.run import Run

    run = Run.open(Path(config), Path(output) if output else None)  # before a server is started
    state = crop_map(config, output, scheduler, return_state=True)
    if not state.is_completed():
        cause = state.result(raise_on_failure=False)
        if isinstance(cause, BaseException):
            raise cause  # a bug: its traceback is wanted
        print(f"geoseg: {state.message}", file=sys.stderr)
        return int(cause["exit_code"])
    for line in reporting.summary(run):
        print(line)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m flows.crop_map",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", required=True, help="the run's config, a YAML file")
    parser.add_argument("--output", default="", help="folder of the results [out/NAME]")
    parser.add_argument("--scheduler", default="", help="address of a running Dask scheduler")
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    try:
        sys.exit(main(given.config, given.output, given.scheduler))
    except GeosegError as error:
        print(f"geoseg: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
