"""A small map with its confidence, and layers of parcels on it, for tests of the parcel check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.analysis.parcels.check import ParcelRequest, check_parcels
from geoseg.feedback import Silent
from geoseg.grid import Grid
from geoseg.io.raster import geotiffs
from geoseg.legend import NODATA, Legend, LegendClass
from geoseg.product import style

CRS = "EPSG:32633"
LEGEND = Legend(
    (
        LegendClass(7, "maize", "#e69f00"),
        LegendClass(3, "winter wheat", "#56b4e9"),
        LegendClass(1, "Сахарная свёкла", "#009e73"),
    )
)
WEST, NORTH, SIDE = 500_000, 5_100_000, 10


def write_map(
    folder: Path, codes: NDArray[np.uint8], confidence: NDArray[np.uint8], grid: Grid | None = None
) -> Path:
    """Class and confidence raster; returns the first."""
    place = grid or Grid(CRS, Affine(SIDE, 0, WEST, 0, -SIDE, NORTH), *codes.shape)
    tags = ((style.LEGEND_TAG, style.legend_tag(LEGEND)),)
    for name, values, kept in (("class", codes, tags), ("confidence", confidence, ())):
        spec = geotiffs.RasterSpec("uint8", nodata=NODATA, tags=kept)
        with geotiffs.create(folder / f"m_{name}.tif", place, spec) as target:
            target.write(values, place.window)
    return folder / "m_class.tif"


def make_halves(folder: Path) -> Path:
    """40 x 60 pixels: maize (confidence 90) left, wheat (60) right, and nodata in the last rows."""
    codes = np.full((40, 60), 7, np.uint8)
    codes[:, 30:] = 3
    confidence = np.where(codes == 7, 90, 60).astype(np.uint8)
    codes[30:], confidence[30:] = NODATA, NODATA
    return write_map(folder, codes, confidence)


def box(col: float, row: float, width: float, height: float) -> shapely.Polygon:
    """A rectangle given in pixels."""
    x, y = WEST + col * SIDE, NORTH - row * SIDE
    return shapely.box(x, y - height * SIDE, x + width * SIDE, y)


def write_layer(path: Path, shapes: list[Any], crs: str | None = CRS, **columns: Any) -> Path:
    table = geopandas.GeoDataFrame({**columns, "geometry": shapes}, crs=crs)
    pyogrio.write_dataframe(table, path)
    return path


def request(class_map: Path, parcels: Path, **more: Any) -> ParcelRequest:
    confidence = class_map.with_name("m_confidence.tif")
    return ParcelRequest(class_map, confidence, parcels, **more)


def check(
    class_map: Path, parcels: Path, **more: Any
) -> tuple[geopandas.GeoDataFrame, dict[str, Any]]:
    """The written GeoPackage and the summary."""
    target = class_map.with_name("out.gpkg")
    summary = check_parcels(request(class_map, parcels, **more), target, Silent()).to_dict()
    assert json.loads(json.dumps(summary)) == summary
    return pyogrio.read_dataframe(target, layer="parcels"), summary
