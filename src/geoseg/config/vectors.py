"""How the map is turned into polygons."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from geoseg.config.base import Section

VectorFormat = Literal["gpkg", "parquet", "fgb"]
"""GeoPackage, GeoParquet, FlatGeobuf."""


class VectorsConfig(Section):
    """How the map is turned into polygons. By default they are the raster's, pixel by pixel."""

    formats: Annotated[tuple[VectorFormat, ...], Field(min_length=1)] = ("gpkg",)
    """Files to write, by suffix: ``gpkg`` (with a QGIS style), ``parquet``, ``fgb``."""
    simplify: Annotated[float, Field(ge=0, le=64)] = 0.0
    """How far a border may move, in pixels; 0 leaves the steps of the raster."""
    smooth: Annotated[int, Field(ge=0, le=4)] = 0
    """Round corners off: each becomes a curve of 2 to this power segments; 0 leaves them."""
    minimum_area: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Smallest field in hectares: a smaller one joins the neighbour it shares most border with."""
    minimum_pixels: Annotated[int, Field(ge=0)] = 0
    """The same in pixels, for maps of any unit."""

    @field_validator("formats")
    @classmethod
    def _once(cls, formats: tuple[VectorFormat, ...]) -> tuple[VectorFormat, ...]:
        if len(set(formats)) < len(formats):
            raise ValueError("names a format twice")
        return formats

    @property
    def exact(self) -> bool:
        """Whether the polygons are the raster's, pixel by pixel."""
        return not (self.simplify or self.smooth or self.minimum_area or self.minimum_pixels)
