"""The deployment's entry of ``crop-map``: a season of rasters in, a crop-type map, its polygons and a report out.

The flow itself is in the package. To adapt it, copy this file and wrap or replace the flow here;
``prefect.yaml`` names the file.
"""

from geoseg.flows.crop_map import crop_map

__all__ = ["crop_map"]
