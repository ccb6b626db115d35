"""The flow ``train-model``: imagery and labels in, a model bundle out.

A map of another season then names the bundle in its config (``model: {bundle: ...}``) and is made
without labels.
"""

from __future__ import annotations

from typing import Any

from prefect import flow

from geoseg.flows.steps import Config, Output, in_turn, select, train


@flow(name="train-model", description=__doc__)
def train_model(config: Config, output: Output = "") -> Any:
    """Train a model on the config's imagery and labels; writes ``model`` into the output folder.

    A training that is finished for the same input is not done again.
    """
    place = (config, output)
    return in_turn(place, [(select, (place, "")), (train, (place,))], "the model is trained")
