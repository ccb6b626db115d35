"""The transition matrix as a picture: what was, from above to below; what became of it, across."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from geoseg.io.files import replacing
from geoseg.product.change import Matrix

_INK, _SOFT, _SAME = "#1c2430", "#5c6775", "#e4e2dc"
_NUMBERED = 20
"""Classes up to which every cell has its number."""


def write_chart(matrix: Matrix, target: Path, title: str) -> None:
    """Write a PNG of the changes that count; classes that stayed are grey. ``OutputError``."""
    amounts = (matrix.pixels if matrix.hectares is None else matrix.hectares)[:-1, :-1]
    unit = "pixels" if matrix.hectares is None else "hectares"
    t = matrix.transitions
    rows, columns = amounts.shape
    wide, tall = 3.2 + 0.72 * columns, 2.4 + 0.46 * rows
    figure = Figure(figsize=(max(wide, 6), max(tall, 3.6)), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    same = t.same[:-1, :-1]
    _draw(axes, amounts.astype(np.float64), same)
    axes.set_xticks(range(columns), t.after.names, rotation=40, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(rows), t.before.names)
    axes.tick_params(length=0, labelcolor=_INK, top=True, labeltop=True, labelbottom=False)
    axes.set_title(f"{title}\nbefore (rows) to after (columns), {unit}", fontsize=11, color=_INK)
    with replacing(target) as part:
        figure.savefig(part, format="png", dpi=110)


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
