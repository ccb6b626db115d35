"""The flow ``crop-map``: a season of rasters in, a crop-type map, its polygons and a report out.

Each task is one step of geoseg and passes on nothing but small records: pixels stay in files, and
blocks go to Dask workers inside the predict task. Run it with

    python -m geoseg.flows.crop_map --config configs/demo.yaml
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any, cast

# Where no server is named, Prefect starts one of its own: it need not call home, and its lines would
# stand between the progress bars. What goes wrong is told by `main`. On a busy machine the server may
# take longer than Prefect's 20 s.
if "PREFECT_API_URL" not in os.environ:
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "300")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")

from prefect import State, flow
from prefect.states import Completed

from geoseg.errors import GeosegError
from geoseg.flows import orders, orphan_reaper
from geoseg.flows.feedback import publish_map, publish_products
from geoseg.flows.orders import OrderNumber, Service
from geoseg.flows.steps import (
    Config,
    Output,
    RunRef,
    Scheduler,
    StepCall,
    evaluate,
    in_turn,
    open_run,
    scheduler_or_default,
    select,
    step,
    train,
)
from geoseg.io import logs
from geoseg.pipeline import progress_file


@step("predict")
def predict(place: RunRef, scheduler: str) -> dict[str, Any]:
    """Plan the blocks and predict each on the Dask workers."""
    from geoseg.pipeline import predict

    return predict.predict_blocks(open_run(place), scheduler=scheduler)


@step("stitch")
def stitch(place: RunRef) -> dict[str, Any]:
    """Put the blocks together into the two cloud-optimized GeoTIFFs."""
    from geoseg.pipeline import stitch

    return stitch.finish_map(open_run(place))


@step("vectorize")
def vectorize(place: RunRef) -> dict[str, Any]:
    """Turn the class raster into crop polygons."""
    from geoseg.pipeline import vectorize

    return vectorize.vectorize_map(open_run(place))


@step("parcels")
def parcels(place: RunRef) -> dict[str, Any]:
    """Say the crop of each parcel of the config's layer, and check what was declared."""
    from geoseg.pipeline import parcels as operation

    return operation.check_run(open_run(place))


@step("report")
def report(place: RunRef) -> dict[str, Any]:
    """Write quicklook and report, and show them in Prefect."""
    from geoseg.pipeline import report

    run = open_run(place)
    record = report.write_reports(run)
    publish_products(
        {
            "areas": record["areas"],
            "report": run.folder.report.as_uri(),
            "status": progress_file.progress_path(run.folder.root).as_uri(),
        }
    )
    return record


def show(place: RunRef) -> State[Any]:
    """Put the map and its quality summary first on the run's page. No task: see ``publish_map``."""
    from geoseg.pipeline import report

    run = open_run(place)
    publish_map(run.folder.quicklook, report.quality_summary(run))
    return Completed()


@step("describe")
def describe(place: RunRef) -> dict[str, Any]:
    """Describe the products for catalogues, as a STAC item."""
    from geoseg.pipeline import describe

    return describe.describe_products(open_run(place))


@flow(name="crop-map", description=__doc__)
def crop_map(
    config: Config,
    output: Output = "",
    scheduler: Scheduler = "",
    service: Service = "",
    order: OrderNumber = 0,
) -> Any:
    """Make a crop-type map. What the parameters mean stands in ``geoseg.flows.steps``."""
    place = (config, output)
    scheduler = scheduler_or_default(scheduler)
    if not order:
        made = _make(place, scheduler)
        calls = [*made, (report, (place,)), (show, (place,)), (describe, (place,))]
        return in_turn(place, calls, "map, polygons and report are written")
    return _make_for(orders.job(service, order), place, scheduler)


def _make(place: RunRef, scheduler: str) -> list[StepCall]:
    """The steps to a map that can be judged."""
    return [
        (select, (place, scheduler)),
        (train, (place,)),
        (predict, (place, scheduler)),
        (stitch, (place,)),
        (vectorize, (place,)),
        (parcels, (place,)),
        (evaluate, (place,)),
    ]


def _make_for(job: orders.OrderRef, place: RunRef, scheduler: str) -> State[Any]:
    """The map of an order: from fetched imagery to what is published."""
    calls: list[StepCall] = [
        (orders.fetch, (job,)),
        *_make(place, scheduler),
        (orders.gates, (place, job)),
        (report, (place,)),
        (show, (place,)),
        (describe, (place,)),
        (orders.publish, (place, job)),
    ]
    return orders.while_lease_held(job, lambda: in_turn(place, calls, "the map is published"))


def main(config: str, output: str = "", scheduler: str = "") -> int:
    """Run the flow here; prints what was produced and returns the exit code."""
    from geoseg.pipeline import report
    from geoseg.pipeline.run import Run

    run = Run.open(Path(config), Path(output) if output else None)  # before a server is started
    orphan_reaper.start()
    state = cast(State[Any], crop_map(config, output, scheduler, return_state=True))
    if not state.is_completed():
        cause = state.result(raise_on_failure=False)
        if not isinstance(cause, GeosegError):
            raise cause  # a bug: its traceback is wanted
        if not logs.structured():
            print(f"geoseg: {state.message}", file=sys.stderr)
        return cause.exit_code
    for line in report.summary(run):
        print(line)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m geoseg.flows.crop_map",
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
