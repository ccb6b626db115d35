"""Names and colours of a change raster in the forms that QGIS and GDAL read."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from geoseg.analysis.change.transitions import Transitions


def change_style(transitions: Transitions) -> str:
    """QGIS style (QML): QGIS applies ``change.qml`` when it loads ``change.tif``."""
    root = ET.Element("qgis", version="3.22.0", styleCategories="Symbology")
    options = {"type": "paletted", "band": "1", "opacity": "1", "alphaBand": "-1"}
    renderer = ET.SubElement(ET.SubElement(root, "pipe"), "rasterrenderer", options)
    palette = ET.SubElement(renderer, "colorPalette")
    for e in transitions.entries():
        entry = {"value": str(e.value), "label": e.name, "color": e.color, "alpha": "255"}
        ET.SubElement(palette, "paletteEntry", entry)
    ET.SubElement(root, "blendMode").text = "0"
    ET.indent(root)
    kind = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return kind + ET.tostring(root, encoding="unicode") + "\n"


def change_names(transitions: Transitions) -> str:
    """GDAL's side file (``change.tif.aux.xml``) with the name of each value."""
    names = {e.value: e.name for e in transitions.entries()}
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    categories = ET.SubElement(band, "CategoryNames")
    for value in range(max(names) + 1):
        ET.SubElement(categories, "Category").text = names.get(value, "")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
