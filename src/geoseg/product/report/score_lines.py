"""Scores in lines, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def score_lines(scores: dict[str, Any]) -> Iterator[str]:
    """The unseen score, its classes, and the baseline beside it."""
    unseen = scores.get("unseen")
    if not unseen:
        yield "no score: the config names no truth and holds no labels back"
        return
    yield f"{unseen['pixels']} unseen pixels ({unseen['source']})"
    for line in headline(scores):
        yield f"  {line}"
    yield f"  {'class':<24} {'pixels':>10} {'IoU':>7} {'precision':>10} {'recall':>7}"
    for entry in unseen["classes"]:
        figures = [entry[key] for key in ("iou", "precision", "recall")]
        shown = ["    -" if value is None else f"{value:.3f}" for value in figures]
        yield (
            f"  {entry['name'][:24]:<24} {entry['pixels']:>10} {shown[0]:>7} {shown[1]:>10} "
            f"{shown[2]:>7}"
        )


def headline(scores: dict[str, Any]) -> Iterator[str]:
    """One line per method: overall accuracy and mean IoU on unseen pixels."""
    rows = [("this map", scores.get("unseen")), ("random forest", scores.get("random_forest"))]
    for name, row in rows:
        if row:
            yield (
                f"{name:<14} overall accuracy {row['overall_accuracy']:.3f}, "
                f"mean IoU {row['mean_iou']:.3f}"
            )
