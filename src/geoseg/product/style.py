"""The legend in the forms that files carry it: a raster's tag, QGIS styles, GDAL category names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from geoseg.errors import ConfigError, RasterError
from geoseg.io.raster import rasters
from geoseg.legend import Legend, LegendClass, spell

LEGEND_TAG = "GEOSEG_LEGEND"
"""Metadata key of a class raster under which its legend travels, as JSON."""

_QGIS = "3.22.0"
"""The oldest QGIS the styles are made for."""


def legend_tag(legend: Legend) -> str:
    """The legend as JSON text: a list of code, name and colour in model-index order."""
    entries = [{"code": c.code, "name": c.name, "color": c.color} for c in legend]
    return json.dumps(entries, ensure_ascii=False)


def read_legend(path: Path) -> Legend:
    """The legend that a class raster carries; ``RasterError`` where there is none or a broken one."""
    text = rasters.tags(path).get(LEGEND_TAG)
    if text is None:
        raise RasterError(
            f"{path} carries no legend (tag {LEGEND_TAG}); only class rasters that geoseg wrote do. "
            "Name one of those. A copy keeps its tags with gdal_translate, and loses them with some "
            "other programs; gdal_polygonize.py makes polygons of any raster."
        )
    try:
        return Legend(tuple(_entry(item) for item in json.loads(text)))
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise RasterError(
            f"{path}: its legend (tag {LEGEND_TAG}) is damaged: {error}. Write the map again."
        ) from None


def _entry(item: Mapping[str, object]) -> LegendClass:
    code, name, color = item["code"], item["name"], item["color"]
    if not isinstance(code, int) or not isinstance(name, str):
        raise ValueError(f"code {code!r} with name {name!r}")
    # The colour goes into style sheets and XML: nothing but a colour may pass.
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", str(color)):
        raise ValueError(f"colour {color!r} is not #rrggbb")
    return LegendClass(code, spell(name), str(color))


@dataclass(frozen=True, slots=True)
class PaletteEntry:
    """One value of a raster."""

    value: int
    name: str
    color: str
    """``#rrggbb``."""


def raster_style(legend: Legend) -> str:
    """QGIS style (QML) of the class raster: QGIS applies ``x.qml`` when it loads ``x.tif``."""
    return paletted_style(PaletteEntry(c.code, c.name, c.color) for c in legend)


def paletted_style(entries: Iterable[PaletteEntry]) -> str:
    """QGIS style (QML) of a raster of values that have a name and a colour each."""
    root = ET.Element("qgis", version=_QGIS, styleCategories="Symbology")
    pipe = ET.SubElement(root, "pipe")
    options = {"type": "paletted", "band": "1", "opacity": "1", "alphaBand": "-1"}
    renderer = ET.SubElement(pipe, "rasterrenderer", options)
    palette = ET.SubElement(renderer, "colorPalette")
    for e in entries:
        entry = {"value": str(e.value), "label": e.name, "color": e.color, "alpha": "255"}
        ET.SubElement(palette, "paletteEntry", entry)
    ET.SubElement(root, "blendMode").text = "0"
    return _document(root)


def polygon_style(legend: Legend, attribute: str) -> str:
    """QGIS style (QML) of polygons whose ``attribute`` holds the class code."""
    root = ET.Element("qgis", version=_QGIS, styleCategories="Symbology")
    options = {"type": "categorizedSymbol", "attr": attribute, "symbollevels": "0"}
    renderer = ET.SubElement(root, "renderer-v2", options)
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for number, c in enumerate(legend):
        category = {"symbol": str(number), "value": str(c.code), "label": c.name, "render": "true"}
        ET.SubElement(categories, "category", category)
        symbols.append(_class_fill(str(number), c))
    return _document(root)


def _class_fill(name: str, entry: LegendClass) -> ET.Element:
    """A filled polygon with a thin dark outline."""
    symbol = ET.Element("symbol", {"type": "fill", "name": name, "alpha": "1"})
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0"})
    options = ET.SubElement(layer, "Option", type="Map")
    for key, value in {
        "color": ",".join(str(part) for part in (*entry.rgb, 255)),
        "style": "solid",
        "outline_color": "60,60,60,120",
        "outline_style": "solid",
        "outline_width": "0.1",
        "outline_width_unit": "MM",
    }.items():
        ET.SubElement(options, "Option", name=key, value=value, type="QString")
    return symbol


def category_style(attribute: str, colors: Mapping[str, str]) -> str:
    """QML for polygons whose ``attribute`` holds one of the words, each with its ``#rrggbb``."""
    root = ET.Element("qgis", version=_QGIS, styleCategories="Symbology")
    options = {"type": "categorizedSymbol", "attr": attribute, "symbollevels": "0"}
    renderer = ET.SubElement(root, "renderer-v2", options)
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for number, (word, color) in enumerate(colors.items()):
        entry = {"symbol": str(number), "value": word, "label": word, "render": "true"}
        ET.SubElement(categories, "category", {**entry, "type": "string"})
        _word_fill(
            ET.SubElement(symbols, "symbol", type="fill", name=str(number), alpha="1"), color
        )
    return _document(root)


def _word_fill(symbol: ET.Element, color: str) -> None:
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0"})
    options = ET.SubElement(layer, "Option", type="Map")
    rgb = ",".join(str(int(color[i : i + 2], 16)) for i in (1, 3, 5))
    fill = {"color": f"{rgb},200", "style": "solid", "outline_color": "60,60,60,160"}
    for name, value in {**fill, "outline_width": "0.15", "outline_width_unit": "MM"}.items():
        ET.SubElement(options, "Option", name=name, value=value, type="QString")


Table = dict[str, list[Any]]
"""An attribute table: column to one value per class."""


def attribute_table(legend: Legend, counts: Sequence[int]) -> Table:
    """Value, pixels, name and colour of each class, by code: what ArcGIS makes a legend of.

    ``counts``: pixels of each class, in the legend's order.
    """
    known = sorted(zip(legend, counts, strict=True), key=lambda pair: pair[0].code)
    columns: Table = {
        "Value": [c.code for c, _ in known],
        "Count": [count for _, count in known],
        "Class": [c.name for c, _ in known],
    }
    for number, part in enumerate(("Red", "Green", "Blue")):
        columns[part] = [c.rgb[number] for c, _ in known]
    return {**columns, "Alpha": [255] * len(known)}


def category_names(names: Mapping[int, str], table: Table | None = None) -> str:
    """GDAL's side file (``x.tif.aux.xml``): names and attribute table, for which GeoTIFF has no place.

    Category names are what GDAL programs show beside a value; the table is for QGIS from 3.30 on.
    """
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    categories = ET.SubElement(band, "CategoryNames")
    for value in range(max(names) + 1):
        ET.SubElement(categories, "Category").text = names.get(value, "")
    if table is not None:
        band.append(_table_element(table))
    return _text(root)


_USAGES = {"Value": 5, "Count": 1, "Class": 2, "Red": 6, "Green": 7, "Blue": 8, "Alpha": 9}
"""What each column is for (``GDALRATFieldUsage``)."""


def _table_element(table: Table) -> ET.Element:
    """The table as GDAL writes it. A count is a float there: an integer of GDAL's has 32 bits."""
    element = ET.Element("GDALRasterAttributeTable", tableType="thematic")
    kinds = {"Count": "1", "Class": "2"}
    for number, name in enumerate(table):
        column = ET.SubElement(element, "FieldDefn", index=str(number))
        for key, text in (("Name", name), ("Type", kinds.get(name, "0"))):
            ET.SubElement(column, key).text = text
        ET.SubElement(column, "Usage").text = str(_USAGES[name])
    for number, values in enumerate(zip(*table.values(), strict=True)):
        row = ET.SubElement(element, "Row", index=str(number))
        for value in values:
            ET.SubElement(row, "F").text = str(value)
    return element


_SLD = "http://www.opengis.net/sld"


def raster_sld(legend: Legend) -> str:
    """The class raster's style as OGC Styled Layer Descriptor 1.0, for GeoServer, QGIS and others."""
    root = ET.Element("StyledLayerDescriptor", version="1.0.0", xmlns=_SLD)
    layer = ET.SubElement(root, "NamedLayer")
    ET.SubElement(layer, "Name").text = "crop classes"
    user = ET.SubElement(layer, "UserStyle")
    ET.SubElement(user, "Title").text = "Crop classes"
    rule = ET.SubElement(ET.SubElement(user, "FeatureTypeStyle"), "Rule")
    symbolizer = ET.SubElement(rule, "RasterSymbolizer")
    channel = ET.SubElement(ET.SubElement(symbolizer, "ChannelSelection"), "GrayChannel")
    ET.SubElement(channel, "SourceChannelName").text = "1"
    colors = ET.SubElement(symbolizer, "ColorMap", type="values")
    for c in legend:
        entry = {"color": c.color, "quantity": str(c.code), "label": c.name, "opacity": "1"}
        ET.SubElement(colors, "ColorMapEntry", entry)
    return _text(root)


def _document(root: ET.Element) -> str:
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + _text(root)


def _text(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
