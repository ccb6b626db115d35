"""Two finished maps compared: matrix, picture, raster and parcels in one folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from geoseg.analysis.change.compare import Matrix, open_pair, write_change
from geoseg.analysis.change.parcels import write_changed_parcels
from geoseg.analysis.parcels.check import default_confidence
from geoseg.errors import OutputError
from geoseg.feedback import Progress
from geoseg.io import files
from geoseg.io.files import replacing
from geoseg.io.vector.parcel_layers import describe_layer


@dataclass(frozen=True)
class ChangeRequest:
    """What is compared."""

    before: Path
    after: Path
    above: float | None = None
    """Least confidence (percent) of both maps for a change to count; None: all count."""
    parcels: Path | None = None
    """Parcels to say the change of."""
    layer: str | None = None


def compare_files(request: ChangeRequest, folder: Path, progress: Progress) -> tuple[str, ...]:
    """Write ``change.tif``, ``transitions.csv``, ``transitions.png``, ``change.json`` and, with
    parcels, ``change_parcels.gpkg`` into the folder; returns what was produced, in lines.

    Raises ``RasterError``, ``GridMismatchError``, ``ParcelError``, ``OutputError``.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; --output names the folder of the results")
    confidences = default_confidence(request.before), default_confidence(request.after)
    # A layer that cannot be used is told before the work.
    layer = describe_layer(request.parcels, request.layer) if request.parcels else None
    parcels: dict[str, int] = {}
    with open_pair(request.before, request.after, confidences, request.above) as pair:
        matrix = write_change(pair, folder / "change.tif", progress)
        if layer:
            target = folder / "change_parcels.gpkg"
            parcels = write_changed_parcels(pair, layer, target, progress)
    _write_tables(request, matrix, parcels, folder)
    return (
        f"change: {folder / 'change.tif'}",
        *change_lines(matrix),
        *(f"  {count} parcels {verdict}" for verdict, count in parcels.items()),
    )


def _write_tables(
    request: ChangeRequest, matrix: Matrix, parcels: Mapping[str, int], folder: Path
) -> None:
    files.write_text(folder / "transitions.csv", change_table(matrix))
    title = f"{request.before.stem} to {request.after.stem}"
    write_chart(matrix, folder / "transitions.png", title)
    names = {"before": request.before.name, "after": request.after.name, "above": request.above}
    counts = {"parcels": dict(parcels)} if parcels else {}
    files.write_json(folder / "change.json", names | change_record(matrix) | counts)


NO_DATA = "no data"
"""Name of the last row and column."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Some pairs of classes together."""

    pixels: int
    hectares: float | None
    """None where the maps have no CRS."""


def amounts(matrix: Matrix) -> dict[str, Amount]:
    """What is ``unchanged``, ``changed``, ``uncertain`` and ``no_data``."""
    same, last = matrix.transitions.same, np.zeros(matrix.transitions.same.shape, dtype=bool)
    last[-1, :] = last[:, -1] = True
    counted = matrix.pixels, matrix.hectares
    return {
        "unchanged": _sum(*counted, same),
        "changed": _sum(*counted, ~same & ~last),
        "uncertain": _sum(matrix.uncertain, matrix.uncertain_hectares, ~last),
        "no_data": _sum(*counted, last),
    }


def _sum(
    pixels: NDArray[np.int64], hectares: NDArray[np.float64] | None, where: NDArray[np.bool_]
) -> Amount:
    area = None if hectares is None else round(float(hectares[where].sum()), 4)
    return Amount(int(pixels[where].sum()), area)


def change_record(matrix: Matrix) -> dict[str, Any]:
    """Everything as JSON values. Rows are classes before, columns classes after."""
    t = matrix.transitions
    return {
        "rows": [*t.before.names, NO_DATA],
        "columns": [*t.after.names, NO_DATA],
        "pixels": matrix.pixels.tolist(),
        "hectares": _rounded(matrix.hectares),
        "uncertain_pixels": matrix.uncertain.tolist(),
        "uncertain_hectares": _rounded(matrix.uncertain_hectares),
        **{name: asdict(amount) for name, amount in amounts(matrix).items()},
        "values": {e.name: e.value for e in t.entries()} | {NO_DATA: t.nodata},
    }


def _rounded(values: NDArray[np.float64] | None) -> list[list[float]] | None:
    return None if values is None else np.round(values, 4).tolist()


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


def change_lines(matrix: Matrix) -> Iterator[str]:
    """The sums, and the ten largest changes."""
    for name, amount in amounts(matrix).items():
        yield f"  {name.replace('_', ' '):<28} {_words(amount)}"
    t = matrix.transitions
    changes = [
        (-int(matrix.pixels[i, j]), t.name(i, j), i, j)
        for i, before in enumerate(t.before.names)
        for j, after in enumerate(t.after.names)
        if before != after and matrix.pixels[i, j]
    ]
    for count, name, i, j in sorted(changes)[:10]:
        hectares = None if matrix.hectares is None else round(float(matrix.hectares[i, j]), 4)
        yield f"  {name:<28} {_words(Amount(-count, hectares))}"


def _words(amount: Amount) -> str:
    pixels = f"{amount.pixels:>12} pixels"
    return pixels if amount.hectares is None else f"{pixels} {amount.hectares:>14.1f} ha"


_INK, _SOFT, _SAME = "#1c2430", "#5c6775", "#e4e2dc"
_NUMBERED, _MOST = 20, 40
"""Classes up to which every cell has its number; classes shown at most."""


def write_chart(matrix: Matrix, target: Path, title: str) -> None:
    """Write a PNG: what was, from above to below; what became of it, across; classes that stayed are
    grey. ``OutputError``.

    Classes that neither row nor column has are left out, and of long legends the smaller ones.
    """
    amounts = (matrix.pixels if matrix.hectares is None else matrix.hectares)[:-1, :-1]
    unit = "pixels" if matrix.hectares is None else "hectares"
    rows, columns = _largest(amounts.sum(axis=1)), _largest(amounts.sum(axis=0))
    cells = np.ix_(rows, columns)
    wide, tall = 3.2 + 0.72 * len(columns), 2.4 + 0.46 * len(rows)
    with rc_context({"text.parse_math": False}):  # a name may have dollar signs
        figure = Figure(
            figsize=(max(wide, 6), max(tall, 3.6)), facecolor="white", layout="constrained"
        )
        axes = figure.add_subplot()
        _draw(axes, amounts[cells].astype(np.float64), matrix.transitions.same[cells])
        _label(axes, matrix, rows, columns)
        axes.set_title(
            f"{title}\nbefore (rows) to after (columns), {unit}", fontsize=11, color=_INK
        )
        with replacing(target) as part:
            figure.savefig(part, format="png", dpi=110)


def _largest(amounts: NDArray[np.number[Any]]) -> NDArray[np.int64]:
    """Places of the classes that are shown, in the order of the legend; at least one."""
    order = np.argsort(-amounts, kind="stable")
    count = max(1, min(_MOST, int((amounts > 0).sum())))
    return np.sort(order[:count])


def _label(axes: Any, matrix: Matrix, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> None:
    before = [matrix.transitions.before.names[i] for i in rows]
    after = [matrix.transitions.after.names[j] for j in columns]
    axes.set_xticks(range(len(after)), after, rotation=40, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(before)), before)
    axes.tick_params(length=0, labelcolor=_INK, top=True, labeltop=True, labelbottom=False)


def _draw(axes: Any, amounts: NDArray[np.float64], same: NDArray[np.bool_]) -> None:
    changes = np.ma.masked_where(same | (amounts <= 0), amounts)
    most = float(changes.max()) if changes.count() else 1.0
    norm = LogNorm(min(float(changes.min()) if changes.count() else 0.1, most / 10), most)
    axes.set_facecolor("white")
    axes.imshow(np.where(same, 1.0, np.nan), cmap="Greys", vmin=0, vmax=8, aspect="auto")
    axes.imshow(changes, cmap="YlOrRd", norm=norm, aspect="auto")
    for side in axes.spines.values():
        side.set_color(_SAME)
    if max(amounts.shape) > _NUMBERED:
        return
    for (i, j), amount in np.ndenumerate(amounts):
        if amount > 0:
            dark = not same[i, j] and norm(amount) > 0.6
            color = "white" if dark else _SOFT if same[i, j] else _INK
            axes.text(j, i, _short(amount), ha="center", va="center", fontsize=8, color=color)


def _short(amount: float) -> str:
    """At most five letters: 0.12, 9.5, 123, 12k, 3.4M."""
    for size, letter in ((1e6, "M"), (1e4, "k")):
        if amount >= size:
            scaled = amount / (1e6 if letter == "M" else 1e3)
            return f"{scaled:.3g}{letter}"
    return f"{amount:.2g}" if amount < 10 else f"{amount:.0f}"
