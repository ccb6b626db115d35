"""What farmers declared, in the words of the legend. Nothing is guessed: what is not known is counted."""

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
        found = self.place(text)
        if found == UNKNOWN and (text in self.unknown or len(self.unknown) < _LISTED):
            self.unknown[text] += 1
        return found


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
