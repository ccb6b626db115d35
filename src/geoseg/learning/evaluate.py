"""Scoring a class map against what is known on the ground, window by window."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import EmptySelectionError
from geoseg.grid import Window
from geoseg.imagery.labels import Labels
from geoseg.io.raster import rasters
from geoseg.learning.metrics import Scores, count_confusion
from geoseg.learning.split import STEP, Part, Split
from geoseg.legend import NODATA, UNKNOWN, Legend


class Reference(Protocol):
    """What a map is compared with."""

    @property
    def source(self) -> str:
        """What it is, for the report: ``truth`` or `test_split`."""

    def read(self, window: Window) -> NDArray[np.int16]:
        """Model indices of a window; ``UNKNOWN`` where a pixel is not to be scored."""


@dataclass(frozen=True)
class Truth:
    """A raster of codes, without the pixels whose labels are given to training.

    All labelled pixels are left out, used or not: those dropped between two parts lie beside used
    ones. What remains is ground that training never saw.
    """

    path: Path
    legend: Legend
    labels: Labels | None = None
    """The labels given to training; None where the model was trained elsewhere."""
    ignore: tuple[int, ...] = ()
    """Codes that mean unknown, besides 255 and the raster's nodata value."""
    source: str = "truth"

    def read(self, window: Window) -> NDArray[np.int16]:
        """See ``Reference.read``. ``LabelError`` for a code outside the legend."""
        codes, present = rasters.read(self.path, [1], window)
        ignored = (NODATA, *self.ignore)
        known = np.where(present, codes[0], NODATA)
        indices = self.legend.to_indices(known, str(self.path), ignored)
        if self.labels is not None:
            indices[self.labels.read(window)[0] != UNKNOWN] = UNKNOWN
        return indices


@dataclass(frozen=True)
class HeldBack:
    """The labels that the split keeps from training."""

    labels: Labels
    split: Split
    source: str = "test_split"

    def read(self, window: Window) -> NDArray[np.int16]:
        """See ``Reference.read``."""
        known, fields = self.labels.read(window)
        known[self.split.parts(window, fields) != Part.TEST] = UNKNOWN
        return known


def evaluate(class_path: Path, legend: Legend, reference: Reference) -> Scores:
    """Scores of a class raster; pixels where it holds nodata are counted as ``unmapped``.

    Raises ``EmptySelectionError`` where no pixel of the map can be scored.
    """
    confusion = np.zeros((len(legend), len(legend)), dtype=np.int64)
    unmapped = 0
    for window in rasters.describe(class_path).grid.windows(STEP, STEP):
        wanted = reference.read(window)
        if not (wanted != UNKNOWN).any():
            continue
        codes, _ = rasters.read(class_path, [1], window)
        mapped = legend.to_indices(codes[0], str(class_path))
        confusion += count_confusion(wanted, mapped, len(legend))
        unmapped += int(((wanted != UNKNOWN) & (mapped == UNKNOWN)).sum())
    if not confusion.any():
        raise EmptySelectionError(
            f"{class_path}: no pixel to score against {reference.source}: none is both known and "
            "mapped. Check 'truth', or set split.test above 0."
        )
    return Scores(legend, confusion, reference.source, unmapped)
