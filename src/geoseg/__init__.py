"""geoseg: a season of satellite images in, a crop-type map that people can load and trust out."""

__version__ = "0.1.0"
