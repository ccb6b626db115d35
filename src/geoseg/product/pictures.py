"""The map as two small pictures for the report, of the same size: classes and confidence."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geoseg.io.raster import rasters
from geoseg.legend import NODATA, Legend

LONGEST = 2048
"""Longest side in pixels; less where a picture would be larger than ``ROOM``."""

ROOM = 900_000
"""Bytes of a picture. Two of them, as text in a page, are 2.4 MB."""

RAMP = {
    0: "#67001f", 30: "#a50f15", 50: "#d6604d", 60: "#f4a582", 70: "#fddbc7", 80: "#d1e5f0",
    90: "#67a9cf", 95: "#2166ac",
}  # fmt: skip
"""Colours of confidence, each from its percent up to the next; finer at the top, where most of a map
is. After ColorBrewer's RdBu: hue and lightness tell them apart, to colour-blind readers too."""


@dataclass(frozen=True, slots=True)
class MapPictures:
    """PNG files as bytes; transparent where there is no data."""

    classes: bytes
    confidence: bytes


def map_pictures(
    class_path: Path, confidence_path: Path, legend: Legend, room: int = ROOM
) -> MapPictures:
    """Both pictures, thinned from the rasters' overviews: the most frequent class, the mean confidence.

    Raises ``RasterError`` where a raster cannot be read.
    """
    codes = rasters.overview(class_path, LONGEST, "mode")
    percent = rasters.overview(confidence_path, LONGEST, "average")
    steps = np.digitize(percent, list(RAMP)).astype(np.uint8)
    steps[percent == NODATA] = NODATA
    ramp = {number: _rgb(color) for number, color in enumerate(RAMP.values(), 1)}
    return MapPictures(
        _within(room, codes, {entry.code: entry.rgb for entry in legend}),
        _within(room, steps, ramp),
    )


def _rgb(color: str) -> tuple[int, int, int]:
    value = int(color[1:], 16)
    return value >> 16, value >> 8 & 255, value & 255


def _within(room: int, values: NDArray[np.uint8], colors: dict[int, tuple[int, int, int]]) -> bytes:
    """A PNG of at most ``room`` bytes: a map of noise is drawn coarser until it fits."""
    step = 1.0
    while True:
        rows, cols = (np.arange(max(1, int(n / step))) * step for n in values.shape)
        png = _png(values[np.ix_(rows.astype(int), cols.astype(int))], colors)
        if len(png) <= room:
            return png
        step *= 1.25


def _png(values: NDArray[np.uint8], colors: dict[int, tuple[int, int, int]]) -> bytes:
    """One byte a pixel and a palette; values without a colour are transparent."""
    palette = bytearray(768)
    alpha = bytearray(256)
    for value, color in colors.items():
        palette[3 * value : 3 * value + 3] = bytes(color)
        alpha[value] = 255
    picture = Image.fromarray(values, mode="P")
    picture.putpalette(bytes(palette))
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True, transparency=bytes(alpha))
    return out.getvalue()
