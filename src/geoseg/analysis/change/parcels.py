"""What changed in each parcel between two maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.analysis.change.compare import MapPair
from geoseg.analysis.parcels.projection import ParcelProjector, ProjectedParcels
from geoseg.analysis.parcels.verdicts import class_names
from geoseg.analysis.parcels.zonal import overlaps
from geoseg.feedback import Progress
from geoseg.grid import Window
from geoseg.io.vector.parcel_layers import BATCH, Layer, read_layer
from geoseg.io.vector.parcel_tables import create_table, free_names
from geoseg.legend import Legend
from geoseg.product.style import category_style

CHANGED, UNCHANGED, UNCERTAIN, NO_DATA = "changed", "unchanged", "not certain", "no data"
COLORS = {
    CHANGED: "#d62f2f",
    UNCHANGED: "#c9ced6",
    UNCERTAIN: "#f2c230",
    NO_DATA: "#9aa3ad",
}
"""Each value of ``change`` and its colour."""

_HALF = 50.0
"""Percent of the mapped area that must have changed for a parcel to count as changed."""

_SUMS = 2_000_000
"""Sums of a batch held at once."""


def write_changed_parcels(
    pair: MapPair, layer: Layer, target: Path, progress: Progress
) -> dict[str, int]:
    """Write the parcels with their crops before and after; returns how many changed.

    A parcel is ``changed`` where the majority crop differs and at least half of the area that both
    maps have a class for changed (and, where a threshold is asked for, both maps are sure of it).
    Raises ``ParcelError``, ``RasterError``, ``OutputError``.
    """
    projector = ParcelProjector(layer, pair.grid, str(pair.before.path))
    classes = len(pair.transitions.before) + len(pair.transitions.after)
    counts = dict.fromkeys(COLORS, 0)
    with (
        create_table(target, layer) as table,
        progress.start("parcels", layer.count, "parcels") as step,
    ):
        for batch in read_layer(layer, max(1, min(BATCH, _SUMS // classes))):
            columns = _columns(pair, projector.project(batch.geometry))
            names = free_names(list(columns), list(layer.fields))
            table.append(batch, {names[name]: values for name, values in columns.items()})
            for verdict in counts:
                counts[verdict] += int((columns["change"] == verdict).sum())
            step.advance(len(batch))
        table.set_style(category_style(names["change"], COLORS))
    return counts


def _columns(pair: MapPair, projected: ProjectedParcels) -> dict[str, NDArray[Any]]:
    t = pair.transitions
    sums = _ParcelChange(pair, projected.shapes)
    before, before_share = _majority(sums.before)
    after, after_share = _majority(sums.after)
    with np.errstate(invalid="ignore", divide="ignore"):
        changed = np.round(100 * sums.changed / sums.mapped, 2)
        uncertain = np.round(100 * sums.uncertain / sums.mapped, 2)
    names = class_names(t.before, before), class_names(t.after, after)
    moved = names[0] != names[1]
    change = np.where(moved, np.where(changed >= _HALF, CHANGED, UNCERTAIN), UNCHANGED)
    change = np.where(before < 0, NO_DATA, change).astype(object)
    arrows = np.array([f"{a} -> {b}" for a, b in zip(*names, strict=True)], dtype=object)
    arrows[change != CHANGED] = None
    return {
        "change": change,
        "transition": arrows,
        "before_code": _codes(t.before, before),
        "before_crop": names[0],
        "before_share": before_share,
        "after_code": _codes(t.after, after),
        "after_crop": names[1],
        "after_share": after_share,
        "changed_share": changed,
        "uncertain_share": uncertain,
        "mapped_pixels": np.round(sums.mapped, 3),
        "area_ha": np.round(projected.hectares, 6),
        "place": projected.location,
        "mended": projected.mended,
    }


def _majority(cover: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Place in the legend of the class that covers most, -1 where none does; its percent."""
    whole = cover.sum(axis=1)
    index = np.round(cover, 4).argmax(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.round(100 * cover[np.arange(len(index)), index] / whole, 2)
    return np.where(whole > 0, index, -1), share


def _codes(legend: Legend, index: NDArray[np.int64]) -> NDArray[Any]:
    return np.ma.masked_array(legend.codes[index].astype(np.int32), index < 0)


class _ParcelChange:
    """Pixels per parcel that both maps have a class for."""

    def __init__(self, pair: MapPair, shapes: NDArray[np.object_]) -> None:
        n, m = len(pair.transitions.before), len(pair.transitions.after)
        parcels = len(shapes)
        self.before, self.after = np.zeros((parcels, n)), np.zeros((parcels, m))
        self.changed, self.uncertain = np.zeros(parcels), np.zeros(parcels)
        same = pair.transitions.same.ravel()
        window: Window | None = None
        for part in overlaps(shapes, pair.grid):
            if part.window != window:
                window = part.window
                pairs, counts = pair.read(window)
            i, j = np.divmod(pairs[part.cell], m + 1)
            both = (i < n) & (j < m)
            zone, fraction, cell = part.zone[both], part.fraction[both], part.cell[both]
            self.before += _sums(zone * n + i[both], fraction, self.before)
            self.after += _sums(zone * m + j[both], fraction, self.after)
            moved, sure = ~same[pairs[cell]], counts[cell]
            self.changed += _sums(zone, fraction * (moved & sure), self.changed)
            self.uncertain += _sums(zone, fraction * (moved & ~sure), self.uncertain)
        self.mapped = self.before.sum(axis=1)


def _sums(
    place: NDArray[np.int64], weight: NDArray[np.float64], like: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sums of weights by place, in the shape of ``like``."""
    return np.asarray(np.bincount(place, weight, like.size), np.float64).reshape(like.shape)
