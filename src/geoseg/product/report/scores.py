"""Scores on unseen pixels, arranged for reading: per class, confusions, beside a simpler method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MATRIX = 40
"""Classes up to which the page shows the whole confusion matrix; JSON has it in any case."""

CONFUSIONS = 6
"""The most frequent ones are told in words."""

_SOURCES = {
    "truth": "the given truth, without the pixels whose labels training was given",
    "test_split": "the labels that were held back from training",
}
_BASELINES = {"random_forest": "Random forest, pixel by pixel"}


def scores_view(
    scores: Mapping[str, Any] | None, areas: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Scores with each class's colour and balance, the confusion matrix, and its largest cells."""
    if not scores or not scores.get("pixels"):
        return None
    colors = {a["code"]: a["color"] for a in areas}
    matrix = scores.get("confusion") or []
    mapped = [sum(column) for column in zip(*matrix, strict=True)]
    classes = []
    for number, row in enumerate(scores.get("classes") or []):
        there = sum(matrix[number]) if number < len(matrix) else 0
        balance = mapped[number] / there - 1 if there else None
        classes.append({"color": colors.get(row["code"]), "balance": balance, **row})
    source = scores.get("source") or ""
    return {
        **scores,
        "classes": classes,
        "matrix": _matrix(classes, matrix) if len(classes) <= MATRIX else [],
        "confusions": _largest(classes, matrix),
        "against": _SOURCES.get(source, source or "labels not used in training"),
        "test_split": source == "test_split",
    }


def _matrix(
    classes: Sequence[Mapping[str, Any]], matrix: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """Rows of the matrix, with each cell's share of its row."""
    rows: list[dict[str, Any]] = []
    for entry, row in zip(classes, matrix, strict=False):
        total = sum(row)
        cells = [
            {"pixels": n, "share": n / (total or 1), "right": i == len(rows)}
            for i, n in enumerate(row)
        ]
        rows.append({"entry": entry, "cells": cells, "pixels": total})
    return rows


def _largest(
    classes: Sequence[Mapping[str, Any]], matrix: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """The most frequent confusions: what is there, what the map says, and how often."""
    cells = [
        {"there": classes[i]["name"], "map": classes[j]["name"], "pixels": n, "share": n / sum(row)}
        for i, row in enumerate(matrix)
        for j, n in enumerate(row)
        if n and i != j
    ]
    return sorted(cells, key=lambda cell: -int(cell["pixels"]))[:CONFUSIONS]


def comparison(
    test_scores: Mapping[str, Any] | None, baselines: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The map beside its baselines; empty where there is nothing to compare."""
    if not test_scores or not baselines:
        return []
    bars = [{"label": "This map", "own": True, **test_scores}]
    for key, scores in baselines.items():
        bars.append({"label": _BASELINES.get(key, key), "own": False, **scores})
    return [bar for bar in bars if bar.get("overall_accuracy") is not None]


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
