"""The files of a run, in words: what each is for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

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
