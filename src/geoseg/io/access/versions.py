"""The version of an input: of all the files that reading it depends on.

A Shapefile is several files, a GeoPackage may have its last changes in a ``-wal``, a VRT is as its
sources are. Nothing is read here but the lists of other files, once for each version of them.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from geoseg.io.access import confine
from geoseg.io.access.references import place, references

Part = tuple[str, int, int]
"""A file as it was found: path, size, time of change (ns); the size is -1 where there is none, and a
folder, whose files are parts too, ends with a slash."""

_AFTER = (".aux.xml", ".aux", ".ovr", ".msk", ".hdr", "-wal", "-journal")
"""What follows the name of a file that it belongs to. Not ``-shm``, which readers change."""

_INSTEAD = {
    ".shp": (".shx", ".dbf", ".prj", ".cpg", ".qix", ".sbn", ".sbx"),
    ".tab": (".dat", ".map", ".id", ".ind"),
    ".mif": (".mid",),
    ".gml": (".gfs", ".xsd", ".resolved.gml"),
    ".csv": (".csvt", ".prj"),
}
_OF_RASTERS = (".aux", ".hdr", ".prj", ".wld", ".tab", ".ovr", ".rrd", ".ige", ".clr")
"""What stands in place of the suffix of a file that it belongs to."""

_LOGS = ("-wal", "-journal")
"""Empty, they say nothing, and come and go with whoever reads."""


def of(paths: Iterable[Path]) -> tuple[Part, ...]:
    """The parts of some inputs, each once: the inputs themselves, then what they lead to.

    Files beside them by name, sources of VRTs and theirs, files in a folder. A file that is named
    and not there is a part as well: when it comes, the version is another one. Raises
    ``ConfinedError`` for a part outside the roots.
    """
    beside = _Beside()
    waiting = deque(confine.require(path) for path in paths)
    found: dict[str, Part] = {}
    while waiting:
        name = waiting.popleft()
        if name in found:
            continue
        known = found[name] = part(name)
        if known[0].endswith(os.sep):
            found.update(_inside(name))
        elif known[1] >= 0:
            led_to = [*beside.files(name), *_named(name, known, found)]
            waiting.extend(confine.require(Path(other)) for other in led_to)
    return tuple(p for p in found.values() if p[1] or not p[0].endswith(_LOGS))


def _named(name: str, known: Part, found: dict[str, Part]) -> Iterator[str]:
    """What a file names; names that lead nowhere go to ``found``."""
    for reference in references(name, *known[1:]):
        target = place(reference)
        if target:
            yield target
        elif reference.certain:
            found[reference.text] = (reference.text, -1, 0)


def part(name: str | Path) -> Part:
    """One file alone."""
    real = os.path.realpath(name)
    try:
        status = os.stat(real)
    except OSError:  # it is not there, or not to be had
        return real, -1, 0
    if stat.S_ISDIR(status.st_mode):
        return os.path.join(real, ""), 0, 0
    return real, status.st_size, status.st_mtime_ns


def _inside(folder: str) -> Iterator[tuple[str, Part]]:
    """The files of a folder that is one data set (.gdb, .zarr), but for locks of programs."""
    if confine.confined():  # nothing there opens a folder
        return
    for top, below, names in os.walk(folder):
        below.sort()
        for name in sorted(names):
            if not name.endswith(".lock"):
                path = os.path.join(top, name)
                yield path, part(path)


class _Beside:
    """Files that belong to others by their names; each folder is listed once."""

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, list[str]]] = {}

    def files(self, name: str) -> Iterator[str]:
        """Those of one file, of which GDAL takes upper and lower case for one."""
        folder, base = os.path.split(name)
        there = self._list(folder)
        for wanted in _names(base.casefold()):
            yield from (os.path.join(folder, one) for one in there.get(wanted, ()) if one != base)

    def _list(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._folders:
            there = self._folders[folder] = {}
            with suppress(OSError):  # a folder that may be entered and not listed
                for name in sorted(os.listdir(folder)):
                    there.setdefault(name.casefold(), []).append(name)
        return self._folders[folder]


def _names(base: str) -> Iterator[str]:
    stem, suffix = os.path.splitext(base)
    yield from (base + after for after in _AFTER)
    yield from (stem + other for other in _INSTEAD.get(suffix, _OF_RASTERS))
    if len(suffix) > 2:  # world files: .tfw and .tifw of a .tif
        yield from (f"{stem}.{suffix[1]}{suffix[-1]}w", f"{stem}{suffix}w")
