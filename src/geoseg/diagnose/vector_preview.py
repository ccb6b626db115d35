"""What people read on a terminal of a vector file: labels, parcels, points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pyproj import CRS
from pyproj.exceptions import CRSError

from geoseg.io.vector.vector_files import Column, LayerInfo


def vector_lines(path: Path, layers: Sequence[LayerInfo]) -> Iterator[str]:
    """Its layers one by one."""
    yield f"{path}: a vector file of {len(layers)} layer(s), no raster"
    for layer in layers:
        yield f"  layer       {layer.name}"
        yield f"  rows        {layer.rows}"
        yield f"  geometry    {layer.geometry}"
        yield f"  CRS         {_crs_name(layer.crs)}"
        yield f"  columns     {len(layer.columns)}; the first values of each:"
        yield from (_column_line(column) for column in layer.columns)


def _column_line(column: Column) -> str:
    shown = (value if len(value) <= 24 else f"{value[:23]}…" for value in column.values)
    return f"    {column.name[:20]:<20} {column.kind[:14]:<14} {', '.join(shown)}".rstrip()


def _crs_name(crs: str | None) -> str:
    if not crs:
        return "none"
    try:
        parsed = CRS.from_user_input(crs)
    except CRSError:
        return crs
    code = parsed.to_authority()
    return f"{':'.join(code)} {parsed.name}" if code else str(parsed.name)
