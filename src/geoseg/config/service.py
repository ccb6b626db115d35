"""What runs unattended: the areas to be watched, where their imagery comes from, where maps go."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from geoseg.config.base import FilePath, Section, expand, resolve
from geoseg.config.imagery import MaskConfig

Part = Annotated[float, Field(ge=0, le=1)]
"""A share, 0 to 1."""

Address = Annotated[str, BeforeValidator(expand)]
"""A URL, in which ``${NAME}`` is the environment's."""


def _from_file(text: str, info: ValidationInfo) -> str:
    return text if "://" in text else str(resolve(Path(text), info))


Destination = Annotated[str, BeforeValidator(expand), AfterValidator(_from_file)]
"""A folder, from the service file's own, or a URL."""


AreaName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """A stretch of the season that needs one image, both days included."""

    first: dt.date
    last: dt.date

    def __contains__(self, day: dt.date) -> bool:
        return self.first <= day <= self.last

    def __str__(self) -> str:
        following = self.last + dt.timedelta(days=1)
        month = self.first.day == following.day == 1 and (following - self.first).days < 32
        return f"{self.first:%Y-%m}" if month else f"{self.first}/{self.last}"


class SeasonConfig(Section):
    """The stretch of time that a map is made of, and the images it takes."""

    start: dt.date
    end: dt.date
    slots: Literal["month"] | tuple[dt.date, ...] = "month"
    """One image for each calendar month, or near each of these days; as many as the model takes."""
    tolerance: Annotated[int, Field(ge=0, le=183)] = 10
    """Days that an image may lie before or after a day of ``slots``; half-way to the next one at
    most, so that no image fits two."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"end: {self.end} is before the start, {self.start}")
        days = () if self.slots == "month" else self.slots
        outside = [day for day in days if not self.start <= day <= self.end]
        if outside:
            raise ValueError(f"slots: {outside[0]} is outside the season")
        near = [b for a, b in pairwise(days) if (b - a).days <= 0]
        if near:
            raise ValueError(f"slots: {near[0]} is not after the day before it in the list")
        return self

    @property
    def name(self) -> str:
        """The season in folder and file names: its years, or its days where it is shorter."""
        whole_years = (self.start.month, self.start.day, self.end.month, self.end.day)
        if whole_years == (1, 1, 12, 31):
            years = {self.start.year, self.end.year}
            return "-".join(str(year) for year in sorted(years))
        return f"{self.start:%Y%m%d}-{self.end:%Y%m%d}"

    def windows(self) -> tuple[Slot, ...]:
        """The slots as stretches of days, in order."""
        return tuple(self._months() if self.slots == "month" else self._near(self.slots))

    def _months(self) -> Iterator[Slot]:
        first = self.start
        while first <= self.end:
            following = (first.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
            yield Slot(first, min(self.end, following - dt.timedelta(days=1)))
            first = following

    def _near(self, days: tuple[dt.date, ...]) -> Iterator[Slot]:
        reach, one = dt.timedelta(days=self.tolerance), dt.timedelta(days=1)
        halves = [a + (b - a) // 2 for a, b in pairwise(days)]
        earliest = [self.start, *(half + one for half in halves)]
        for day, first, last in zip(days, earliest, [*halves, self.end], strict=True):
            yield Slot(max(first, day - reach), min(last, day + reach))


class DropConfig(Section):
    """Images that somebody drops into a folder."""

    folder: FilePath
    pattern: str = "{date}.tif"
    """As ``imagery.pattern``; it must have ``{date}``."""
    date_format: str = "%Y-%m-%d"
    masks: MaskConfig | None = None
    settle: Annotated[float, Field(ge=0)] = 60
    """Seconds that a file must have been left alone before it counts as whole."""

    @model_validator(mode="after")
    def _dated(self) -> Self:
        if "{date}" not in self.pattern:
            raise ValueError(f"pattern {self.pattern!r} has no {{date}}; slots are found by it")
        return self


class StacMask(Section):
    """Which asset of an item tells what not to use."""

    asset: str
    invalid: tuple[int, ...] = (1,)
    """Its values of pixels not to be used (cloud, shadow)."""


class StacConfig(Section):
    """Images of a STAC API; their assets must lie on one grid, that of the area."""

    url: Address
    """Of the API's landing page."""
    collections: Annotated[tuple[str, ...], Field(min_length=1)]
    bbox: tuple[float, float, float, float] | None = None
    """West, south, east, north in degrees."""
    query: dict[str, dict[str, str | float]] = Field(default={})
    """Conditions on properties, such as ``{grid:code: {eq: MGRS-33UVP}}`` (query extension)."""
    bands: Annotated[dict[str, str], Field(min_length=1)]
    """Band name to asset key, one single-band file each, in the order the model takes."""
    mask: StacMask | None = None
    hosts: tuple[str, ...] = ()
    """Hosts that assets may be fetched from, besides that of ``url``."""


class ReadyConfig(Section):
    """When what has come is worth a map."""

    clear: Part = 0.5
    """Least clear share of an image that may fill a slot."""
    changed: Annotated[int, Field(ge=1)] = 1
    """Slots that must have another image than the last map had; a reprocessed image always counts."""


class ControlConfig(Section):
    """Points whose crop is known, kept away from training."""

    file: FilePath
    attribute: str = "crop"
    """Column with the class name or code of each point."""
    layer: str | None = None
    accuracy: Part = 0.8
    """Least share of the points that the map must have right."""


class GatesConfig(Section):
    """What a map must pass to be published; what is None is measured where it can be, not judged."""

    completeness: Part = 1.0
    """Least share of the pixels with data that have a class."""
    mapped: Part = 0.0
    """Least share of the whole grid that has a class."""
    seam: Annotated[float, Field(gt=0)] | None = 2.0
    """Largest seam score: how much more often classes change at the borders of patches."""
    agreement: Part | None = None
    """Least share of pixels with the class of the last published map of the area."""
    control: ControlConfig | None = None


class PublishConfig(Section):
    """Where finished maps go."""

    destination: Destination
    """A folder, or ``s3://bucket/prefix``."""
    endpoint: Address | None = None
    """URL of an S3-compatible service; None: Amazon's."""
    keep: Annotated[int, Field(ge=1)] | None = None
    """Versions of an area and season that stay; None: all."""
    grace_hours: Annotated[float, Field(ge=0)] = 24
    """How long a version stays readable after it has left the collection."""
    license: Annotated[str, Field(min_length=1)] = "other"
    """Of the maps, as STAC names it: an SPDX identifier such as ``CC-BY-4.0``, or ``other``."""


class RetryConfig(Section):
    """What happens to a run that failed and may succeed another time."""

    tries: Annotated[int, Field(ge=1)] = 4
    """Of the work; faults of the place (a full disk, a server or an image that is away) use up none."""
    first_minutes: Annotated[float, Field(gt=0)] = 1
    """Wait before the second try; each further wait is twice as long."""
    longest_minutes: Annotated[float, Field(gt=0)] = 60


class AreaConfig(Section):
    """One area."""

    run: FilePath
    """Its run config: a model bundle, products, cluster; ``imagery`` gives names, not files: what
    it says of files is replaced by what was chosen."""
    season: SeasonConfig
    drop: DropConfig | None = None
    stac: StacConfig | None = None
    ready: ReadyConfig = ReadyConfig()
    gates: GatesConfig | None = None
    """In place of those of the service."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.drop is None) == (self.stac is None):
            raise ValueError("give either 'drop' (a folder) or 'stac' (an API)")
        return self


class ServiceConfig(Section):
    """All that is left running."""

    work: FilePath
    """Folder of the runs: their configs, blocks and results, until they are published."""
    ledger: Address | None = None
    """SQLAlchemy URL of the database, such as ``postgresql+psycopg://...``; None: ``ledger.sqlite``
    in ``work``, which is for one machine and a disk of its own."""
    deployment: str = "crop-map/area"
    """The Prefect deployment that makes one map."""
    publish: PublishConfig
    gates: GatesConfig = GatesConfig()
    retry: RetryConfig = RetryConfig()
    areas: dict[AreaName, AreaConfig] = Field(min_length=1)
    """By name; a name is part of folder names and URLs."""

    def gates_of(self, area: str) -> GatesConfig:
        """What a map of the area must pass."""
        return self.areas[area].gates or self.gates
