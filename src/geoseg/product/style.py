"""The legend in the forms that files carry it: a raster's tag, QGIS styles, GDAL category names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.errors import ConfigError, RasterError
from geoseg.io import rasters
from geoseg.legend import Legend, LegendClass

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
            "Name one of those, or the config or model that made this map."
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
    return LegendClass(code, name, str(color))


def raster_style(legend: Legend) -> str:
    """QGIS style (QML) of the class raster: QGIS applies ``x.qml`` when it loads ``x.tif``."""
    root = ET.Element("qgis", version=_QGIS, styleCategories="Symbology")
    pipe = ET.SubElement(root, "pipe")
    options = {"type": "paletted", "band": "1", "opacity": "1", "alphaBand": "-1"}
    renderer = ET.SubElement(pipe, "rasterrenderer", options)
    palette = ET.SubElement(renderer, "colorPalette")
    for c in legend:
        entry = {"value": str(c.code), "label": c.name, "color": c.color, "alpha": "255"}
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
        symbols.append(_fill(str(number), c))
    return _document(root)


def _fill(name: str, entry: LegendClass) -> ET.Element:
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


def side_file(legend: Legend) -> str:
    """GDAL's side file (``x.tif.aux.xml``): names and attribute table, for which GeoTIFF has no place.

    Category names are what GDAL programs show beside a code, the raster attribute table what ArcGIS
    (and QGIS from 3.30 on) make a legend of. See GDAL's "PAM" and ``GDALRATFieldUsage``.
    """
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    names = ET.SubElement(band, "CategoryNames")
    by_code = {c.code: c.name for c in legend}
    for code in range(max(by_code) + 1):
        ET.SubElement(names, "Category").text = by_code.get(code, "")
    band.append(_attribute_table(legend))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


_INTEGER, _TEXT = "0", "2"
_COLUMNS = (
    ("Value", _INTEGER, "5"),
    ("Class", _TEXT, "2"),
    ("Red", _INTEGER, "6"),
    ("Green", _INTEGER, "7"),
    ("Blue", _INTEGER, "8"),
    ("Alpha", _INTEGER, "9"),
)
"""Name, type and usage (``GDALRATFieldUsage``) of each column of the attribute table."""


def _attribute_table(legend: Legend) -> ET.Element:
    """One row per class, in the order of codes: ArcGIS looks rows up by it."""
    table = ET.Element("GDALRasterAttributeTable", tableType="thematic")
    for number, (name, kind, usage) in enumerate(_COLUMNS):
        column = ET.SubElement(table, "FieldDefn", index=str(number))
        for key, text in (("Name", name), ("Type", kind), ("Usage", usage)):
            ET.SubElement(column, key).text = text
    for number, c in enumerate(sorted(legend, key=lambda c: c.code)):
        row = ET.SubElement(table, "Row", index=str(number))
        for value in (c.code, c.name, *c.rgb, 255):
            ET.SubElement(row, "F").text = str(value)
    return table


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
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _document(root: ET.Element) -> str:
    ET.indent(root)
    kind = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return kind + ET.tostring(root, encoding="unicode") + "\n"
