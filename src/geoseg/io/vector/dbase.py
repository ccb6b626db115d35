"""The one door to plain tables that GIS programs read: dBase files."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from geoseg.io.files import replacing, write_text

_LONGEST = 254
"""Bytes of the longest text that dBase holds."""

_DIGITS = 18
"""Width of a column of whole numbers."""

Columns = Mapping[str, Sequence[int] | Sequence[str]]
"""Names (ten ASCII characters at most), each with its values."""


def write_dbf(path: Path, columns: Columns) -> None:
    """Write whole numbers and texts as dBase III in UTF-8 (the ``.cpg`` beside it says so).

    Texts are cut at 254 bytes, between characters. By hand, as the format is forty years old and
    fixed, and the libraries that write it take longer to import than the rasters take to write.
    Raises ``OutputError`` where there is no room.
    """
    cells = [[_cell(value) for value in values] for values in columns.values()]
    kinds = [b"N" if isinstance(values[0], int) else b"C" for values in columns.values()]
    widths = [
        _DIGITS if kind == b"N" else max(1, *map(len, column))
        for kind, column in zip(kinds, cells, strict=True)
    ]
    fields = b"".join(
        struct.pack("<11sc4xB15x", name.encode("ascii"), kind, width)
        for name, kind, width in zip(columns, kinds, widths, strict=True)
    )
    # A fixed day of change: equal tables are equal files.
    head = struct.pack("<B3BIHH20x", 3, 100, 1, 1, len(cells[0]), 33 + len(fields), 1 + sum(widths))
    rows = b"".join(_row(row, kinds, widths) for row in zip(*cells, strict=True))
    with replacing(path) as part:
        part.write_bytes(head + fields + b"\r" + rows + b"\x1a")
    write_text(path.with_suffix(".cpg"), "UTF-8")


def _cell(value: int | str) -> bytes:
    return str(value).encode()[:_LONGEST].decode(errors="ignore").encode()


def _row(cells: Sequence[bytes], kinds: Sequence[bytes], widths: Sequence[int]) -> bytes:
    """A row that is not deleted; numbers stand right, texts left."""
    return b" " + b"".join(
        cell.rjust(width) if kind == b"N" else cell.ljust(width)
        for cell, kind, width in zip(cells, kinds, widths, strict=True)
    )
