"""The step that scores the map on labels that training never saw, beside the baseline."""

from __future__ import annotations

from geoseg.errors import ProductError
from geoseg.imagery.labels import Labels
from geoseg.learning.compare import random_forest
from geoseg.learning.evaluate import HeldBack, Reference, Truth, evaluate
from geoseg.learning.samples import Source
from geoseg.learning.split import Split
from geoseg.model.bundle import load_card
from geoseg.pipeline.labels import labels_of, split_of
from geoseg.pipeline.run import Record, Run


def evaluate_map(run: Run) -> Record:
    """Score the map, and the baseline, on pixels whose labels training never saw.

    The record has ``test_scores`` and ``random_forest``, each only where the config gives what it needs.
    """
    if not run.folder.class_map.is_file():
        raise ProductError(f"{run.folder.class_map} is not there yet; predict it first")
    with run.step("evaluate") as record:
        labels = labels_of(run) if run.config.labels else None
        split = split_of(run, labels) if labels else None
        reference = _reference(run, labels, split)
        if reference:
            record["test_scores"] = evaluate(run.folder.class_map, run.legend, reference).to_dict()
            if run.config.random_forest and labels and split:
                record["random_forest"] = _random_forest(run, labels, split, reference)
    return record


def _reference(run: Run, labels: Labels | None, split: Split | None) -> Reference | None:
    """The truth where it is given, else the labels held back, else nothing."""
    if run.config.truth:
        return Truth(run.config.truth, run.legend, labels)
    if labels and split and run.config.split.test:
        return HeldBack(labels, split)
    return None


def _random_forest(run: Run, labels: Labels, split: Split, reference: Reference) -> Record:
    source = Source(run.scenes, labels, split, len(run.legend))
    normalization = load_card(run.bundle).normalization
    forest = random_forest(source, run.legend, normalization, reference, run.progress)
    return forest.to_dict()
