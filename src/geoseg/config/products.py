"""What is written besides the class and the confidence raster, and how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import field_validator

from geoseg.config.base import Section

Layer = Literal["confidence_margin", "entropy", "probabilities"]
"""An optional raster of the map."""

LAYERS: tuple[Layer, ...] = ("confidence_margin", "entropy", "probabilities")
"""All of them, in the order in which a block's file holds them, behind class and confidence."""


def band_slices(layers: Sequence[Layer], classes: int) -> dict[str, slice]:
    """Which bands, counted from 0, each layer has in a block's file; class and confidence first."""
    slices, stop = {}, 0
    for name in ("class", "confidence", *layers):
        start, stop = stop, stop + (classes if name == "probabilities" else 1)
        slices[name] = slice(start, stop)
    return slices


def band_count(layers: Sequence[Layer], classes: int) -> int:
    """Bands of a block's file."""
    return 2 + sum(classes if name == "probabilities" else 1 for name in layers)


class ProductsConfig(Section):
    """What is written. Nothing here moves a pixel of the map."""

    layers: tuple[Layer, ...] = ()
    """Optional rasters: ``confidence_margin`` (difference of the two best probabilities, percent),
    ``entropy`` (of the probabilities, percent of the largest possible), ``probabilities`` (a band per
    class)."""
    compression: Literal["deflate", "zstd"] = "deflate"
    """Of the rasters: DEFLATE is read everywhere, ZSTD (GDAL with libzstd) decodes faster."""

    @field_validator("layers")
    @classmethod
    def _in_order(cls, wanted: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """The same layers in another order are the same blocks."""
        twice = next((name for name in wanted if wanted.count(name) > 1), None)
        if twice:
            raise ValueError(f"{twice!r} is there twice")
        return tuple(name for name in LAYERS if name in wanted)
