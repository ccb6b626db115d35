"""The deployment's entry of ``train-model``: imagery and labels in, a model bundle out.

The flow itself is in the package. To adapt it, copy this file and wrap or replace the flow here;
``prefect.yaml`` names the file.
"""

from geoseg.flows.train_model import train_model

__all__ = ["train_model"]
