"""The only doors to the outside: rasters, vectors, files. Nothing above opens a file by itself."""
