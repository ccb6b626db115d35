"""Scores in lines, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def score_lines(scores: dict[str, Any]) -> Iterator[str]:
    """The test_scores score, its classes, and the baseline beside it."""
    test_scores = scores.get("test_scores")
    if not test_scores:
        yield "no score: the config names no truth and holds no labels back"
        return
    yield f"{test_scores['pixels']} unseen pixels ({test_scores['source']})"
    for line in headline(scores):
        yield f"  {line}"
    yield f"  {'class':<24} {'pixels':>10} {'IoU':>7} {'precision':>10} {'recall':>7}"
    for entry in test_scores["classes"]:
        figures = [entry[key] for key in ("iou", "precision", "recall")]
        shown = ["    -" if value is None else f"{value:.3f}" for value in figures]
        yield (
            f"  {entry['name'][:24]:<24} {entry['pixels']:>10} {shown[0]:>7} {shown[1]:>10} "
            f"{shown[2]:>7}"
        )


def headline(scores: dict[str, Any]) -> Iterator[str]:
    """One line per method: overall accuracy and mean IoU on unseen pixels."""
    rows = [("this map", scores.get("test_scores")), ("random forest", scores.get("random_forest"))]
    for name, row in rows:
        if row:
            yield (
                f"{name:<14} overall accuracy {row['overall_accuracy']:.3f}, "
                f"mean IoU {row['mean_iou']:.3f}"
            )
