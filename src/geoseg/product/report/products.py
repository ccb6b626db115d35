"""Gates, polygons, parcels and change, arranged for reading: parts that only some runs have.

Each takes the record of its step as it is, and shows nothing where there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from geoseg.product.report.format import NONE, words

TRANSITIONS = 12
"""The largest changes that are told."""


def gates_view(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What each gate said: ``name``, ``judged``, ``passed`` and ``why``."""
    return [
        {
            "name": words(row["name"]),
            "verdict": "failed" if not row["passed"] else "passed" if row["judged"] else NONE,
            "why": row["why"],
        }
        for row in rows
    ]


def vectors_view(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Areas of polygons beside those of the raster: ``code``, ``name``, ``polygons`` (their number),
    ``raster_ha``, ``polygons_ha``, ``difference_percent``, ``merged_regions``."""
    keys = ("name", "polygons", "raster_ha", "polygons_ha", "merged_regions")
    shares = [row.get("difference_percent") for row in rows]
    return [
        {**{key: row.get(key) for key in keys}, "difference": None if d is None else d / 100}
        for row, d in zip(rows, shares, strict=True)
    ]


def parcels_view(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """``parcels``, ``hectares``, ``place`` (name to number), ``mended``, ``crops`` and, where
    declarations are checked, ``checks`` (both: name to ``parcels`` and ``hectares``) and
    ``unknown_declarations`` (value to number)."""
    if not found or not found.get("parcels"):
        return None
    places = {name: n for name, n in (found.get("place") or {}).items() if n}
    return {
        "parcels": found["parcels"],
        "hectares": found.get("hectares"),
        "places": places,
        "mended": found.get("mended"),
        "checks": _groups(found.get("checks"), found["parcels"]),
        "crops": _groups(found.get("crops"), found["parcels"]),
        "unknown": found.get("unknown_declarations") or {},
    }


def _groups(groups: Mapping[str, Any] | None, parcels: int) -> list[dict[str, Any]]:
    """Groups that hold a parcel, with their share of all."""
    return [
        {
            "name": words(name),
            "parcels": group["parcels"],
            "hectares": group.get("hectares"),
            "share": group["parcels"] / parcels,
        }
        for name, group in (groups or {}).items()
        if group["parcels"]
    ]


def change_view(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """``before``, ``after`` (names of the maps), ``rows``, ``columns`` (classes, then no data),
    ``pixels`` and ``hectares`` (matrices, rows before), and the sums ``unchanged``, ``changed``,
    ``uncertain``, ``no_data``, each of ``pixels`` and ``hectares``."""
    if not found or not found.get("pixels"):
        return None
    sums = [
        {"name": words(key), **found[key]}
        for key in ("unchanged", "changed", "uncertain", "no_data")
        if key in found
    ]
    pixels, hectares = found["pixels"], found.get("hectares")
    cells = [
        {"before": before, "after": after, "pixels": pixels[i][j],
         "hectares": hectares[i][j] if hectares else None}
        for i, before in enumerate(found["rows"][:-1])
        for j, after in enumerate(found["columns"][:-1])
        if before != after and pixels[i][j]
    ]  # fmt: skip
    cells.sort(key=lambda cell: -int(cell["pixels"]))
    names = {key: found.get(key) for key in ("before", "after")}
    return {**names, "sums": sums, "known": bool(hectares), "transitions": cells[:TRANSITIONS]}


PURPOSES = (
    ("class.tif", "the map: one class code per pixel, with names and colours"),
    ("confidence.tif", "how sure the network is, in percent"),
    ("probabilities.tif", "percent of each class, a band each"),
    ("margin.tif", "lead of the chosen class over the next, in percent"),
    ("entropy.tif", "how evenly the probabilities are spread"),
    ("change.tif", "what changed since the earlier map"),
    (".tif", "raster"),
    ("parcels.gpkg", "parcels with their majority crop and flags"),
    (".gpkg", "polygons with name, area and confidence; opens styled in QGIS"),
    (".parquet", "the same polygons for analysis (GeoParquet)"),
    (".fgb", "the same polygons for the web (FlatGeobuf)"),
    (".qml", "style for QGIS"),
    (".sld", "style for GeoServer and others"),
    ("report.html", "this page"),
    ("report.md", "the report as plain text (Markdown)"),
    ("gates.json", "what was checked before publishing, for programs"),
    ("report.json", "the same figures for programs"),
    (".csv", "table"),
    (".json", "STAC item: what a catalogue needs to know of the map"),
    (".png", "the map as a picture"),
)
"""End of a name, and what such a file is; the first that fits counts."""


def purpose(name: str) -> str:
    """What a file is for; empty where its name does not tell."""
    return next((text for end, text in PURPOSES if name.endswith(end)), "")


def output_lines(outputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Path, purpose and link of each output; a file elsewhere is named, not linked."""
    lines = []
    for key, path in outputs.items():
        if path:
            inside = not PurePath(path).is_absolute() and ":" not in path
            what = "the trained network and its card" if key == "model" else purpose(path) or key
            name = path if inside else PurePath(path).name
            lines.append({"name": name, "what": what, "link": path if inside else None})
    return lines
