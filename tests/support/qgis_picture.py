"""A picture of what QGIS shows of a class raster that was just loaded: layer panel and map.

Run by Debian's Python, which has QGIS: ``qgis_picture.py CLASS_TIF PICTURE_PNG``. Nothing is set here.
"""

import sys

from qgis.core import QgsApplication, QgsLayerTreeModel, QgsProject, QgsRasterLayer
from qgis.gui import QgsLayerTreeView, QgsMapCanvas
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import QHBoxLayout, QWidget


def main(class_path: str, picture: str) -> None:
    layer = QgsRasterLayer(class_path, class_path.rpartition("/")[2])
    project = QgsProject.instance()
    project.addMapLayer(layer)
    tree = QgsLayerTreeView()
    model = QgsLayerTreeModel(project.layerTreeRoot())
    tree.setModel(model)
    tree.expandAll()
    tree.setFixedWidth(260)
    canvas = QgsMapCanvas()
    canvas.setCanvasColor(QColor("white"))
    canvas.setDestinationCrs(layer.crs())
    canvas.setLayers([layer])
    window = QWidget()
    row = QHBoxLayout(window)
    row.addWidget(tree)
    row.addWidget(canvas, 1)
    window.resize(1200, 620)
    window.show()
    canvas.setExtent(layer.extent())
    canvas.refresh()
    canvas.waitWhileRendering()
    for _ in range(20):
        QgsApplication.processEvents()
    window.grab().save(picture)


if __name__ == "__main__":
    application = QgsApplication([], True)
    application.initQgis()
    main(*sys.argv[1:])
    application.exitQgis()
