"""The legend: model index <-> raster code <-> name <-> colour, and the nodata code.

The only place where a code is shifted. Networks speak of indices 0..K-1, rasters of codes, people
of names; everything that needs a name or a colour (raster, vectors, report, quicklook) asks here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ConfigError, LabelError

NODATA = 255
"""Raster code of a pixel without a class, and confidence of a pixel without a prediction."""

UNKNOWN = -1
"""Model index of a pixel whose label is not known: it counts in no loss and in no score."""

_WHOLE = re.compile(r"\d{1,3}\.0+", re.ASCII)
"""A code with decimals that say nothing."""

# Okabe and Ito's palette (Color Universal Design, 2008) first: told apart by colour-blind readers
# too; then Tableau 20 shades for long legends.
PALETTE = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#8c564b",
    "#7f7f7f", "#bcbd22", "#17becf", "#9467bd", "#98df8a", "#ff9896", "#c5b0d5", "#2ca02c",
    "#dbdb8d", "#9edae5", "#f7b6d2", "#c49c94",
)  # fmt: skip


def spell(value: object) -> str:
    """The one spelling in which names are compared: Unicode NFC, no blanks around, inner ones one.

    Case stays. A whole number is written without decimals, for a column of codes with gaps is one of
    floats; what is missing (None, NaN) is empty.
    """
    if value is None or value != value:  # noqa: PLR0124
        return ""
    if isinstance(value, (float, np.floating)) and value.is_integer():
        value = int(value)
    return " ".join(unicodedata.normalize("NFC", str(value)).split())


def show(name: str, others: Iterable[str], quote: bool = True) -> str:
    """A name in quotes, with its letters as escapes where it looks like one of the others."""
    twin = next((other for other in others if other != name and _alike(name, other)), None)
    if twin is None:
        return repr(name) if quote or not name.isprintable() else name
    return f"{name!a} (looks like {twin!a}, in Unicode it is another)"


def _alike(name: str, other: str) -> bool:
    """Whether a reader may take two names for one: letters of other alphabets, signs without a width."""
    mine, theirs = (
        [c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf"]
        for text in (name, other)
    )
    pairs = zip(mine, theirs, strict=False)
    return len(mine) == len(theirs) and all(a == b or not (a + b).isascii() for a, b in pairs)


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
    """The classes in model-index order; codes and names are unique, names spelled as ``spell`` does."""

    classes: tuple[LegendClass, ...]

    def __post_init__(self) -> None:
        given = self.names
        for what, values in (
            ("code", [str(c.code) for c in self]),
            ("name", [spell(name) for name in given]),
        ):
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice:
                ways = {ascii(n) for n in given if what == "name" and spell(n) == twice}
                told = f" (spelled {' and '.join(sorted(ways))})" if len(ways) > 1 else ""
                raise ConfigError(
                    f"legend: {what} {twice!r} is used twice{told}; each must be unique"
                )
        wrong = [c for c in self if not 0 <= c.code < NODATA]
        if wrong:
            raise ConfigError(
                f"legend: code {wrong[0].code} of {wrong[0].name!r} is outside 0 to {NODATA - 1} "
                f"({NODATA} means nodata)"
            )
        for entry in self:
            _require_writable(entry)
        spelled = tuple(replace(entry, name=spell(entry.name)) for entry in self)
        object.__setattr__(self, "classes", spelled)
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

    @cached_property
    def _places(self) -> dict[str, int]:
        """Names, and codes that are no name, to model indices."""
        codes = {str(entry.code): index for index, entry in enumerate(self)}
        return codes | {name: index for index, name in enumerate(self.names)}

    def place(self, text: str) -> int:
        """Model index of the class that a text names, by its name, else by its code.

        ``text`` is spelled as ``spell`` does; ``UNKNOWN`` where it names no class.
        """
        found = self._places.get(text)
        if found is None and _WHOLE.fullmatch(
            text
        ):  # a code that was a number before it was a text
            found = self._places.get(str(int(float(text))))
        return UNKNOWN if found is None else found

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
