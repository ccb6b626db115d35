"""Entry of the flow ``train-model``, which ``prefect.yaml`` names.

The flow itself is in the package. To adapt it, copy this file, wrap or replace the flow here, and
name the copy.
"""

from geoseg.flows.train_model import train_model

__all__ = ["train_model"]
