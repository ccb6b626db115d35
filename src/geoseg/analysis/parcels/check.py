"""Each parcel's crop by the map, and the check of what was declared for it.

Parcels are read, judged and written batch by batch in their order; the pixels under a batch are read
block by block. Memory does not grow with the layer or the map.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.analysis.parcels.projection import ParcelProjector, ProjectedParcels
from geoseg.analysis.parcels.summary import ParcelSummary, SummaryCounts, summary_lines
from geoseg.analysis.parcels.verdicts import (
    CHECKS,
    Declarations,
    Limits,
    ParcelVotes,
    class_names,
    declarations,
    disagreement,
    find,
    judge,
)
from geoseg.analysis.parcels.zonal import overlaps
from geoseg.feedback import Progress
from geoseg.grid import Window
from geoseg.io import files
from geoseg.io.vector.parcel_layers import BATCH, Batch, Layer, describe_layer, read_layer
from geoseg.io.vector.parcel_tables import check_suffix, create_table, free_names
from geoseg.legend import Legend
from geoseg.product.crop_map import CropMap
from geoseg.product.style import category_style, polygon_style

_SUMS = 2_000_000
"""Sums of a batch held at once: fewer parcels where the legend is long."""


@dataclass(frozen=True)
class ParcelRequest:
    """What is asked about which parcels."""

    class_map: Path
    confidence: Path
    parcels: Path
    """Any vector file GDAL reads."""
    layer: str | None = None
    """Needed where the file has several."""
    declared: str | None = None
    """Column with the declared crop; without it nothing is checked."""
    mapping: Path | None = None
    """CSV of declared values and class names; see ``declared.declarations``."""
    limits: Limits = field(default_factory=Limits)


def check_parcels(request: ParcelRequest, target: Path, progress: Progress) -> ParcelSummary:
    """Write the parcels with their crop, shares, confidence and check; returns the summary.

    Raises ``ParcelError``, ``RasterError``, ``GridMismatchError``, ``OutputError``.
    """
    check_suffix(target)
    work = _ParcelCheck(request)
    counts = SummaryCounts(work.legend, request.limits if work.declared else None)
    names: dict[str, str] = {}
    with closing(work.map), create_table(target, work.layer) as table:
        for batch in work.batches(progress):
            columns = work.judge(batch)
            names = free_names(list(columns), list(work.layer.fields))
            table.append(batch, {names[name]: values for name, values in columns.items()})
            counts.add(columns)
        if work.declared:
            table.set_style(category_style(names["check"], CHECKS))
        else:
            table.set_style(polygon_style(work.legend, names["map_code"]))
    unknown = work.declared.unknown if work.declared else None
    return counts.summary(unknown, {name: free for name, free in names.items() if name != free})


def require_parcels(request: ParcelRequest, legend: Legend) -> tuple[Layer, Declarations | None]:
    """The layer and the table of declarations, checked before a map is there; ``ParcelError``."""
    layer = describe_layer(request.parcels, request.layer)
    if request.declared is None:
        return layer, None
    layer.require(request.declared, "the declared crop")
    return layer, declarations(legend, request.mapping)


class _ParcelCheck:
    """One request with all it needs open."""

    def __init__(self, request: ParcelRequest) -> None:
        self.request = request
        self.map = CropMap(request.class_map, request.confidence)
        self.legend = self.map.legend
        self.layer, self.declared = require_parcels(request, self.legend)
        self._projector = ParcelProjector(self.layer, self.map.grid, str(request.class_map))

    def batches(self, progress: Progress) -> Iterator[Batch]:
        """The layer's rows, telling how far they are."""
        size = max(1, min(BATCH, _SUMS // len(self.legend)))
        with progress.start("parcels", self.layer.count, "parcels") as step:
            for batch in read_layer(self.layer, size):
                yield batch
                step.advance(len(batch))

    def judge(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """New columns of a batch."""
        projected = self._projector.project(batch.geometry)
        texts = batch.texts(self.request.declared) if self.request.declared else None
        return self._describe(projected, _count_votes(self.map, projected.shapes), texts)

    def _describe(
        self, projected: ProjectedParcels, votes: ParcelVotes, texts: NDArray[np.object_] | None
    ) -> dict[str, NDArray[Any]]:
        findings, legend = find(votes), self.legend
        codes = np.ma.masked_array(
            legend.codes[findings.majority].astype(np.int32), findings.majority < 0
        )
        columns: dict[str, NDArray[Any]] = {
            "map_code": codes,
            "map_crop": class_names(legend, findings.majority),
            "map_share": findings.share,
            "map_confidence": findings.confidence,
        }
        if texts is not None and self.declared is not None:
            declared = self.declared.to_indices(texts)
            columns["declared_crop"] = class_names(legend, declared)
            columns["check"] = judge(findings, projected.pixels, declared, self.request.limits)
            columns["disagreement"] = disagreement(votes, declared)
        columns |= {
            "mean_confidence": findings.mean_confidence,
            "pixels": np.round(votes.total, 3),
            "classified": np.round(findings.classified, 3),
            "area_ha": np.round(projected.hectares, 6),
            "place": projected.location,
            "mended": projected.mended,
        }
        shares = zip(legend.names, findings.shares.T, strict=True)
        return columns | {f"pct_{name}": share for name, share in shares}


def _count_votes(crops: CropMap, shapes: NDArray[np.object_]) -> ParcelVotes:
    """Sums over the pixels under polygons in (column, -row)."""
    shape = len(shapes), len(crops.legend) + 1
    cover, weighted = np.zeros(shape), np.zeros(shape)
    window: Window | None = None
    for part in overlaps(shapes, crops.grid):
        if part.window != window:
            window = part.window
            index, confidence = crops.indices(window), crops.confidences(window)
        vote = part.zone * shape[1] + index[part.cell]
        cover += np.bincount(vote, part.fraction, cover.size).reshape(shape)
        weight = part.fraction * confidence[part.cell]
        weighted += np.bincount(vote, weight, cover.size).reshape(shape)
    return ParcelVotes(cover[:, :-1], weighted[:, :-1], cover.sum(axis=1))


def check_file(
    request: ParcelRequest, target: Path | None, progress: Progress
) -> tuple[Path, tuple[str, ...]]:
    """Parcels against any map; returns where they are, and the summary in lines.

    The summary is also beside the table, as ``*.summary.json``.
    """
    target = target or default_target(request.class_map)
    summary = check_parcels(request, target, progress)
    files.write_json(target.with_suffix(".summary.json"), summary.to_dict())
    return target, tuple(summary_lines(summary))


def default_target(class_map: Path) -> Path:
    """``x_parcels.gpkg`` beside ``x_class.tif``."""
    return class_map.with_name(f"{class_map.stem.removesuffix('_class')}_parcels.gpkg")


def default_confidence(class_map: Path) -> Path:
    """``x_confidence.tif`` beside ``x_class.tif``."""
    return class_map.with_name(f"{class_map.stem.removesuffix('_class')}_confidence.tif")
