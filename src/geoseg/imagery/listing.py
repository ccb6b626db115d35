"""Which files make up a season: a folder and a pattern, or a list. Names only, no file is opened."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from geoseg.config import ImageryConfig, SceneEntry
from geoseg.errors import ConfigError, SceneError
from geoseg.imagery.patterns import Match, find, placeholders


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
