"""The deployment's entry of ``evaluate-map``: the map of a finished run, scored again.

The flow itself is in the package. To adapt it, copy this file and wrap or replace the flow here;
``prefect.yaml`` names the file.
"""

from geoseg.flows.evaluate_map import evaluate_map

__all__ = ["evaluate_map"]
