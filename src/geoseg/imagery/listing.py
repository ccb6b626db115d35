"""Which files make up a season: a folder and a pattern, or a list. Names only, no file is opened."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from geoseg.config import ImageryConfig, SceneEntry
from geoseg.errors import ConfigError, EmptySelectionError, SceneError
from geoseg.io.access import confine


def list_season(config: ImageryConfig) -> tuple[SceneEntry, ...]:
    """One entry per acquisition, in time order where the days are known, else by step or as listed.

    Raises ``ConfigError`` for keys that do not go together, ``SceneError`` for a day that is not
    there, has no mask or has files that rival each other, ``EmptySelectionError`` for no file.
    """
    if not config.scenes:
        return tuple(_in_folder(config))
    if config.masks:
        raise ConfigError(
            "imagery.masks goes with 'imagery.folder'; in a list of scenes name each one's 'mask' "
            "and the values not to be used in 'imagery.mask_invalid'"
        )
    entries = _of_wanted_days(config.scenes, config)
    if all(entry.date for entry in entries):
        entries.sort(key=lambda entry: str(entry.date))
    return tuple(entries)


def _of_wanted_days[Dated: (Match, SceneEntry)](
    dated: Sequence[Dated], config: ImageryConfig
) -> list[Dated]:
    """Those of the days under ``dates``, which must all be there; all where none are named."""
    if not config.dates:
        return list(dated)
    have = {item.date for item in dated if item.date}
    if not have:
        raise SceneError(
            "imagery.dates names days, but the images have none; take 'dates' out, put {date} in "
            "'imagery.pattern' or give each of 'imagery.scenes' its 'date'"
        )
    missing = set(config.dates) - have
    if missing:
        raise SceneError(
            f"imagery.dates: no image of {_days(missing)} (there are: {_days(have)}); add the file "
            "or take the date out of the list"
        )
    return [item for item in dated if item.date in config.dates]


def _days(days: Iterable[dt.date]) -> str:
    """The first dozen, and how many more."""
    texts = sorted(map(str, days))
    more = f" and {len(texts) - 12} more" if len(texts) > 12 else ""
    return ", ".join(texts[:12]) + more


def _in_folder(config: ImageryConfig) -> Iterator[SceneEntry]:
    """The files of one date, or step, are one entry."""
    assert config.folder is not None
    if "{band}" in config.pattern and config.band_names:
        raise ConfigError(
            "imagery.band_names names the bands inside a file, but {band} in 'imagery.pattern' "
            "says there is one per file; take it out, or choose bands with 'imagery.bands'"
        )
    found = find(config.folder, config.pattern, config.date_format, "imagery")
    wanted = sorted(_of_wanted_days(found, config), key=lambda match: match.key)
    masks = _masks(config)
    for key, group in groupby(wanted, key=lambda match: match.key):
        same = list(group)
        if config.masks and key not in masks:
            raise SceneError(
                f"{config.masks.folder}: no mask {config.masks.pattern!r} for {same[0].label} "
                f"({same[0].path.name}); add it, or list the other days in 'imagery.dates'"
            )
        yield _entry(same, masks.get(key))


def _masks(config: ImageryConfig) -> dict[tuple[str, int], Path]:
    """The mask of each date or step."""
    if not config.masks:
        return {}
    pattern = config.masks.pattern
    for part in sorted(
        {"{date}", "{step}"} & (placeholders(config.pattern) ^ placeholders(pattern))
    ):
        raise ConfigError(
            f"imagery.masks.pattern: {part} must be in both {pattern!r} and 'imagery.pattern' "
            f"({config.pattern!r}) or in neither, since a mask is found by it"
        )
    masks: dict[tuple[str, int], Path] = {}
    for match in find(config.masks.folder, pattern, config.date_format, "imagery.masks"):
        other = masks.setdefault(match.key, match.path)
        if other != match.path:
            raise SceneError(
                f"{match.label}: {other.name} and {match.path.name} both match "
                "'imagery.masks.pattern'; one mask per date is wanted, so tighten it"
            )
    return masks


def _entry(files: list[Match], mask: Path | None) -> SceneEntry:
    """Files of one date as a list entry: with ``{band}`` one per band, else one of all bands."""
    bands: dict[str, Path] = {}
    for match in files:
        other = bands.setdefault(match.band or "", match.path)
        if other != match.path:
            remedy = "tighten it" if match.band else "tighten it, or put {band} in it"
            band = f" band {match.band}" if match.band else ""
            raise SceneError(
                f"{match.label}{band}: {other.name} and {match.path.name} both match "
                f"'imagery.pattern'; one of them is wanted, so {remedy}"
            )
    first = files[0]
    if first.band is None:
        return SceneEntry(id=first.label, date=first.date, file=first.path, mask=mask)
    return SceneEntry(id=first.label, date=first.date, files=bands, mask=mask)


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
