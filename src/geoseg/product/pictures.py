"""The map as pictures: two small ones for the report, of the same size, classes and confidence; and one
with title, classes with their colours, scale bar and north."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from geoseg.grid import Grid
from geoseg.io.files import replacing
from geoseg.io.raster import rasters
from geoseg.legend import NODATA, Legend
from geoseg.product.map_frame import MapFrame, round_length

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


_QUICKLOOK_LONGEST = 1600
"""Longest side of the map in the picture, in pixels of the picture."""

_QUICKLOOK_SHORTEST = 700
"""Small maps are drawn larger, pixel by pixel, up to about this."""

_DPI = 100
_INK, _SOFT, _NODATA = "#1c2430", "#5c6775", "#c9ced6"


@dataclass(frozen=True)
class _Layout:
    """Places of the picture's parts in pixels from its upper left corner."""

    width: int
    height: int
    """Of the map."""
    rows: int
    """Lines in the legend."""
    letters: int
    """Of the longest line in the legend."""

    @property
    def scale(self) -> float:
        """Letters grow with the map: a large picture is shown smaller."""
        return min(1.6, max(1.0, max(self.width, self.height) / 1000))

    def scaled(self, length: float) -> int:
        """Pixels of a length that grows with the letters."""
        return round(length * self.scale)

    @property
    def edge(self) -> int:
        """Room around the map."""
        return self.scaled(32)

    @property
    def top(self) -> int:
        """Upper edge of the map."""
        return self.scaled(72)

    @property
    def line(self) -> int:
        """Height of a line of the legend."""
        return self.scaled(30)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole picture."""
        legend = self.scaled(44 + 9 * min(self.letters, 30))
        wide = self.edge * 3 + self.width + legend
        tall = max(self.height + self.scaled(84), self.rows * self.line + self.edge)
        return max(wide, 800), self.top + tall


def write_quicklook(class_path: Path, legend: Legend, target: Path, title: str) -> None:
    """Write a PNG of the class raster, its map at most 1600 pixels long.

    The raster is thinned to the most frequent class, so colours stay the legend's. Raises ``RasterError``
    or ``OutputError``.
    """
    grid = rasters.describe(class_path).grid
    codes = rasters.overview(class_path, _QUICKLOOK_LONGEST, "mode")
    shown = _LegendLines(codes, legend)
    width, height = _map_size(codes.shape, grid)
    letters = max(len(text) for text, _ in shown.lines)
    layout = _Layout(width, height, len(shown.lines), letters)
    wide, tall = layout.size
    figure = Figure(figsize=(wide / _DPI, tall / _DPI), dpi=_DPI, facecolor="white")
    page = _page(figure, layout)
    _draw_map(figure, page, layout, _colors(codes, legend))
    _draw_title(page, layout, title)
    _draw_legend(page, layout, shown.lines)
    _draw_footer(page, layout, grid)
    with replacing(target) as part:
        figure.savefig(part, format="png", dpi=_DPI, pil_kwargs={"optimize": True})


class _LegendLines:
    """What the legend lists: the classes of the model, and nodata where the map has some."""

    def __init__(self, codes: NDArray[np.uint8], legend: Legend) -> None:
        self.lines: list[tuple[str, str | None]] = [(c.name, c.color) for c in legend]
        if (codes == NODATA).any():
            self.lines.append(("no data", None))


def _map_size(shape: tuple[int, ...], grid: Grid) -> tuple[int, int]:
    """Width and height of the map in the picture; pixels keep their shape on the ground."""
    height, width = shape
    aspect = MapFrame(grid).aspect
    zoom = max(1, math.ceil(_QUICKLOOK_SHORTEST / max(height, width)))
    if aspect <= 1:
        wide = max(width, round(height / aspect)) * zoom
        wide = min(wide, _QUICKLOOK_LONGEST)
        return wide, max(1, round(wide * aspect))
    tall = min(max(height, round(width * aspect)) * zoom, _QUICKLOOK_LONGEST)
    return max(1, round(tall / aspect)), tall


def _colors(codes: NDArray[np.uint8], legend: Legend) -> NDArray[np.uint8]:
    """``uint8[height, width, 4]``; nodata is transparent."""
    table = np.zeros((256, 4), dtype=np.uint8)
    for code, color in legend.colormap.items():
        table[code] = color
    return table[codes]


def _page(figure: Figure, layout: _Layout) -> Any:
    """Axes over the whole picture, in pixels from the upper left corner."""
    page = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    page.set(xlim=(0, layout.size[0]), ylim=(layout.size[1], 0))
    page.axis("off")
    return page


def _draw_map(figure: Figure, page: Any, layout: _Layout, colors: NDArray[np.uint8]) -> None:
    """The map, dot by dot: no resampling that could blend two colours."""
    rows = np.arange(layout.height) * colors.shape[0] // layout.height
    cols = np.arange(layout.width) * colors.shape[1] // layout.width
    place = (layout.edge, layout.top)
    page.add_patch(
        Rectangle(place, layout.width, layout.height, fc="white", ec=_NODATA, hatch="//")
    )
    from_bottom = layout.size[1] - layout.top - layout.height
    figure.figimage(colors[np.ix_(rows, cols)], layout.edge, from_bottom, zorder=2)


def _draw_title(page: Any, layout: _Layout, title: str) -> None:
    # A bold letter is about 0.68 of the font's size wide; 72 points are an inch.
    fitting = (layout.size[0] - 2 * layout.edge) / max(1, len(title)) / 0.68 * 72 / _DPI
    size = min(17 * layout.scale, fitting)
    page.text(
        layout.edge, layout.top * 0.55, title, fontsize=size, weight="bold", color=_INK, va="center"
    )


def _draw_legend(page: Any, layout: _Layout, lines: list[tuple[str, str | None]]) -> None:
    left = layout.edge * 2 + layout.width
    for number, (text, color) in enumerate(lines):
        y = layout.top + number * layout.line
        wide, high = layout.scaled(26), layout.scaled(19)
        box = Rectangle((left, y), wide, high, fc=color or "white", ec="#00000055", lw=0.8)
        if color is None:
            box.set(edgecolor=_NODATA, hatch="////")
        page.add_patch(box)
        middle = y + high / 2
        size = 11.5 * layout.scale
        page.text(left + layout.scaled(36), middle, text, fontsize=size, color=_INK, va="center")


def _draw_footer(page: Any, layout: _Layout, grid: Grid) -> None:
    y = layout.top + layout.height + layout.scaled(26)
    metres = MapFrame(grid).pixel_metres
    below = y if metres is None else y + layout.scaled(29)
    size = 9.5 * layout.scale
    page.text(layout.edge, below, _description(grid), fontsize=size, color=_SOFT, va="center")
    if metres is None:
        return
    per_dot = metres * grid.width / layout.width
    length = round_length(per_dot * layout.width / 4)
    dots, left, high = length / per_dot, layout.edge, layout.scaled(7)
    for part, color in ((0, _INK), (0.5, "white")):
        place = (left + part * dots, y - high / 2)
        page.add_patch(Rectangle(place, dots / 2, high, fc=color, ec=_INK, lw=1))
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    after = left + dots + layout.scaled(10)
    page.text(after, y, text, fontsize=10.5 * layout.scale, color=_INK, va="center")


def _description(grid: Grid) -> str:
    """Size, CRS and orientation in one line."""
    parts = [f"{grid.width} × {grid.height} pixels"]
    metres = MapFrame(grid).pixel_metres
    if metres is not None:
        parts.append(f"{metres:.4g} m each")
    if grid.crs is None:
        return " · ".join([*parts, "no CRS"])
    a, b, _, d, e, _ = tuple(grid.transform)[:6]
    upright = b == 0 and d == 0 and a > 0 and e < 0
    parts += [pyproj.CRS.from_wkt(grid.crs).name, "north is up" if upright else "north is not up"]
    return " · ".join(parts)
