"""Loads a class raster and its polygons in QGIS as a user would, and tells what it shows.

Run by Debian's Python, which has QGIS: ``qgis_render.py CLASS_TIF CROPS_GPKG PICTURE_FOLDER``. Prints
JSON; writes ``raster.png`` and ``polygons.png``. No style is set here: what is shown is what
the files bring along.
"""

import json
import sys

from qgis.core import (
    QgsApplication,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def raster_legend(layer):
    renderer = layer.renderer()
    if renderer.type() != "paletted":
        return renderer.type()
    return {entry.label: entry.color.name() for entry in renderer.classes()}


def polygon_legend(layer):
    renderer = layer.renderer()
    if renderer.type() != "categorizedSymbol":
        return renderer.type()
    return {entry.label(): entry.symbol().color().name() for entry in renderer.categories()}


def colors_of(layer, path):
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
    counts = {}
    for y in range(0, image.height(), 3):
        for x in range(0, image.width(), 3):
            name = image.pixelColor(x, y).name()
            counts[name] = counts.get(name, 0) + 1
    return counts


def main(class_path, polygons_path, folder):
    raster = QgsRasterLayer(class_path, "classes")
    polygons = QgsVectorLayer(polygons_path + "|layername=crops", "crops")
    for layer in (raster, polygons):
        layer.loadDefaultStyle()
    report = {
        "raster": {
            "valid": raster.isValid(),
            "crs": raster.crs().authid(),
            "legend": raster_legend(raster),
            "colors": colors_of(raster, folder + "/raster.png"),
        },
        "polygons": {
            "valid": polygons.isValid(),
            "crs": polygons.crs().authid(),
            "count": polygons.featureCount(),
            "legend": polygon_legend(polygons),
            "colors": colors_of(polygons, folder + "/polygons.png"),
        },
    }
    print(json.dumps(report))


if __name__ == "__main__":
    application = QgsApplication([], False)
    application.initQgis()
    main(*sys.argv[1:])
    application.exitQgis()
