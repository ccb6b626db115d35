"""Entry of the flow ``watch-imagery``, which ``prefect.yaml`` names.

The flow itself is in the package. To adapt it, copy this file, wrap or replace the flow here, and
name the copy.
"""

from geoseg.flows.watch_imagery import watch_imagery

__all__ = ["watch_imagery"]
