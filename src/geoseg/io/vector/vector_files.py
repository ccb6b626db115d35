"""Which vector files may be opened: any format GDAL reads, or in confinement a few, by their content.

GDAL chooses a driver by what is in a file, whatever its name says, and pyogrio cannot be told which
drivers to use. So the content must be what the suffix promises before GDAL sees it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pyogrio

from geoseg.errors import ConfinedError
from geoseg.io.access import confine

_HEAD = 2**16
"""Bytes of a file that are looked at; GDAL recognizes a format by fewer."""

_BESIDE = (".shx", ".dbf", ".prj", ".cpg", ".qix", ".sbn", ".sbx", ".gfs", ".xsd", ".resolved.gml")
"""Suffixes of files that GDAL reads along with one of the same name."""
_AFTER = ("-wal", "-journal", "-shm")

_OFFLINE = {
    "GML_DOWNLOAD_SCHEMA": "NO",
    "GML_SKIP_RESOLVE_ELEMS": "ALL",
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
}
"""GDAL follows no address that a file holds: neither of its schema nor of its parts."""


def require(path: Path) -> None:
    """Raise ``ConfinedError`` for a name that leads into an archive or a network, and in
    confinement for what lies outside the roots or is of a kind that can lead there."""
    name = confine.local(path)
    if "!" in name:  # for pyogrio what comes before it is an archive
        raise ConfinedError(
            f"{path}: a name of polygons may have no '!'; rename the file or folder"
        )
    if not confine.confined() or not path.exists():
        return
    for beside in _BESIDE:
        confine.require(path.with_suffix(beside))
    for after in _AFTER:
        confine.require(Path(f"{path}{after}"))
    _require_kind(path)
    pyogrio.set_gdal_config_options(_OFFLINE)


def not_text(path: Path, what: str, error: Exception) -> str:
    """The message for bytes that are not the text that the file says they are."""
    return (
        f"{path}: {what} is not UTF-8, nor in another encoding that the file names: {error}. Name the "
        "right one: of a Shapefile in the .cpg beside it, a line such as 1252; write other files "
        "again as UTF-8, for example with iconv."
    )


def _require_kind(path: Path) -> None:
    recognized = _KINDS.get(path.suffix.lower())
    with path.open("rb") as handle:
        head = handle.read(_HEAD)
    if recognized is None or not recognized(path, head):
        raise ConfinedError(
            f"{path} is of no kind that may be opened while {confine.ROOTS} is set: a GeoPackage, "
            "Shapefile, FlatGeobuf, GeoJSON, GML or GeoParquet by its name and its content. Others "
            "can lead to other files and hosts; convert it with ogr2ogr where it is trusted."
        )


def _geopackage(path: Path, head: bytes) -> bool:
    """Tables of its own only: a virtual one may be a view of another file."""
    if not head.startswith(b"SQLite format 3\0"):
        return False
    question = "SELECT count(*) FROM sqlite_master WHERE sql LIKE '%virtual%table%using%' AND NOT "
    try:
        with sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True) as database:
            virtual = database.execute(question + "sql LIKE '%using%rtree(%'").fetchone()[0]
            database.execute("SELECT count(*) FROM gpkg_contents")
    except sqlite3.DatabaseError:
        return False
    return int(virtual) == 0


def _json(_: Path, head: bytes) -> bool:
    """Not a command line of GDAL's own programs, which it also keeps as JSON."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b"gdal_streamed_alg" not in head


def _gml(_: Path, head: bytes) -> bool:
    """GML in text that declares nothing (no entities), and nothing of GDAL's own XML formats."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    strange = (b"<OGR", b"<VRT", b"<GDAL", b"<!DOCTYPE", b"<!ENTITY")
    return (
        start.startswith(b"<") and b"opengis.net/gml" in head and not any(map(head.count, strange))
    )


_KINDS: dict[str, Callable[[Path, bytes], bool]] = {
    ".gpkg": _geopackage,
    ".shp": lambda _, head: head.startswith(b"\x00\x00\x27\x0a"),
    ".fgb": lambda _, head: head.startswith(b"fgb\x03"),
    ".geojson": _json,
    ".json": _json,
    ".gml": _gml,
    ".xml": _gml,
    ".parquet": lambda _, head: head.startswith(b"PAR1"),
    ".geoparquet": lambda _, head: head.startswith(b"PAR1"),
}
