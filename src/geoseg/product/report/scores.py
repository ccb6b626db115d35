"""Scores on unseen pixels, arranged for reading: per class, confusions, beside a simpler method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
