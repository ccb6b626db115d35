"""From a class raster to polygons: one valid coverage."""
