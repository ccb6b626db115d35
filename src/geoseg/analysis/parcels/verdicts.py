"""What the map says of each parcel, and whether that speaks for or against what was declared.

The traffic light of paying agencies' checks: green where the map confirms the declaration, red where
it contradicts it, yellow where it cannot tell. A verdict either way needs the same evidence: more
than half of the parcel's mapped area is one crop, and the map is sure of it there. What farmers
declared is put in the words of the legend; nothing is guessed: what is not known is counted.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParcelError
from geoseg.io.access import confine
from geoseg.legend import Legend, show, spell

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
    weighted_confidence: NDArray[np.float64]
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


def find(votes: ParcelVotes) -> Findings:
    """Majority, shares and confidences, rounded to two digits: verdicts follow what is published."""
    classified = votes.cover.sum(axis=1)
    nothing = classified <= 0
    # Fractions are exact to 1e-7: what differs by less is equal, and the legend's order decides.
    majority = np.round(votes.cover, 4).argmax(axis=1)
    row = np.arange(len(majority))
    most, sure = votes.cover[row, majority], votes.weighted_confidence[row, majority]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.round(100 * votes.cover / classified[:, np.newaxis], 2)
        confidence = np.round(sure / most, 2)
        mean = np.round(votes.weighted_confidence.sum(axis=1) / classified, 2)
    return Findings(
        np.where(nothing, -1, majority), shares[row, majority], confidence, mean, classified, shares
    )


def judge(
    findings: Findings, pixels: NDArray[np.float64], declared: NDArray[np.int64], limits: Limits
) -> NDArray[np.object_]:
    """``object[n]``: the verdict on each parcel.

    ``pixels``: area of the parcels in pixels, outside the map too; ``declared``: place in the
    legend, ``UNKNOWN`` or ``NONE``.
    """
    sure = (findings.share >= limits.share) & (findings.confidence >= limits.above)
    check = np.full(len(declared), UNSURE, dtype=object)
    check[sure & (findings.majority == declared)] = AGREES
    check[sure & (findings.majority != declared)] = DISAGREES
    check[findings.classified < limits.mapped / 100 * pixels - 1e-4] = NO_DATA
    check[findings.majority < 0] = NO_DATA
    check[declared == UNKNOWN] = UNKNOWN_DECLARATION
    check[declared == NONE] = NOT_DECLARED
    return check


def disagreement(votes: ParcelVotes, declared: NDArray[np.int64]) -> NDArray[np.float64]:
    """How strongly the map speaks against the declared class: percent, NaN where it cannot.

    Mean over the mapped pixels of their confidence where they have another class, 0 elsewhere: 0
    where every pixel is what was declared, 100 where none is and the map is certain of it.
    """
    classified = votes.cover.sum(axis=1)
    own = votes.weighted_confidence[np.arange(len(declared)), np.maximum(declared, 0)]
    with np.errstate(invalid="ignore", divide="ignore"):
        against = np.maximum(0, votes.weighted_confidence.sum(axis=1) - own) / classified
    return np.where((declared < 0) | (classified <= 0), np.nan, np.round(against, 2))


def class_names(legend: Legend, indices: NDArray[np.int64]) -> NDArray[np.object_]:
    """Names of classes by their places in the legend; None for a negative one."""
    return np.array([*legend.names, None], dtype=object)[np.where(indices < 0, -1, indices)]


UNKNOWN, NONE = -1, -2
"""In place of a class: declared as something the legend does not have; nothing declared."""

_LISTED = 100_000
"""Different unknown values that are told apart; a column of numbers has as many as it has rows."""


@dataclass
class Declarations:
    """From declared values to classes of the legend, counting the unknown ones."""

    place: Callable[[str], int]
    """Declared value, spelled as ``legend.spell`` does, to the class's place in the legend."""
    unknown: Counter[str] = field(default_factory=Counter)

    def to_indices(self, texts: NDArray[np.object_]) -> NDArray[np.int64]:
        """``int64[n]``: place in the legend, ``UNKNOWN`` or ``NONE``, of values from ``Batch.texts``."""
        return np.array([self._index(text) for text in texts.tolist()], dtype=np.int64)

    def _index(self, text: str | None) -> int:
        if text is None:
            return NONE
        index = self.place(text)
        if index == UNKNOWN and (text in self.unknown or len(self.unknown) < _LISTED):
            self.unknown[text] += 1
        return index


def declarations(legend: Legend, table: Path | None) -> Declarations:
    """Read declared values by a table, else as names of the legend, else as its codes.

    ``table`` is a CSV file with the columns ``declared`` and ``class``. Where it is given it alone
    counts: an authority's code 3 is not the legend's. A value with an empty class is one that the
    legend has nothing for. Raises ``ParcelError`` for a file that is no such table.
    """
    if table is not None:
        pairs = dict(_pairs(table, legend))
        return Declarations(lambda text: pairs.get(text, UNKNOWN))
    return Declarations(legend.place)


def _pairs(table: Path, legend: Legend) -> Iterator[tuple[str, int]]:
    places = {name: index for index, name in enumerate(legend.names)}
    seen: dict[str, str] = {}
    for number, (declared, name) in _rows(table):
        if seen.setdefault(declared, name) != name:
            raise ParcelError(
                f"{table}: row {number}: {declared!r} is {seen[declared]!r} above and {name!r} here; "
                "keep one of them"
            )
        if not name:
            continue
        if name not in places:
            raise ParcelError(
                f"{table}: row {number}: {show(name, places)} is not a class of the map; it has: "
                f"{', '.join(legend.names)}. Leave the class empty where the map has none."
            )
        yield declared, places[name]


def _rows(table: Path) -> Iterator[tuple[int, tuple[str, str]]]:
    """Row number and its two values; the separator is a comma, a semicolon or a tab."""
    confine.local(table)
    try:
        lines = table.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ParcelError(f"{table}: {error.strerror}; name a CSV file") from None
    except UnicodeDecodeError:
        raise ParcelError(f"{table} is not UTF-8 text; save it as CSV in UTF-8") from None
    header = lines[0] if lines else ""
    separator = max(",;\t", key=header.count)
    reader = csv.DictReader(lines, delimiter=separator)
    if not {"declared", "class"} <= set(reader.fieldnames or ()):
        raise ParcelError(f"{table}: the first line is {header!r}; it must be 'declared,class'")
    for row in reader:
        yield reader.line_num, (spell(row["declared"]), spell(row["class"]))
