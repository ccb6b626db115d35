"""The transition matrix as a picture: what was, from above to below; what became of it, across."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from geoseg.analysis.change.compare import Matrix
from geoseg.io.files import replacing

_INK, _SOFT, _SAME = "#1c2430", "#5c6775", "#e4e2dc"
_NUMBERED, _MOST = 20, 40
"""Classes up to which every cell has its number; classes shown at most."""


def write_chart(matrix: Matrix, target: Path, title: str) -> None:
    """Write a PNG of the changes that count; classes that stayed are grey. ``OutputError``.

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
