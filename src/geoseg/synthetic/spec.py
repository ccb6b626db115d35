"""What a synthetic scene is asked to be, and the numbers that follow: dates, grid, swath."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, timedelta

from affine import Affine

from geoseg.errors import ConfigError
from geoseg.grid import Grid
from geoseg.synthetic.geometry import HalfPlane

EPSG = 32632
"""UTM zone 32 north."""

ORIGIN = (560_000.0, 5_845_000.0)
"""Easting and northing of the upper left corner in metres: a multiple of 10 m, as Sentinel-2's."""

_SLANT = 0.21
"""Columns that the edge of the swath moves left per row down: a descending orbit at 53 degrees north."""


@dataclass(frozen=True)
class SceneSpec:
    """Size, dates, seed and hardness of a synthetic season. The same spec gives the same bytes."""

    width: int = 1800
    """Columns, 1 or more."""
    height: int = 1135
    """Rows, 1 or more."""
    dates: int = 12
    """Images, 1 to 365: up to 12 lie on the 15th of a month, more are spread evenly over the year."""
    seed: int = 7
    pixel: float = 10.0
    """Side of a pixel in metres."""
    year: int = 2025
    labelled: float = 0.3
    """Share of the fields whose crop is given in the labels, 0 to 1."""
    farm: float = 110.0
    """Mean distance of the farms that roads divide, in pixels."""
    field_length: tuple[float, float] = (24.0, 48.0)
    field_width: tuple[float, float] = (11.0, 21.0)
    """Range of the fields' mean length and width in a farm, in pixels."""
    sensor_noise: float = 0.04
    """Standard deviation of the noise of each band and date, in reflectance."""
    patchiness: float = 0.25
    """Standard deviation of the vigour of single pixels, as a part of the field's."""
    unevenness: float = 12.0
    """Standard deviation of the development of single pixels, in days."""
    cloudiness: float = 0.14
    """Mean share of an image under clouds, 0 to 0.5; single dates have 0.2 to 1.8 times it."""

    def __post_init__(self) -> None:
        limits = (
            ("width", self.width, 1, 200_000),
            ("height", self.height, 1, 200_000),
            ("dates", self.dates, 1, 365),
            ("labelled", self.labelled, 0, 1),
            ("cloudiness", self.cloudiness, 0, 0.5),
            ("pixel", self.pixel, 0.1, 1000),
            ("farm", self.farm, 30, 2000),
        )
        for name, value, low, high in limits:
            if not low <= value <= high:
                raise ConfigError(
                    f"synthetic scene: {name} is {value}; choose a value from {low} to {high}"
                )

    @property
    def grid(self) -> Grid:
        """The grid of every raster of the scene."""
        transform = Affine(self.pixel, 0.0, ORIGIN[0], 0.0, -self.pixel, ORIGIN[1])
        return Grid(f"EPSG:{EPSG}", transform, self.height, self.width)

    def days(self) -> tuple[date, ...]:
        """The dates in order."""
        if self.dates <= 12:
            months = [1 + int((i + 0.5) * 12 / self.dates) for i in range(self.dates)]
            return tuple(date(self.year, month, 15) for month in months)
        length = 366 if calendar.isleap(self.year) else 365
        first = date(self.year, 1, 1)
        return tuple(
            first + timedelta(days=int((i + 0.5) * length / self.dates)) for i in range(self.dates)
        )

    def swath(self, cut: float) -> HalfPlane:
        """What a swath sees (pixel coordinates) that misses ``cut`` of the upper side on the left."""
        length = (1 + _SLANT**2) ** 0.5
        return HalfPlane(1 / length, _SLANT / length, -cut * self.width / length)

    @property
    def seen(self) -> HalfPlane:
        """What at least one date sees; beyond it lies a corner without any data."""
        return self.swath(0.05)
