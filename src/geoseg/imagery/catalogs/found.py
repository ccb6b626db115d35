"""What a poll of a source finds: items, which version of each is there, and whether it can be used."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["usable", "cloudy", "unfinished", "refused", "outside"]
"""``unfinished``: not all of it has come; ``refused``: it has, and cannot be mapped; ``outside``: of
no slot of the season."""

MASK = ":mask"
"""Role of the file that says which pixels not to use; no band is called so."""

ALL_BANDS = ""
"""Role of a file that holds every band."""


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """One file of an item."""

    role: str
    """A band, ``ALL_BANDS``, or ``MASK``."""
    href: str
    """A path, or the URL to fetch it from."""
    size: int | None = None
    """Bytes, where known."""
    checksum: str = ""
    """Multihash of the bytes in hexadecimal, as STAC's ``file:checksum``; empty where unknown. Of a
    file in a folder that is read with others (sidecars, sources), of all of them."""
    modified: int | None = None
    """Time of the last change (ns) of a file in a folder, or of those that it is read with."""
    state: str = ""
    """Digest of the names, sizes and times of these files."""


@dataclass(frozen=True, slots=True)
class CatalogItem:
    """One version of one item."""

    item: str
    """Its name, which stays when it is replaced by a reprocessed version."""
    date: dt.date
    version: str = ""
    """Of its content; empty while that is not known, because it is unfinished."""
    stamp: str = ""
    """What can be told without reading: the same stamp means the same version."""
    acquisition: str = ""
    """The moment and place it shows, which reprocessing does not change."""
    made: str = ""
    """When this version was made or written, as sortable text; empty where not known."""
    grid: str = ""
    """Digest of the grid of its pixels; empty where not known."""
    clear: float | None = None
    """Share of its pixels with data and no cloud, 0 to 1; None where not known."""
    verdict: Verdict = "usable"
    reason: str = ""
    """Why it is not usable."""
    files: tuple[CatalogFile, ...] = ()


Known = Callable[[str, str], CatalogItem | None]
"""What is known of an item (its name) with that stamp from an earlier poll."""


def nothing_known(item: str, stamp: str) -> CatalogItem | None:
    """For a first poll."""
    return None
