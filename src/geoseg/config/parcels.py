"""The parcels that a run's map is compared with."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from geoseg.config.base import FilePath, Section

Percent = Annotated[float, Field(ge=0, le=100)]


class ParcelsConfig(Section):
    """Each parcel gets its crop by the map, and a check of what was declared for it."""

    file: FilePath
    """Polygons in any format GDAL reads, in any CRS."""
    layer: str | None = None
    """Needed where the file has several."""
    declared: str | None = None
    """Column with the declared crop: names or codes of the legend."""
    mapping: FilePath | None = None
    """CSV with the columns ``declared`` and ``class``: an authority's own values to class names."""
    above: Percent = 80.0
    """Least mean confidence (percent) of the parcel's majority crop for a verdict."""
    share: Percent = 50.0
    """Least share (percent) of the majority crop in the parcel's mapped area for a verdict."""
    mapped: Percent = 50.0
    """Least share (percent) of a parcel that must have a class; below it there is no data."""

    @model_validator(mode="after")
    def _mapped_from(self) -> Self:
        if self.mapping is not None and self.declared is None:
            raise ValueError("'mapping' needs 'declared', the column whose values it maps")
        return self
