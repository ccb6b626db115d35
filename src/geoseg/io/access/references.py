"""Which other files a file leads to: the sources of a VRT, and what GDAL says belongs to a raster."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from geoseg.errors import ConfinedError, RasterError
from geoseg.io.access import confine
from geoseg.io.raster import rasters

_ALONE = (
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),  # TIFF and BigTIFF
    *(b"\x89PNG", b"\xff\xd8\xff", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
    *(b"\x89HDF", b"CDF", b"SQLite format 3", b"PAR1", b"fgb\x03", b"\0\0\x27\x0a"),
)
"""How files begin that lead to no others than those beside them with their name."""

_SOURCES = {"SourceFilename", "SourceDataset", "SrcDataSource"}
"""Elements of VRTs, of rasters and of layers, that name a source."""
_MAYBE = {"Argument", "MDI"}
"""Elements that hold a file's name or something else."""


class Reference(NamedTuple):
    """A name as it stands in a file."""

    text: str
    folder: str = ""
    """What it is relative to; empty: where the process works."""
    certain: bool = True
    """It is meant as a name."""


@lru_cache(maxsize=2**16)
def references(name: str, size: int, changed: int) -> tuple[Reference, ...]:
    """What a file leads to directly. Read once for each of its versions (``size``, ``changed``).

    In confinement the lists of other files (VRT) are not followed: nothing there opens them.
    """
    try:
        with open(name, "rb") as handle:
            head = handle.read(1024)
    except OSError:
        return ()
    if head.startswith(_ALONE):
        return ()
    if b"VRTData" in head:
        return () if confine.confined() else tuple(_in_vrt(Path(name).read_bytes(), name))
    try:
        with rasters.opened(Path(name)) as source:
            return tuple(Reference(file) for file in source.files)
    except (RasterError, ConfinedError):  # no raster; whoever reads it is told what is wrong
        return ()


def _in_vrt(text: bytes | str, name: str) -> Iterator[Reference]:
    """Of a raster's or a layer's VRT; GDAL itself lists neither masks nor sources of sources."""
    here = os.path.dirname(os.path.realpath(name))  # GDAL follows links too
    try:
        root = ET.fromstring(text)
    except ET.ParseError:  # whoever reads it is told
        return
    for element in root.iter():
        found = (element.text or "").strip()
        if found.startswith("<"):  # a VRT in place of a name
            yield from _in_vrt(found, name)
        elif found and element.tag in _SOURCES:
            relative = {key.lower(): value for key, value in element.attrib.items()}
            yield Reference(found, here if relative.get("relativetovrt") == "1" else "")
        elif found and element.tag in _MAYBE:
            yield Reference(found, here, certain=False)


def place(reference: Reference) -> str | None:
    """The file or folder of this machine that a name leads to; None where there is none.

    ``vrt://x.tif?bands=1``, ``NETCDF:"x.nc":rain`` and ``/vsizip/x.zip/y.tif`` lead to a file, too.
    """
    inside = reference.text.startswith("/vsi")
    there = os.path.isfile if inside else os.path.exists
    for text in _inside(reference.text) if inside else _candidates(reference.text):
        for folder in dict.fromkeys((reference.folder, "")):
            found = os.path.join(folder, text)
            if there(found):
                return os.path.abspath(found)
    return None


def _candidates(text: str) -> Iterator[str]:
    """What of a name may be that of a file."""
    yield text
    yield from re.findall(r'"([^"]+)"', text)
    text = text.removeprefix("vrt://").partition("?")[0]
    yield text
    if re.match(r"[A-Za-z]\w+:", text):  # of a driver, as GTIFF_DIR:1:x.tif
        yield from sorted(filter(None, text.split(":")[1:]), key=len, reverse=True)


def _inside(text: str) -> Iterator[str]:
    """The same of ``/vsizip/x.zip/y.tif``, ``/vsitar//vsigzip/x`` or ``/vsisubfile/0_100,x``."""
    text = re.sub(r"^(/vsi\w+/)+", "", text).replace("{", "").replace("}", "")
    text = re.sub(r"^\d+_\d+,", "", text)
    while text.strip("/"):
        yield text
        text = os.path.dirname(text)
