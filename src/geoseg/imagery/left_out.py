"""What of a file of polygons is no label, or not as it is in the file: counted by reason, and told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows of a file that have one thing in common."""

    reason: str
    rows: int
    row: int
    """The first of them, counted from 1 in the file's order."""
    name: str
    """Its class name; may be empty."""
    used: bool
    """Whether they are labels all the same, only changed."""


class Sieve:
    """The rows of a file, of which fewer and fewer are kept."""

    def __init__(self, names: NDArray[np.object_]) -> None:
        self._names = names
        self.kept = np.ones(len(names), dtype=bool)
        self.found: list[LeftOut] = []

    def drop(self, wrong: NDArray[np.bool_], reason: str) -> None:
        """Keep those rows no longer; ``bool[n]``, and those that went before do not matter."""
        self.note(wrong, reason, used=False)
        self.kept &= ~wrong

    def note(self, which: NDArray[np.bool_], reason: str, used: bool = True) -> None:
        """Count those of the rows that are kept."""
        rows = np.flatnonzero(which & self.kept)
        if rows.size:
            name = str(self._names[rows[0]])
            self.found.append(LeftOut(reason, len(rows), int(rows[0]) + 1, name, used))


def left_out_lines(path: Path, found: Sequence[LeftOut]) -> Iterator[str]:
    """Each reason in a line."""
    for each in found:
        rows = f"{each.rows} row{'s' if each.rows > 1 else ''}"
        what = "changed" if each.used else "left out"
        first = f"row {each.row}" + (f", {each.name!r}" if each.name else "")
        yield f"{path.name}: {rows} {what}: {each.reason} ({'first ' if each.rows > 1 else ''}{first})"
