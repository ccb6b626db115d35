"""How good a map is: every figure comes from one confusion matrix of pixel counts.

The matrix is small, adds up over windows, and holds all that accuracy figures need, so a scene of
any size is scored in one streaming pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import Legend


def count_confusion(
    reference: NDArray[np.integer], predicted: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Pixels per (reference, predicted) pair of model indices, ``int64[K, K]``.

    Pixels whose reference or prediction is negative (unknown) are left out.
    """
    both = (reference >= 0) & (predicted >= 0)
    pairs = reference[both].astype(np.int64) * classes + predicted[both]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True, eq=False)
class Scores:
    """Accuracy figures of one comparison. All are shares between 0 and 1 (kappa from -1).

    Means over classes take the classes that the reference holds: a class that is not there can be
    neither found nor missed. With nothing to compare, every figure is nan.
    """

    legend: Legend
    confusion: NDArray[np.int64]
    """``int64[K, K]``: rows are the reference, columns the map, in the legend's order."""
    source: str = ""
    """What the map was compared with."""
    unmapped: int = 0
    """Reference pixels where the map holds nodata; they are in no figure."""

    @cached_property
    def _hits(self) -> NDArray[np.float64]:
        return np.diagonal(self.confusion).astype(np.float64)

    @cached_property
    def _reference(self) -> NDArray[np.float64]:
        return np.asarray(self.confusion.sum(axis=1), dtype=np.float64)

    @cached_property
    def _mapped(self) -> NDArray[np.float64]:
        return np.asarray(self.confusion.sum(axis=0), dtype=np.float64)

    @property
    def pixels(self) -> int:
        """Pixels compared."""
        return int(self.confusion.sum())

    @property
    def overall_accuracy(self) -> float:
        """Share of the pixels whose class is right."""
        return _ratio(self._hits.sum(), self.pixels)

    @cached_property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union per class (Jaccard 1912): TP / (TP + FP + FN)."""
        return _ratios(self._hits, self._reference + self._mapped - self._hits)

    @cached_property
    def recall(self) -> NDArray[np.float64]:
        """Producer's accuracy per class (Congalton 1991): TP / (TP + FN)."""
        return _ratios(self._hits, self._reference)

    @cached_property
    def precision(self) -> NDArray[np.float64]:
        """User's accuracy per class (Congalton 1991): TP / (TP + FP)."""
        return _ratios(self._hits, self._mapped)

    @cached_property
    def f1(self) -> NDArray[np.float64]:
        """Dice coefficient per class (Dice 1945): 2 TP / (2 TP + FP + FN)."""
        return _ratios(2 * self._hits, self._reference + self._mapped)

    @property
    def mean_iou(self) -> float:
        """Mean of the classes' IoU."""
        return self._mean(self.iou)

    @property
    def mean_class_accuracy(self) -> float:
        """Mean of the classes' recall."""
        return self._mean(self.recall)

    @property
    def macro_f1(self) -> float:
        """Mean of the classes' F1."""
        return self._mean(self.f1)

    @property
    def kappa(self) -> float:
        """Cohen's kappa (1960): agreement beyond what the two class shares give by chance."""
        if not self.pixels:
            return float("nan")
        chance = float(self._reference @ self._mapped) / self.pixels**2
        return _ratio(self.overall_accuracy - chance, 1 - chance)

    def _mean(self, values: NDArray[np.float64]) -> float:
        present = self._reference > 0
        return float(values[present].mean()) if present.any() else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; a figure that does not exist is None."""
        names = ("overall_accuracy", "mean_iou", "mean_class_accuracy", "macro_f1", "kappa")
        return {
            "source": self.source,
            "pixels": self.pixels,
            "unmapped": self.unmapped,
            **{name: _plain(getattr(self, name)) for name in names},
            "classes": [self._class(index) for index in range(len(self.legend))],
            "confusion": self.confusion.tolist(),
        }

    def _class(self, index: int) -> dict[str, Any]:
        entry = self.legend.classes[index]
        figures = {
            name: _plain(getattr(self, name)[index])
            for name in ("iou", "precision", "recall", "f1")
        }
        pixels = int(self._reference[index])
        return {"code": entry.code, "name": entry.name, "pixels": pixels, **figures}


def _ratio(part: float, whole: float) -> float:
    return float(part) / whole if whole else float("nan")


def _ratios(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Elementwise; nan where there is nothing to divide by."""
    out = np.full(part.shape, np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)
