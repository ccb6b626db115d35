"""Entry of the flow ``evaluate-map``, which ``prefect.yaml`` names.

The flow itself is in the package. To adapt it, copy this file, wrap or replace the flow here, and
name the copy.
"""

from geoseg.flows.evaluate_map import evaluate_map

__all__ = ["evaluate_map"]
