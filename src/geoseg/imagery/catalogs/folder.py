"""A drop folder: files that somebody, or some program, is putting there at this moment.

A date is one item. It can be used once all its files are there, have been left alone for a while,
and every pixel of them can be read; that is found out once for each version of it.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from geoseg.config import ImageryConfig
from geoseg.config.service import DropConfig, Slot
from geoseg.errors import ConfigError, ConfinedError, GeosegError, RasterError, SceneError
from geoseg.grid import Grid
from geoseg.imagery.catalogs.found import (
    ALL_BANDS,
    MASK,
    CatalogFile,
    CatalogItem,
    Known,
    Verdict,
    nothing_known,
)
from geoseg.imagery.listing import Groups, Match, fitting, placeholders, to_match
from geoseg.imagery.scenes import Scene, select
from geoseg.imagery.survey import clear_shares
from geoseg.io import files
from geoseg.io.access import versions

UNDER_WAY = re.compile(r"(\.(part|partial|filepart|crdownload|tmp|temp|upload|swp)|~)$", re.I)
"""Names that programs give to what they have not finished."""


@dataclass(frozen=True, slots=True)
class FolderQuery:
    """What an item of the folder must be."""

    drop: DropConfig
    slots: Sequence[Slot]
    bands: tuple[str, ...]
    """Of the model, in its order."""
    names: Mapping[str, Any]
    """Keys of the run config's ``imagery`` that name bands."""


def poll(wanted: FolderQuery, known: Known = nothing_known) -> tuple[CatalogItem, ...]:
    """The items of a drop folder, in time order; pixels are read where ``known`` knows nothing.

    Raises ``ConfigError`` where the folder is missing: one that is away (a mount) is no empty one.
    """
    drop = wanted.drop
    if not drop.folder.is_dir():
        raise ConfigError(f"{drop.folder}: no such folder; make it, or check 'drop.folder'")
    bad: list[CatalogItem] = []
    matches = list(_matches(drop.folder, drop.pattern, drop.date_format, bad))
    masks = _masks(drop, bad)
    matches.sort(key=lambda match: (match.key, str(match.path)))
    items = []
    for key, group in groupby(matches, key=lambda match: match.key):
        items.append(_item(wanted, list(group), masks.get(key, []), known))
    return (*items, *bad)


def _matches(
    folder: Path, pattern: str, date_format: str, bad: list[CatalogItem]
) -> Iterator[Match]:
    """The files that fit; what is no file, or whose date is none, goes to ``bad`` and stops nobody
    else. Raises ``OSError`` where the folder may not be looked into."""
    os.scandir(folder).close()  # looking for names that fit would find none in it
    for path, groups in fitting(folder, pattern, date_format, "drop"):
        match = None if UNDER_WAY.search(path.name) else _match(path, groups, date_format, bad)
        problem = _no_file(path) if match else ""
        if match and match.date and problem:
            name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
            bad.append(
                _unfinished(CatalogItem(files.plain(name), match.date), files.plain(problem))
            )
        elif match:
            yield match


def _no_file(path: Path) -> str:
    """Why it cannot be an image; empty for a file with something in it."""
    try:
        status = path.stat()
    except OSError as error:  # a link to nothing, or taken away at this moment
        where = f" (it leads to {os.readlink(path)})" if path.is_symlink() else ""
        return f"{path}{where}: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is a folder" if path.is_dir() else f"{path} is no file"
    if files.plain(str(path)) != str(path):
        return f"{path}: the name is not in UTF-8; rename it"
    return "" if status.st_size else f"{path} is empty, 0 bytes"


def _match(path: Path, groups: Groups, date_format: str, bad: list[CatalogItem]) -> Match | None:
    try:
        return to_match(path, groups, date_format)
    except SceneError as error:
        name, stamp = files.plain(path.name), files.digest(str(path))[:16]
        bad.append(
            CatalogItem(
                name, dt.date.min, stamp, stamp, verdict="refused", reason=files.plain(str(error))
            )
        )
        return None


def _masks(drop: DropConfig, bad: list[CatalogItem]) -> dict[tuple[str, int], list[Match]]:
    """The masks of each date."""
    found: dict[tuple[str, int], list[Match]] = {}
    if drop.masks and drop.masks.folder.is_dir():
        for match in _matches(drop.masks.folder, drop.masks.pattern, drop.date_format, bad):
            found.setdefault(match.key, []).append(match)
    return found


def _item(
    wanted: FolderQuery, matches: list[Match], masks: list[Match], known: Known
) -> CatalogItem:
    """One date, as far as it can be told from names and sizes, else by reading it."""
    day = matches[0].date
    assert day is not None, "the pattern has {date}"
    item = CatalogItem(matches[0].label, day, acquisition=day.isoformat())
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
    except ConfinedError as error:  # it is read with a file out of the roots
        stamp = files.digest([str(match.path) for match in matches])[:16]
        return _judged(replace(item, version=stamp, stamp=stamp), "refused", str(error))
    except OSError as error:  # taken away, or replaced, at this moment
        return _unfinished(replace(item, version=""), f"{error.filename}: {error.strerror}")


def _files(wanted: FolderQuery, matches: list[Match], masks: list[Match]) -> Iterator[CatalogFile]:
    """The files that the model takes something from."""
    for match in matches:
        if match.band is None or match.band in wanted.bands:
            yield found_file(match.band or ALL_BANDS, match.path)
    for match in masks:
        yield found_file(MASK, match.path)


def _stamp(wanted: FolderQuery, item: CatalogItem) -> str:
    """Another one where a file, or what is wanted of it, is another."""
    of_files = [[f.role, f.href, f.state] for f in item.files]
    invalid = wanted.drop.masks.invalid if wanted.drop.masks else ()
    return files.digest([of_files, wanted.bands, wanted.names, invalid])[:16]


def found_file(role: str, path: Path) -> CatalogFile:
    """A file as it is there at this moment, with those that it is read with. Raises ``OSError``."""
    size, parts = path.stat().st_size, versions.of([path])
    modified = max(time for _, _, time in parts)
    return CatalogFile(role, str(path), size, modified=modified, state=files.digest(parts)[:16])


def checksum(path: Path) -> str:
    """Of a file's bytes, or of all files that it is read with. Raises ``OSError``."""
    names = [name for name, size, _ in versions.of([path]) if size >= 0]
    sums = [files.sha256(Path(name)) for name in names if not name.endswith(os.sep)]
    if len(sums) == 1:
        return "1220" + sums[0]
    here = path.resolve().parent
    together = [[os.path.relpath(n, here), s] for n, s in zip(names, sums, strict=True)]
    return "1220" + files.digest(together)


def _incomplete(wanted: FolderQuery, item: CatalogItem) -> str:
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


def _too_young(item: CatalogItem, settle: float) -> str:
    """Whether a file may still be written to.

    The kernel keeps the time of the last change to a file (ctime) and no copying program can set
    it, as they do with the time of modification. One in the future means a clock was changed.
    """
    for name, size, _ in versions.of(Path(file.href) for file in item.files):
        age = time.time() - os.stat(name).st_ctime if size >= 0 else settle
        if 0 <= age < settle:
            return f"{name} was written to {age:.0f} s ago, {settle:g} are waited for"
    return ""


def _read(wanted: FolderQuery, item: CatalogItem) -> CatalogItem:
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
    if any(found_file(f.role, Path(f.href)).state != f.state for f in item.files):
        return _unfinished(replace(item, version=""), "it was written to while it was read")
    return item


def _summed(file: CatalogFile) -> CatalogFile:
    return replace(file, checksum=checksum(Path(file.href)))


def _scene(wanted: FolderQuery, item: CatalogItem) -> Scene:
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


def _unfinished(item: CatalogItem, reason: str) -> CatalogItem:
    return _judged(item, "unfinished", reason)


def _judged(item: CatalogItem, verdict: Verdict, reason: str) -> CatalogItem:
    return replace(item, verdict=verdict, reason=reason)
