"""Loads a class raster and its polygons in QGIS as a user would, and tells what it shows.

Run by Debian's Python, which has QGIS: ``qgis_render.py CLASS_TIF CROPS_GPKG PICTURE_FOLDER``. Prints
JSON; writes ``raster.png``, ``polygons.png`` and ``qgis.sld``, the raster's style as QGIS exports it.
No style is set here: what is shown is what the files bring along.
"""

import json
import sys
from typing import Any

from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsLayerTree,
    QgsLayerTreeModel,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def raster_legend(layer: Any) -> Any:
    renderer = layer.renderer()
    if renderer.type() != "paletted":
        return renderer.type()
    return {entry.label: entry.color.name() for entry in renderer.classes()}


def polygon_legend(layer: Any) -> Any:
    renderer = layer.renderer()
    if renderer.type() != "categorizedSymbol":
        return renderer.type()
    return {entry.label(): entry.symbol().color().name() for entry in renderer.categories()}


def tree_names(layer: Any) -> list[str]:
    """What stands below the layer in QGIS's layer panel."""
    tree = QgsLayerTree()
    node = tree.addLayer(layer)
    model = QgsLayerTreeModel(tree)
    labels = [entry.data(0) for entry in model.layerLegendNodes(node)]
    return [label for label in labels if label]


def attribute_table(class_path: str) -> dict[str, list[str]]:
    """GDAL's view of the attribute table: one list per column."""
    dataset = gdal.Open(class_path)  # the table dies with it
    table = dataset.GetRasterBand(1).GetDefaultRAT()
    columns = range(table.GetColumnCount())
    rows = range(table.GetRowCount())
    return {table.GetNameOfCol(c): [table.GetValueAsString(r, c) for r in rows] for c in columns}


def colors_of(layer: Any, path: str) -> dict[str, int]:
    """Draw a layer without antialiasing; pixels of each colour in the picture."""
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(layer.crs())
    settings.setExtent(layer.extent())
    settings.setBackgroundColor(QColor("#ffffff"))
    settings.setOutputSize(QSize(900, 600))
    settings.setFlag(QgsMapSettings.Antialiasing, False)
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    image = job.renderedImage()
    image.save(path)
    counts: dict[str, int] = {}
    for y in range(0, image.height(), 3):
        for x in range(0, image.width(), 3):
            name = image.pixelColor(x, y).name()
            counts[name] = counts.get(name, 0) + 1
    return counts


def main(class_path: str, polygons_path: str, folder: str) -> None:
    raster = QgsRasterLayer(class_path, "classes")
    polygons = QgsVectorLayer(polygons_path + "|layername=crops", "crops")
    for layer in (raster, polygons):
        layer.loadDefaultStyle()
    raster.saveSldStyle(folder + "/qgis.sld")
    report = {
        "table": attribute_table(class_path),
        "raster": {
            "valid": raster.isValid(),
            "crs": raster.crs().authid(),
            "legend": raster_legend(raster),
            "tree": tree_names(raster),
            "colors": colors_of(raster, folder + "/raster.png"),
        },
        "polygons": {
            "valid": polygons.isValid(),
            "crs": polygons.crs().authid(),
            "count": polygons.featureCount(),
            "legend": polygon_legend(polygons),
            "tree": tree_names(polygons),
            "colors": colors_of(polygons, folder + "/polygons.png"),
        },
    }
    print(json.dumps(report))


if __name__ == "__main__":
    application = QgsApplication([], False)
    application.initQgis()
    main(*sys.argv[1:])
    application.exitQgis()
