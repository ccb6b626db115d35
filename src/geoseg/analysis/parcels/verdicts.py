"""What the map says of each parcel, and whether that speaks for or against what was declared.

The traffic light of paying agencies' checks: green where the map confirms the declaration, red where
it contradicts it, yellow where it cannot tell. A verdict either way needs the same evidence: more
than half of the parcel's mapped area is one crop, and the map is sure of it there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.analysis.parcels.declared import NONE, UNKNOWN
from geoseg.legend import Legend

AGREES, UNSURE, DISAGREES = "agrees", "unsure", "disagrees"
NO_DATA, UNKNOWN_DECLARATION, NOT_DECLARED = "no data", "unknown declaration", "not declared"

CHECKS = {
    AGREES: "#2e9e4f",
    UNSURE: "#f2c230",
    DISAGREES: "#d62f2f",
    UNKNOWN_DECLARATION: "#9467bd",
    NOT_DECLARED: "#bcbd22",
    NO_DATA: "#9aa3ad",
}
"""Each value of ``check`` and its colour."""

Column = NDArray[np.generic]


@dataclass(frozen=True)
class Limits:
    """How much evidence a verdict needs. In percent."""

    above: float = 80.0
    """Least mean confidence of the majority class within the parcel."""
    share: float = 50.0
    """Least share of the majority class in the parcel's mapped area."""
    mapped: float = 50.0
    """Least share of the parcel that must have a class; below it there is no data."""


@dataclass(frozen=True)
class ParcelVotes:
    """Sums over the pixels of ``n`` parcels, each pixel weighted with the part that is covered."""

    cover: NDArray[np.float64]
    """``[n, K]``: pixels of each class."""
    certainty: NDArray[np.float64]
    """``[n, K]``: confidence (percent) times pixels of each class."""
    total: NDArray[np.float64]
    """``[n]``: pixels of the map, those without a class too."""


@dataclass(frozen=True)
class Findings:
    """What the map says of ``n`` parcels. NaN, and class -1, where it says nothing."""

    majority: NDArray[np.int64]
    """Place in the legend of the class that covers most; the first of equals."""
    share: NDArray[np.float64]
    """Percent of the mapped area that is of the majority class."""
    confidence: NDArray[np.float64]
    """Mean confidence of the pixels of the majority class, in percent."""
    mean_confidence: NDArray[np.float64]
    """Mean confidence of all mapped pixels, in percent."""
    classified: NDArray[np.float64]
    """Pixels that have a class."""
    shares: NDArray[np.float64]
    """``[n, K]``: percent of the mapped area, class by class."""


def find(tally: ParcelVotes) -> Findings:
    """Majority, shares and confidences, rounded to two digits: verdicts follow what is published."""
    classified = tally.cover.sum(axis=1)
    nothing = classified <= 0
    # Fractions are exact to 1e-7: what differs by less is equal, and the legend's order decides.
    majority = np.round(tally.cover, 4).argmax(axis=1)
    row = np.arange(len(majority))
    most, sure = tally.cover[row, majority], tally.certainty[row, majority]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.round(100 * tally.cover / classified[:, np.newaxis], 2)
        confidence = np.round(sure / most, 2)
        mean = np.round(tally.certainty.sum(axis=1) / classified, 2)
    return Findings(
        np.where(nothing, -1, majority), shares[row, majority], confidence, mean, classified, shares
    )


def judge(
    found: Findings, pixels: NDArray[np.float64], declared: NDArray[np.int64], limits: Limits
) -> NDArray[np.object_]:
    """``object[n]``: the verdict on each parcel.

    ``pixels``: area of the parcels in pixels, outside the map too; ``declared``: place in the
    legend, ``UNKNOWN`` or ``NONE``.
    """
    sure = (found.share >= limits.share) & (found.confidence >= limits.above)
    check = np.full(len(declared), UNSURE, dtype=object)
    check[sure & (found.majority == declared)] = AGREES
    check[sure & (found.majority != declared)] = DISAGREES
    check[found.classified < limits.mapped / 100 * pixels - 1e-4] = NO_DATA
    check[found.majority < 0] = NO_DATA
    check[declared == UNKNOWN] = UNKNOWN_DECLARATION
    check[declared == NONE] = NOT_DECLARED
    return check


def disagreement(tally: ParcelVotes, declared: NDArray[np.int64]) -> NDArray[np.float64]:
    """How strongly the map speaks against the declared class: percent, NaN where it cannot.

    Mean over the mapped pixels of their confidence where they have another class, 0 elsewhere: 0
    where every pixel is what was declared, 100 where none is and the map is certain of it.
    """
    classified = tally.cover.sum(axis=1)
    own = tally.certainty[np.arange(len(declared)), np.maximum(declared, 0)]
    with np.errstate(invalid="ignore", divide="ignore"):
        against = np.maximum(0, tally.certainty.sum(axis=1) - own) / classified
    return np.where((declared < 0) | (classified <= 0), np.nan, np.round(against, 2))


def class_names(legend: Legend, indices: NDArray[np.int64]) -> NDArray[np.object_]:
    """Names of classes by their places in the legend; None for a negative one."""
    return np.array([*legend.names, None], dtype=object)[np.where(indices < 0, -1, indices)]
