"""The transition matrix as JSON, as CSV and in lines for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.analysis.change.compare import Matrix

NO_DATA = "no data"
"""Name of the last row and column."""


def change_record(matrix: Matrix) -> dict[str, Any]:
    """Everything as JSON values. Rows are classes before, columns classes after."""
    t = matrix.transitions
    same, last = t.same, np.zeros(t.same.shape, dtype=bool)
    last[-1, :] = last[:, -1] = True
    counted, doubtful = matrix.pixels, matrix.uncertain
    ground, doubt = matrix.hectares, matrix.uncertain_hectares
    return {
        "rows": [*t.before.names, NO_DATA],
        "columns": [*t.after.names, NO_DATA],
        "pixels": counted.tolist(),
        "hectares": _rounded(ground),
        "uncertain_pixels": doubtful.tolist(),
        "uncertain_hectares": _rounded(doubt),
        "unchanged": _sums(counted, ground, same),
        "changed": _sums(counted, ground, ~same & ~last),
        "uncertain": _sums(doubtful, doubt, ~last),
        "no_data": _sums(counted, ground, last),
        "values": {e.name: e.value for e in t.entries()} | {NO_DATA: t.nodata},
    }


def _rounded(values: NDArray[np.float64] | None) -> list[list[float]] | None:
    return None if values is None else np.round(values, 4).tolist()


def _sums(
    pixels: NDArray[np.int64], hectares: NDArray[np.float64] | None, where: NDArray[np.bool_]
) -> dict[str, Any]:
    area = None if hectares is None else round(float(hectares[where].sum()), 4)
    return {"pixels": int(pixels[where].sum()), "hectares": area}


def change_table(matrix: Matrix) -> str:
    """CSV with a line per pair of classes: also the dictionary of the raster's values."""
    t = matrix.transitions
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        ["value", "before", "after", "pixels", "hectares", "uncertain_pixels", "uncertain_hectares"]
    )
    for i, before in enumerate((*t.before.names, NO_DATA)):
        for j, after in enumerate((*t.after.names, NO_DATA)):
            counts = [matrix.pixels[i, j], _cell(matrix.hectares, i, j)]
            doubts = [matrix.uncertain[i, j], _cell(matrix.uncertain_hectares, i, j)]
            table.writerow([t.values[i, j], before, after, *counts, *doubts])
    return text.getvalue()


def _cell(values: NDArray[np.float64] | None, i: int, j: int) -> str:
    return "" if values is None else f"{values[i, j]:.4f}"


def change_lines(record: dict[str, Any]) -> Iterator[str]:
    """The sums, and the ten largest changes."""
    for name in ("unchanged", "changed", "uncertain", "no_data"):
        yield f"  {name.replace('_', ' '):<28} {_amount(**record[name])}"
    pixels, hectares = np.array(record["pixels"]), record["hectares"]
    found = [
        (-pixels[i, j], f"{before} -> {after}", i, j)
        for i, before in enumerate(record["rows"][:-1])
        for j, after in enumerate(record["columns"][:-1])
        if before != after and pixels[i, j]
    ]
    for count, name, i, j in sorted(found)[:10]:
        yield f"  {name:<28} {_amount(-count, hectares and hectares[i][j])}"


def _amount(pixels: int, hectares: float | None) -> str:
    return f"{pixels:>12} pixels" + ("" if hectares is None else f" {hectares:>14.1f} ha")
