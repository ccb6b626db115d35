"""The doors to vector files: labels, points and parcels that come in, polygons and tables that go out."""
