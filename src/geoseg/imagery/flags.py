"""Bands and files that look like quality flags: which pixels are cloud, shadow or fill.

A hint for people, by names that catalogues use and by values; nothing is masked on its strength.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 64
"""Different values that a band of flags has at most."""

_SMALL = {*range(16), 255}
"""Codes of classes: 0 to 15, as of Fmask and SCL, and what fills the rest of a byte."""

_CLEAR = {322, 2720, 5440, 21824, 21952}
"""Clear land and water by the bits of Landsat's QA bands, in all collections."""

_EACH = 50
"""Pixels for each of the values at least: in a small image every band has few."""

_SAMPLE = 4096
"""Values of a strip that are looked at first: most bands have too many different ones there already."""

_NAMES = re.compile(
    r"(?<![a-z])(b?qa([_ -]?(60|pixel|radsat|aerosol))?|(pixel|sr_cloud|cloud)_qa|scl|c?fmask|"
    r"(cloud|snow|shadow|valid(ity)?|data)?[_ -]?(mask|msk)s?|clm|cld(prb)?|clouds?|udm2?|"
    r"quality|flags?|s2cloudless|cloud[_ -]?prob\w*)(?![a-z])",
    re.IGNORECASE,
)

_RASTERS = {".tif", ".tiff", ".jp2", ".img", ".vrt"}


def named(name: str) -> str:
    """The part of a band's or a file's name that names quality flags; empty where none does."""
    found = _NAMES.search(name)
    return found.group() if found else ""


@dataclass(slots=True)
class Codes:
    """The different values of a band, as long as they are few and whole."""

    found: set[int] = field(default_factory=set)
    many: bool = False
    """Too many, or not whole: the band is none of flags."""
    size: int = 0
    """Pixels looked at."""

    @property
    def flags(self) -> bool:
        """The values alone look like flags."""
        enough = not self.many and len(self.found) > 1 and self.size >= _EACH * len(self.found)
        small = self.found <= _SMALL and min(self.found, default=9) < 3
        return enough and (small or bool(self.found & _CLEAR))

    def add(self, values: NDArray[Any]) -> None:
        """Look at a strip's valid values."""
        self.size += values.size
        for some in (values[:: max(1, values.size // _SAMPLE)], values):
            if self.many or not values.size:
                return
            unique = np.unique(some)
            whole = len(unique) <= MOST and bool((unique == np.floor(unique.real)).all())
            self.found.update(int(value) for value in unique if whole)
            self.many = not whole or len(self.found) > MOST


def flagged(names: list[str], codes: list[Codes]) -> dict[str, str]:
    """Bands that look like quality flags, and why.

    By values, only where most bands of the imagery have many different ones.
    """
    most = sum(each.many for each in codes) * 2 > len(codes)
    found = {}
    for name, each in zip(names, codes, strict=True):
        values = ", ".join(map(str, sorted(each.found)[:6]))
        more = ", ..." if len(each.found) > 6 else ""
        few = f"{len(each.found)} different values ({values}{more})"
        if named(name):
            found[name] = "by its name" if each.many or not each.found else f"by its name, {few}"
        elif most and each.flags:
            found[name] = f"it has {few}"
    return found


def beside(used: set[Path]) -> list[Path]:
    """Rasters in the folders of some files, not among them, whose names are those of quality flags."""
    folders = sorted({path.parent for path in used})
    there = (path for folder in folders for path in sorted(folder.iterdir()))
    return [
        path
        for path in there
        if path.suffix.lower() in _RASTERS and path not in used and named(path.stem)
    ]
