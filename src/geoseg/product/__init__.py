"""What people load and read: the class and confidence rasters, polygons, pictures, the report."""
