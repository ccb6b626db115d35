"""File names that carry a date, a step number or a band."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import EmptySelectionError, SceneError
from geoseg.io.access import confine

_ANYTHING = {"*": "[^/]*", "{band}": r"(?P<band>[A-Za-z0-9]+)", "{step}": r"(?P<step>\d+)"}

# A date is as long as its format prints: "2025-06-01" is not read out of "2025-06-012".
_LENGTHS = {"Y": 4, "m": 2, "d": 2, "j": 3, "y": 2, "H": 2, "M": 2, "S": 2}

Groups = dict[str, str | None]
"""What stands in a name at each placeholder of the pattern."""


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
        step = "" if self.step is None else f"step {self.step}"
        return f"{self.date or ''} {step}".strip()


def placeholders(pattern: str) -> frozenset[str]:
    """The ``{date}``, ``{step}`` and ``{band}`` in a pattern."""
    return frozenset(re.findall(r"\{\w+\}", pattern))


def find(folder: Path, pattern: str, date_format: str, section: str) -> list[Match]:
    """The files below ``folder`` that fit ``pattern``, in order of name; hidden ones are left out.

    ``section`` is where the config names the folder, for messages. Raises ``EmptySelectionError``
    where the folder is missing or nothing fits, ``SceneError`` for a file whose date is none.
    """
    confine.local(folder)
    if not folder.is_dir():
        raise EmptySelectionError(f"{folder}: no such folder; check '{section}.folder'")
    named = fitting(folder, pattern, date_format, section)
    found = [to_match(path, groups, date_format) for path, groups in named if path.is_file()]
    if not found:
        some = ", ".join(sorted(p.name for p in folder.iterdir())[:3]) or "nothing"
        raise EmptySelectionError(
            f"{folder}: no file fits {pattern!r} with dates like {date_format!r} (it holds {some}, "
            f"...); correct '{section}.pattern' or 'imagery.date_format'"
        )
    return found


def fitting(
    folder: Path, pattern: str, date_format: str, section: str
) -> Iterator[tuple[Path, Groups]]:
    """What has a name that fits, in order of name, and what stands at the pattern's placeholders.

    It need not be a file: a folder or a link to nothing may have such a name too.
    """
    expression = _expression(pattern, date_format, section)
    # Exactly as deep as the pattern: quick in a large tree, and links to folders are followed.
    for path in sorted(folder.glob("/".join("*" * (pattern.count("/") + 1)))):
        name = path.relative_to(folder).as_posix()
        match = expression.fullmatch(name)
        # A writer that was killed leaves a hidden part of a file.
        if match and not re.search(r"(^|/)\.", name):
            yield path, match.groupdict()


def _expression(pattern: str, date_format: str, section: str) -> re.Pattern[str]:
    """The pattern as a regular expression; a placeholder that comes again must say the same."""
    known = {**_ANYTHING, "{date}": f"(?P<date>{_date_expression(date_format)})"}
    text = ""
    for part in re.split(r"(\*|\{\w+\})", pattern):
        if re.fullmatch(r"\{\w+\}", part) and part not in known:
            raise SceneError(
                f"{section}.pattern: {part} in {pattern!r} is not known; use {{date}}, {{step}}, "
                "{band} and *"
            )
        text += known.get(part) or re.escape(part)
        if part in known and part != "*":
            known[part] = f"(?P={part.strip('{}')})"
    return re.compile(text)


def _date_expression(date_format: str) -> str:
    def digits(directive: re.Match[str]) -> str:
        length = _LENGTHS.get(directive.group(1))
        return rf"\d{{{length}}}" if length else r"[^\W_]+"

    return re.sub(r"%(\w)", digits, re.escape(date_format))


def to_match(path: Path, groups: Groups, date_format: str) -> Match:
    """What a name says; ``SceneError`` where its date is none."""
    text, step = groups.get("date"), groups.get("step")
    date = None
    if text:
        try:
            date = dt.datetime.strptime(text, date_format).date()
        except (ValueError, re.error):  # the latter for a directive that comes twice
            raise SceneError(
                f"{path}: {text!r} is no date of the format {date_format!r}; rename the file or "
                "correct 'imagery.date_format'"
            ) from None
    return Match(path, date, int(step) if step else None, groups.get("band"))
