"""Counts over all parcels, gathered batch by batch: what is printed and what the report tells."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.analysis.parcels.projection import INSIDE, NOWHERE, OUTSIDE, PARTLY
from geoseg.analysis.parcels.verdicts import AGREES, CHECKS, Limits
from geoseg.legend import Legend, show

_SHOWN = 20
"""Unknown declarations that are named; the rest is counted."""


_MICRO = 1e6
"""Areas are summed in whole millionths of a hectare: then their order does not matter."""


@dataclass(frozen=True, slots=True)
class ParcelGroup:
    """Parcels that have something in common."""

    parcels: int = 0
    hectares: float = 0.0


@dataclass(frozen=True, slots=True)
class DeclarationSummary:
    """What came out of the check of what was declared."""

    limits: Limits
    checks: Mapping[str, ParcelGroup]
    hectares_agreed: float
    declared: Mapping[str, Mapping[str, int]]
    """Class that was declared to check to parcels."""
    unknown_declarations: Mapping[str, int]
    """Declared values that the legend does not have, the most frequent ones with their counts."""
    unknown_values: int
    """How many such values there are."""


@dataclass(frozen=True, slots=True)
class ParcelSummary:
    """Counts over all parcels."""

    parcels: int
    hectares: float
    place: Mapping[str, int]
    mended: int
    """Parcels whose geometry was invalid."""
    crops: Mapping[str, ParcelGroup]
    renamed_columns: Mapping[str, str]
    """New columns whose name the layer had already, and what they are called."""
    declarations: DeclarationSummary | None = None
    """None where nothing was checked."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON, the check's figures beside the others."""
        record = asdict(self)
        return record | (record.pop("declarations") or {})


class SummaryCounts:
    """Counts and areas by check, by crop and by place, added up batch by batch."""

    def __init__(self, legend: Legend, limits: Limits | None) -> None:
        """``limits`` where declarations are checked."""
        self._legend, self._limits = legend, limits
        self._parcels: dict[str, Counter[str | None]] = defaultdict(Counter)
        self._areas: dict[str, Counter[str | None]] = defaultdict(Counter)
        self._pairs: dict[str, Counter[str]] = defaultdict(Counter)
        self._mended = 0

    def add(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Count a batch."""
        hectares = np.round(np.nan_to_num(columns["area_ha"]) * _MICRO)
        for name in {"map_crop", "place", "check"} & set(columns):
            self._count(name, columns[name], hectares)
        if "check" in columns:
            for crop, check in zip(columns["declared_crop"], columns["check"], strict=True):
                if crop is not None:
                    self._pairs[crop][check] += 1
        self._mended += int(columns["mended"].sum())

    def _count(self, name: str, values: NDArray[np.object_], hectares: NDArray[np.float64]) -> None:
        words, where = np.unique(np.where(values == None, "", values), return_inverse=True)  # noqa: E711
        parcels, areas = np.bincount(where), np.bincount(where, hectares)
        for word, count, area in zip(words.tolist(), parcels, areas, strict=True):
            self._parcels[name][word or None] += int(count)
            self._areas[name][word or None] += int(area)

    def summary(self, unknown: Counter[str] | None, renamed: Mapping[str, str]) -> ParcelSummary:
        """``unknown``: declared values that the legend does not have, with their counts."""
        places = self._parcels["place"]
        return ParcelSummary(
            parcels=places.total(),
            hectares=round(self._areas["place"].total() / _MICRO, 4),
            place={name: places[name] for name in (INSIDE, PARTLY, OUTSIDE, NOWHERE)},
            mended=self._mended,
            crops=self._by("map_crop", self._legend.names),
            renamed_columns=dict(renamed),
            declarations=self._declarations(self._limits, unknown),
        )

    def _declarations(
        self, limits: Limits | None, unknown: Counter[str] | None
    ) -> DeclarationSummary | None:
        if limits is None or unknown is None:
            return None
        checks = self._by("check", tuple(CHECKS))
        by_frequency = sorted(unknown.items(), key=lambda item: (-item[1], item[0]))
        return DeclarationSummary(
            limits=limits,
            checks=checks,
            hectares_agreed=checks[AGREES].hectares,
            declared={
                name: {
                    check: self._pairs[name][check] for check in CHECKS if self._pairs[name][check]
                }
                for name in self._legend.names
            },
            unknown_declarations=dict(by_frequency[:_SHOWN]),
            unknown_values=len(by_frequency),
        )

    def _by(self, column: str, names: tuple[str, ...]) -> dict[str, ParcelGroup]:
        parcels, areas = self._parcels[column], self._areas[column]
        return {name: ParcelGroup(parcels[name], round(areas[name] / _MICRO, 4)) for name in names}


def summary_lines(summary: ParcelSummary) -> Iterator[str]:
    """The summary for people."""
    places = ", ".join(f"{count} {name}" for name, count in summary.place.items() if count)
    yield f"{summary.parcels} parcels, {summary.hectares:.1f} ha: {places}"
    if summary.mended:
        yield f"{summary.mended} invalid geometries were mended for the measurement"
    checked = summary.declarations
    for name, group in (checked.checks if checked else summary.crops).items():
        if group.parcels:
            yield f"  {name:<20} {group.parcels:>9} parcels {group.hectares:>14.1f} ha"
    if checked:
        for name, count in checked.unknown_declarations.items():
            yield f"  declared {show(name, summary.crops)} ({count}) is not in the legend"
        beyond = checked.unknown_values - len(checked.unknown_declarations)
        if beyond > 0:
            yield f"  and {beyond} further declared values are not"
    for name, free in summary.renamed_columns.items():
        yield f"column {name!r} is called {free!r}: the layer has one of that name"
