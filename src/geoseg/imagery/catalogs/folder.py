"""A drop folder: files that somebody, or some program, is putting there at this moment.

A date is one item. It can be used once all its files are there, have been left alone for a while,
and every pixel of them can be read; that is found out once for each version of it.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from geoseg.config import ImageryConfig
from geoseg.config.service import DropConfig, Slot
from geoseg.errors import ConfigError, GeosegError, RasterError, SceneError
from geoseg.grid import Grid
from geoseg.imagery.catalogs.found import (
    ALL_BANDS,
    MASK,
    Found,
    FoundFile,
    Known,
    Verdict,
    nothing_known,
)
from geoseg.imagery.clear import clear_shares
from geoseg.imagery.patterns import Groups, Match, fitting, placeholders, to_match
from geoseg.imagery.scenes import Scene, select
from geoseg.io import files

UNDER_WAY = re.compile(r"(\.(part|partial|filepart|crdownload|tmp|temp|upload|swp)|~)$", re.I)
"""Names that programs give to what they have not finished."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an item of the folder must be."""

    drop: DropConfig
    slots: Sequence[Slot]
    bands: tuple[str, ...]
    """Of the model, in its order."""
    names: Mapping[str, Any]
    """Keys of the run config's ``imagery`` that name bands."""


def look(wanted: Wanted, known: Known = nothing_known) -> tuple[Found, ...]:
    """The items of a drop folder, in time order; pixels are read where ``known`` knows nothing.

    Raises ``ConfigError`` where the folder is missing: one that is away (a mount) is no empty one.
    """
    drop = wanted.drop
    if not drop.folder.is_dir():
        raise ConfigError(f"{drop.folder}: no such folder; make it, or check 'drop.folder'")
    bad: list[Found] = []
    matches = list(_matches(drop.folder, drop.pattern, drop.date_format, bad))
    masks = _masks(drop, bad)
    matches.sort(key=lambda match: (match.key, str(match.path)))
    items = []
    for key, group in groupby(matches, key=lambda match: match.key):
        items.append(_item(wanted, list(group), masks.get(key, []), known))
    return (*items, *bad)


def _matches(folder: Path, pattern: str, date_format: str, bad: list[Found]) -> Iterator[Match]:
    """The files that fit; those whose date is none go to ``bad`` and stop nobody else."""
    for path, groups in fitting(folder, pattern, date_format, "drop"):
        if UNDER_WAY.search(path.name) or not _size(path):
            continue
        match = _match(path, groups, date_format, bad)
        if match:
            yield match


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # taken away at this moment
        return 0


def _match(path: Path, groups: Groups, date_format: str, bad: list[Found]) -> Match | None:
    try:
        return to_match(path, groups, date_format)
    except SceneError as error:
        stamp = files.digest(str(path))[:16]
        bad.append(
            Found(path.name, dt.date.min, stamp, stamp, verdict="refused", reason=str(error))
        )
        return None


def _masks(drop: DropConfig, bad: list[Found]) -> dict[tuple[str, int], list[Match]]:
    """The masks of each date."""
    found: dict[tuple[str, int], list[Match]] = {}
    if drop.masks and drop.masks.folder.is_dir():
        for match in _matches(drop.masks.folder, drop.masks.pattern, drop.date_format, bad):
            found.setdefault(match.key, []).append(match)
    return found


def _item(wanted: Wanted, matches: list[Match], masks: list[Match], known: Known) -> Found:
    """One date, as far as it can be told from names and sizes, else by reading it."""
    day = matches[0].date
    assert day is not None, "the pattern has {date}"
    item = Found(matches[0].label, day, acquisition=day.isoformat())
    try:
        item = replace(item, files=tuple(_files(wanted, matches, masks)))
        item = replace(item, stamp=_stamp(wanted, item))
        if not any(day in slot for slot in wanted.slots):
            reason = "of no slot of the season"
            return replace(item, version=item.stamp, verdict="outside", reason=reason)
        problem = _incomplete(wanted, item) or _too_young(item, wanted.drop.settle)
        if problem:
            return _unfinished(item, problem)
        return known(item.item, item.stamp) or _read(wanted, item)
    except OSError as error:  # taken away, or replaced, at this moment
        return _unfinished(replace(item, version=""), f"{error.filename}: {error.strerror}")


def _files(wanted: Wanted, matches: list[Match], masks: list[Match]) -> Iterator[FoundFile]:
    """The files that the model takes something from."""
    for match in matches:
        if match.band is None or match.band in wanted.bands:
            yield _file(match.band or ALL_BANDS, match.path)
    for match in masks:
        yield _file(MASK, match.path)


def _stamp(wanted: Wanted, item: Found) -> str:
    """Another one where a file, or what is wanted of it, is another."""
    of_files = [[f.role, f.href, f.size, f.modified] for f in item.files]
    invalid = wanted.drop.masks.invalid if wanted.drop.masks else ()
    return files.digest([of_files, wanted.bands, wanted.names, invalid])[:16]


def _file(role: str, path: Path) -> FoundFile:
    status = path.stat()
    return FoundFile(role, str(path), status.st_size, modified=status.st_mtime_ns)


def _incomplete(wanted: Wanted, item: Found) -> str:
    """Which file is not there yet, or there twice."""
    roles = [file.role for file in item.files]
    twice = next((file for file in item.files if roles.count(file.role) > 1), None)
    if twice:
        return f"several files are its {twice.role or 'image'}, such as {twice.href}"
    by_band = "{band}" in placeholders(wanted.drop.pattern)
    missing = [band for band in wanted.bands if by_band and band not in roles]
    if missing:
        return f"band {missing[0]} has not come yet"
    return "its mask has not come yet" if wanted.drop.masks and MASK not in roles else ""


def _too_young(item: Found, settle: float) -> str:
    """Whether a file may still be written to.

    The kernel keeps the time of the last change to a file (ctime) and no copying program can set
    it, as they do with the time of modification. One in the future means a clock was changed.
    """
    for file in item.files:
        age = time.time() - os.stat(file.href).st_ctime
        if 0 <= age < settle:
            return f"{file.href} was written to {age:.0f} s ago, {settle:g} are waited for"
    return ""


def _read(wanted: Wanted, item: Found) -> Found:
    """Read every pixel and every byte: the version, the clear share, or what is wrong with it."""
    with_sums = tuple(_summed(file) for file in item.files)
    content = [[file.role, file.checksum] for file in with_sums]
    made = max(file.modified or 0 for file in with_sums)
    item = replace(item, version=files.digest(content)[:16], made=f"{made:020d}", files=with_sums)
    try:
        scene = _scene(wanted, item)
        _require_bands(scene, wanted.bands)
        share = clear_shares([scene], sys.maxsize).shares[0]
    except RasterError as error:
        item = _judged(item, "unfinished", str(error))
    except GeosegError as error:
        item = _judged(item, "refused", str(error))
    else:
        item = replace(item, clear=round(share, 6), grid=_grid(scene.grid))
    if any(_file(f.role, Path(f.href)).modified != f.modified for f in item.files):
        return _unfinished(replace(item, version=""), "it was written to while it was read")
    return item


def _summed(file: FoundFile) -> FoundFile:
    return replace(file, checksum="1220" + files.sha256(Path(file.href)))


def _scene(wanted: Wanted, item: Found) -> Scene:
    """The item as a run will open it."""
    by_role = {file.role: file.href for file in item.files}
    mask = by_role.pop(MASK, None)
    whole = by_role.pop(ALL_BANDS, None)
    entry: dict[str, Any] = {"date": item.date, "mask": mask}
    entry |= {"file": whole} if whole else {"files": {b: by_role[b] for b in wanted.bands}}
    invalid = wanted.drop.masks.invalid if wanted.drop.masks else ()
    content = {**wanted.names, "scenes": [entry], "mask_invalid": invalid}
    return select(ImageryConfig.model_validate(content))[0]


def _require_bands(scene: Scene, bands: tuple[str, ...]) -> None:
    if scene.bands != bands:
        raise SceneError(
            f"{scene.files[0]} has the bands {', '.join(scene.bands)}, the model needs "
            f"{', '.join(bands)} in this order; correct 'imagery.bands' or 'imagery.band_names'"
        )


def _grid(grid: Grid) -> str:
    return files.digest([grid.crs, grid.cells, grid.height, grid.width])[:16]


def _unfinished(item: Found, reason: str) -> Found:
    return _judged(item, "unfinished", reason)


def _judged(item: Found, verdict: Verdict, reason: str) -> Found:
    return replace(item, verdict=verdict, reason=reason)
