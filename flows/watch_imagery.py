"""The deployment's entry of ``watch-imagery``: one poll of every area of a service; new maps are ordered.

The flow itself is in the package. To adapt it, copy this file and wrap or replace the flow here;
``prefect.yaml`` names the file.
"""

from geoseg.flows.watch_imagery import watch_imagery

__all__ = ["watch_imagery"]
