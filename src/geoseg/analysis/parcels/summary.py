"""Counts over all parcels, gathered batch by batch: what is printed and what the report tells."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
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


class _Group:
    """Parcels that have something in common."""

    def __init__(self) -> None:
        self.parcels, self.micro = 0, 0.0

    def to_dict(self) -> dict[str, Any]:
        return {"parcels": self.parcels, "hectares": round(self.micro / _MICRO, 4)}


class Summary:
    """Counts and areas by check, by crop and by place."""

    def __init__(self, legend: Legend, limits: Limits | None) -> None:
        """``limits`` where declarations are checked."""
        self._legend, self._limits = legend, limits
        self._groups: dict[str, dict[Any, _Group]] = defaultdict(lambda: defaultdict(_Group))
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
            group = self._groups[name][word or None]
            group.parcels += int(count)
            group.micro += float(area)

    def to_dict(self, unknown: Counter[str] | None, renamed: Mapping[str, str]) -> dict[str, Any]:
        """As JSON; ``unknown``: declared values that the legend does not have, with their counts."""
        places = self._groups["place"]
        found: dict[str, Any] = {
            "parcels": sum(group.parcels for group in places.values()),
            "hectares": round(sum(group.micro for group in places.values()) / _MICRO, 4),
            "place": {name: places[name].parcels for name in (INSIDE, PARTLY, OUTSIDE, NOWHERE)},
            "mended": self._mended,
            "crops": self._by("map_crop", self._legend.names),
            "renamed_columns": dict(renamed),
        }
        if self._limits is None or unknown is None:
            return found
        checks = self._by("check", tuple(CHECKS))
        names = sorted(unknown.items(), key=lambda item: (-item[1], item[0]))
        return found | {
            "limits": asdict(self._limits),
            "checks": checks,
            "hectares_agreed": checks[AGREES]["hectares"],
            "declared": {
                name: {
                    check: self._pairs[name][check] for check in CHECKS if self._pairs[name][check]
                }
                for name in self._legend.names
            },
            "unknown_declarations": dict(names[:_SHOWN]),
            "unknown_values": len(names),
        }

    def _by(self, column: str, names: tuple[str, ...]) -> dict[str, Any]:
        return {name: self._groups[column][name].to_dict() for name in names}


def summary_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The summary for people."""
    places = ", ".join(f"{count} {name}" for name, count in found["place"].items() if count)
    yield f"{found['parcels']} parcels, {found['hectares']:.1f} ha: {places}"
    if found["mended"]:
        yield f"{found['mended']} invalid geometries were mended for the measurement"
    groups = "checks" if "checks" in found else "crops"
    for name, group in found[groups].items():
        if group["parcels"]:
            yield f"  {name:<20} {group['parcels']:>9} parcels {group['hectares']:>14.1f} ha"
    for name, count in found.get("unknown_declarations", {}).items():
        yield f"  declared {show(name, found['crops'])} ({count}) is not in the legend"
    beyond = found.get("unknown_values", 0) - len(found.get("unknown_declarations", {}))
    if beyond > 0:
        yield f"  and {beyond} further declared values are not"
    for name, free in found["renamed_columns"].items():
        yield f"column {name!r} is called {free!r}: the layer has one of that name"
