"""The doors to rasters: opened, described and read window by window, and written whole."""
