"""A run's labels, and how they are parted: what training and scoring have in common."""

from __future__ import annotations

from geoseg.imagery.labels import Labels, open_labels
from geoseg.learning.split import Split, plan_split
from geoseg.pipeline.run import Run


def labels_of(run: Run) -> Labels:
    """The labels that the config names, on the grid of the scenes. Raises ``LabelError``."""
    assert run.config.labels is not None
    return open_labels(run.config.labels, run.scenes[0].grid, run.legend)


def split_of(run: Run, labels: Labels) -> Split:
    """Which labels train, validate and test. Raises ``ConfigError`` and ``LabelError``."""
    return plan_split(labels, run.scenes[0].grid, len(run.legend), run.config.split)
