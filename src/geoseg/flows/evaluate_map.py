"""The flow ``evaluate-map``: the map of a finished run, scored again.

For labels or a truth that came, or were mended, after the map was made. The map stays as it is; its
report and the artifacts on the run's page tell the new scores.
"""

from __future__ import annotations

from typing import Any

from prefect import flow

from geoseg.flows.crop_map import describe, report, show
from geoseg.flows.steps import Config, Output, evaluate, in_turn


@flow(name="evaluate-map", description=__doc__)
def evaluate_map(config: Config, output: Output = "") -> Any:
    """Score the map in the output folder on labels that training never saw."""
    place = (config, output)
    # The item holds the report's checksum.
    calls = [(evaluate, (place,)), (report, (place,)), (show, (place,)), (describe, (place,))]
    return in_turn(place, calls, "the map is scored")
