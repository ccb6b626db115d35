"""QGIS style of polygons by a column of words: green, yellow, red."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree as ET


def category_style(attribute: str, colors: Mapping[str, str]) -> str:
    """QML for polygons whose ``attribute`` holds one of the words, each with its ``#rrggbb``."""
    root = ET.Element("qgis", version="3.22.0", styleCategories="Symbology")
    options = {"type": "categorizedSymbol", "attr": attribute, "symbollevels": "0"}
    renderer = ET.SubElement(root, "renderer-v2", options)
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for number, (verdict, color) in enumerate(colors.items()):
        entry = {"symbol": str(number), "value": verdict, "label": verdict, "render": "true"}
        ET.SubElement(categories, "category", {**entry, "type": "string"})
        _fill(ET.SubElement(symbols, "symbol", type="fill", name=str(number), alpha="1"), color)
    ET.indent(root)
    kind = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return kind + ET.tostring(root, encoding="unicode") + "\n"


def _fill(symbol: ET.Element, color: str) -> None:
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0"})
    options = ET.SubElement(layer, "Option", type="Map")
    rgb = ",".join(str(int(color[i : i + 2], 16)) for i in (1, 3, 5))
    fill = {"color": f"{rgb},200", "style": "solid", "outline_color": "60,60,60,160"}
    for name, value in {**fill, "outline_width": "0.15", "outline_width_unit": "MM"}.items():
        ET.SubElement(options, "Option", name=name, value=value, type="QString")
