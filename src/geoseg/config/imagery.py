"""Which files are the season's images, and what is known on the ground."""

from __future__ import annotations

import datetime as dt
import re
from typing import Self

from pydantic import Field, model_validator

from geoseg.config.base import FilePath, Section


class MaskConfig(Section):
    """Where the cloud masks are: one single-band raster per date, on the imagery's grid."""

    folder: FilePath
    pattern: str
    """File name with ``{date}`` or ``{step}`` as in ``imagery.pattern``."""
    invalid: tuple[int, ...] = (1,)
    """Values of pixels not to be used (cloud, shadow)."""


class SceneEntry(Section):
    """One date of ``imagery.scenes``."""

    id: str | None = None
    """Name in messages and in the model card; the date where not given."""
    date: dt.date | None = None
    file: FilePath | None = None
    """One file that holds every band."""
    files: dict[str, FilePath] = Field(default={})
    """Or one single-band file per band."""
    mask: FilePath | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.file is None) == (not self.files):
            raise ValueError("give either 'file' (all bands in one) or 'files' (band: file)")
        return self


class ImageryConfig(Section):
    """The season's images: a folder and a file name pattern, or a list of scenes."""

    folder: FilePath | None = None
    pattern: str = "{date}.tif"
    """Path below ``folder``: ``{date}`` (or ``{step}``, a number, where days are not known) tells
    the scenes apart, ``{band}`` is there when each band has a file of its own, ``*`` is anything."""
    date_format: str = "%Y-%m-%d"
    scenes: tuple[SceneEntry, ...] = ()
    dates: tuple[dt.date, ...] = ()
    """The days the season must have: others are left out, a missing one ends the run."""
    band_names: tuple[str, ...] = ()
    """Names of the bands in each file, in order; by default the file's own descriptions."""
    bands: tuple[str, ...] = ()
    """The bands to use, in this order; by default all."""
    nodata: float | None = None
    """Value of missing pixels where the files do not say it themselves."""
    masks: MaskConfig | None = None
    mask_invalid: tuple[int, ...] = (1,)
    """Values not to be used in the masks named under ``scenes``."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.folder is None) == (not self.scenes):
            raise ValueError("give either 'folder' (with 'pattern') or a list of 'scenes'")
        if self.folder and "mask_invalid" in self.model_fields_set:
            raise ValueError("with 'folder', the masks' values go under 'masks.invalid'")
        if self.folder and not ({"{date}", "{step}"} & set(re.findall(r"\{\w+\}", self.pattern))):
            raise ValueError(f"pattern {self.pattern!r} has neither {{date}} nor {{step}}")
        return self


class LabelsConfig(Section):
    """What is known on the ground: a raster of codes, or polygons with crop names."""

    file: FilePath
    attribute: str = "crop"
    """Column with the class name (or code) of each polygon."""
    layer: str | None = None
    ignore: tuple[int | str, ...] = ()
    """Codes or names that mean unknown, besides the raster's nodata."""
    fields: FilePath | None = None
    """Raster with the field each pixel belongs to (0: none), for a raster of labels."""
