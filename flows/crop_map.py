"""Entry of the flow ``crop-map``, which ``prefect.yaml`` names.

The flow itself is in the package. To adapt it, copy this file, wrap or replace the flow here, and
name the copy.
"""

from geoseg.flows.crop_map import crop_map

__all__ = ["crop_map"]
