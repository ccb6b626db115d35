"""The legend: model index <-> raster code <-> name <-> colour, and the nodata code.

The only place where a code is shifted. Networks speak of indices 0..K-1, rasters of codes, people
of names; everything that needs a name or a colour (raster, vectors, report, quicklook) asks here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ConfigError, LabelError

NODATA = 255
"""Raster code of a pixel without a class, and confidence of a pixel without a prediction."""

UNKNOWN = -1
"""Model index of a pixel whose label is not known: it counts in no loss and in no score."""

# Okabe and Ito's palette (Color Universal Design, 2008) first: told apart by colour-blind readers
# too; then Tableau 20 shades for long legends.
PALETTE = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#8c564b",
    "#7f7f7f", "#bcbd22", "#17becf", "#9467bd", "#98df8a", "#ff9896", "#c5b0d5", "#2ca02c",
    "#dbdb8d", "#9edae5", "#f7b6d2", "#c49c94",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LegendClass:
    """One class of the map."""

    code: int
    """Value in the class raster, 0 to 254."""
    name: str
    color: str
    """``#rrggbb``."""

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0 to 255."""
        value = int(self.color[1:], 16)
        return value >> 16, (value >> 8) & 255, value & 255


def _require_writable(entry: LegendClass) -> None:
    """Raise ``ConfigError`` for a name that some file of the products could not hold."""
    # Control characters, halves of pairs and U+FFFE, U+FFFF are in no XML.
    bad = [c for c in entry.name if unicodedata.category(c) in {"Cc", "Cs"} or c in "\ufffe\uffff"]
    if bad:
        raise ConfigError(
            f"legend: the name {entry.name!r} of code {entry.code} holds {bad[0]!r}, which XML cannot "
            "hold; leave it out"
        )
    if not entry.name or entry.name != entry.name.strip():
        raise ConfigError(
            f"legend: the name {entry.name!r} of code {entry.code} is empty or has blanks around it"
        )


@dataclass(frozen=True)
class Legend:
    """The classes in model-index order; codes and names are unique."""

    classes: tuple[LegendClass, ...]

    def __post_init__(self) -> None:
        for what, values in (("code", [str(c.code) for c in self]), ("name", list(self.names))):
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice:
                raise ConfigError(f"legend: {what} {twice!r} is used twice; each must be unique")
        wrong = [c for c in self if not 0 <= c.code < NODATA]
        if wrong:
            raise ConfigError(
                f"legend: code {wrong[0].code} of {wrong[0].name!r} is outside 0 to {NODATA - 1} "
                f"({NODATA} means nodata)"
            )
        for entry in self:
            _require_writable(entry)
        if len(self.classes) < 2:
            raise ConfigError("legend: a map needs at least two classes")

    def __iter__(self) -> Iterator[LegendClass]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in model-index order."""
        return tuple(c.name for c in self.classes)

    @cached_property
    def codes(self) -> NDArray[np.uint8]:
        """``uint8[K]``: raster code of each model index."""
        return np.array([c.code for c in self.classes], dtype=np.uint8)

    @cached_property
    def colormap(self) -> dict[int, tuple[int, int, int, int]]:
        """Raster code to RGBA, as GDAL colour tables want it; nodata is transparent."""
        table = {c.code: (*c.rgb, 255) for c in self.classes}
        return {**table, NODATA: (0, 0, 0, 0)}

    def by_code(self, code: int) -> LegendClass:
        """The class of a raster code; KeyError where there is none."""
        for entry in self.classes:
            if entry.code == code:
                return entry
        raise KeyError(code)

    def to_codes(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Model indices to raster codes; negative (unknown) becomes nodata."""
        codes: NDArray[np.uint8] = self.codes[np.maximum(indices, 0)]
        codes[indices < 0] = NODATA
        return codes

    def to_indices(
        self, codes: NDArray[np.integer], where: str, ignore: tuple[int, ...] = (NODATA,)
    ) -> NDArray[np.int16]:
        """Raster codes to model indices, ``int16`` of the same shape.

        Codes in ``ignore`` become ``UNKNOWN``; any other code outside the legend raises
        ``LabelError`` naming the file ``where``.
        """
        out = np.full(codes.shape, UNKNOWN, dtype=np.int16)
        known = np.isin(codes, ignore)
        for index, entry in enumerate(self.classes):
            hit = codes == entry.code
            out[hit] = index
            known |= hit
        if not known.all():
            stray = np.unique(codes[~known])[:5].tolist()
            raise LabelError(
                f"{where}: value {stray[0]} is not a code of the legend (others: {stray[1:]}; the "
                f"legend has {[int(c) for c in self.codes]}). Add it to 'legend', or to "
                "'labels.ignore' if those pixels are to stay unknown."
            )
        return out
