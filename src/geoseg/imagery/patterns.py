"""File names that carry a date, a step number or a band."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import EmptySelectionError, SceneError

# A date is as long as its format prints: "2025-06-01" is not read out of "2025-06-012".
_ANYTHING = {"*": "[^/]*", "{band}": r"(?P<band>[A-Za-z0-9]+)", "{step}": r"(?P<step>\d+)"}
_DIGITS = {"%Y": r"\d{4}", "%m": r"\d{2}", "%d": r"\d{2}", "%j": r"\d{3}", "%y": r"\d{2}"}


@dataclass(frozen=True, slots=True)
class Match:
    """One file that fits a pattern."""

    path: Path
    date: dt.date | None
    step: int | None
    band: str | None

    @property
    def key(self) -> tuple[str, int]:
        """What files of one acquisition share; sorts in time."""
        return str(self.date or ""), self.step or 0

    @property
    def label(self) -> str:
        """Name of the acquisition in messages and in the model card."""
        return str(self.date) if self.date else f"step {self.step}"


def find(folder: Path, pattern: str, date_format: str) -> list[Match]:
    """The files below ``folder`` that fit ``pattern``, in order of name.

    Raises ``EmptySelectionError`` where the folder is missing or nothing fits, ``SceneError`` for
    a file whose date is none.
    """
    if not folder.is_dir():
        raise EmptySelectionError(f"{folder}: no such folder; check 'imagery.folder'")
    expression = _expression(pattern, date_format)
    found = []
    for path in sorted(folder.rglob("*") if "/" in pattern else folder.iterdir()):
        match = expression.fullmatch(path.relative_to(folder).as_posix())
        if match and path.is_file():
            found.append(_match(path, match.groupdict(), date_format))
    if not found:
        some = ", ".join(sorted(p.name for p in folder.iterdir())[:3]) or "nothing"
        raise EmptySelectionError(
            f"{folder}: no file fits {pattern!r} with dates like {date_format!r} (it holds {some}, "
            "...); correct 'pattern' or 'date_format'"
        )
    return found


def _expression(pattern: str, date_format: str) -> re.Pattern[str]:
    date = re.sub(r"%\w", lambda m: _DIGITS.get(m.group(), r"\w+"), re.escape(date_format))
    parts = re.split(r"(\*|\{\w+\})", pattern)
    known = {**_ANYTHING, "{date}": f"(?P<date>{date})"}
    for part in parts[1::2]:
        if part not in known:
            raise SceneError(
                f"imagery.pattern: {part} in {pattern!r} is not known; use {{date}}, {{step}}, "
                "{band} and *"
            )
    return re.compile("".join(known.get(part) or re.escape(part) for part in parts))


def _match(path: Path, groups: dict[str, str | None], date_format: str) -> Match:
    text, step = groups.get("date"), groups.get("step")
    date = None
    if text:
        try:
            date = dt.datetime.strptime(text, date_format).date()
        except ValueError:
            raise SceneError(
                f"{path}: {text!r} is no date of the format {date_format!r}; rename the file or "
                "correct 'date_format'"
            ) from None
    return Match(path, date, int(step) if step else None, groups.get("band"))
