"""Which vector files may be opened, and what they say of themselves.

Any format GDAL reads, or in confinement a few, by their content.

GDAL chooses a driver by what is in a file, whatever its name says, and pyogrio cannot be told which
drivers to use. So the content must be what the suffix promises before GDAL sees it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow
import pyogrio
import shapely

from geoseg.errors import ConfinedError, GeosegError, LabelError
from geoseg.io.access import confine
from geoseg.io.vector import geoparquet
from geoseg.io.vector.ogr import FAILURES

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


SAMPLE = 1000
"""Rows from which values and kinds of geometries are told."""

_VALUES = 4
"""Different values of a column that are told."""

_NAMES = {"object": "text"}
"""Words for types."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a layer."""

    name: str
    kind: str
    """Its type, as GDAL or Arrow calls it."""
    values: tuple[str, ...]
    """The first different ones."""


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """One layer."""

    name: str
    rows: int
    geometry: str
    """Kinds among the first rows; ``none`` for a table."""
    crs: str | None
    columns: tuple[Column, ...]


def layers(path: Path) -> tuple[LayerInfo, ...]:
    """The layers of a vector file; empty where the file is none, or may not be opened as one.

    Raises ``LabelError`` where its text cannot be read.
    """
    try:
        require(path)
        if path.suffix.lower() in geoparquet.SUFFIXES:
            return (_of_parquet(path),)
        names = [str(name) for name, _ in pyogrio.list_layers(path)]
        return tuple(_of_layer(path, name) for name in names)
    except UnicodeDecodeError as error:
        raise LabelError(not_text(path, "its text", error)) from None
    except (*FAILURES, ConfinedError, pyarrow.ArrowException, OSError):
        return ()


def _of_layer(path: Path, name: str) -> LayerInfo:
    info = pyogrio.read_info(path, layer=name, force_feature_count=True)
    options = {"layer": name, "max_features": SAMPLE}
    _, _, binary, fields = pyogrio.raw.read(path, **options)
    columns = zip(info["fields"], info["dtypes"], fields, strict=True)
    return LayerInfo(
        name,
        int(info["features"]),
        _kinds(binary, info["geometry_type"]),
        info["crs"],
        tuple(
            Column(str(n), _NAMES.get(str(kind), str(kind)), _values(v)) for n, kind, v in columns
        ),
    )


def _of_parquet(path: Path) -> LayerInfo:
    parquet = geoparquet.describe(path)
    table = pyarrow.Table.from_batches([next(geoparquet.read(path, SAMPLE))])
    binary = table.column(parquet.geometry).to_numpy()
    columns = ((name, table.column(name)) for name in parquet.fields)
    return LayerInfo(
        path.stem,
        parquet.count,
        _kinds(binary, "Unknown"),
        parquet.crs,
        tuple(Column(n, str(values.type), _values(values.to_pylist())) for n, values in columns),
    )


def _kinds(binary: Any, declared: str | None) -> str:
    if binary is None or declared is None:
        return "none"
    shapes = shapely.from_wkb(binary, on_invalid="ignore")
    kinds = sorted({shape.geom_type for shape in shapes if shape is not None})
    return ", ".join(kinds) or str(declared)


def _values(values: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_texts(values)))[:_VALUES]


def _texts(values: Any) -> Iterator[str]:
    for value in values:
        if value is not None and value == value:  # noqa: PLR0124
            yield repr(value) if isinstance(value, str) else f"{value}"


def choose_layer(
    path: Path, layer: str | None, key: str, kind: str, error: type[GeosegError]
) -> str:
    """The layer to read: the named one, or the only one that has geometry.

    Messages name the ``key`` that names layers, and the ``kind`` of geometry that is wanted; they are
    raised as ``error``.
    """
    names = [str(name) for name, geometry in pyogrio.list_layers(path) if geometry is not None]
    listed = ", ".join(names) or "none"
    if layer is not None and layer not in names:
        raise error(f"{path}: no layer {layer!r} with geometry; '{key}' may be: {listed}")
    if layer is None and len(names) != 1:
        raise error(
            f"{path} has {len(names)} layers with geometry ({listed}), not one"
            + (f"; name one in '{key}'" if names else f"; {kind} are wanted")
        )
    return names[0] if layer is None else layer
