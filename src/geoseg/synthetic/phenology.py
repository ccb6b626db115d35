"""Eight crops through a year: how green and how dry they stand, and what that reflects.

Greenness follows the double logistic of Beck et al. (Remote Sensing of Environment 100, 2006, eq. 2);
reflectance is a linear mixture of soil, green leaf, dry matter and petals by the share of ground each
covers (Adams et al., Journal of Geophysical Research 91, 1986). Dates and spectra are typical for
lowland Central Europe; they are illustrations, not measurements.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import Legend, LegendClass

BANDS = ("blue", "green", "red", "nir", "swir")
"""Band names in file order; swir is the window near 1.6 micrometres."""

Spectrum = tuple[float, float, float, float, float]

SOIL: Spectrum = (0.075, 0.105, 0.140, 0.215, 0.300)
DRY: Spectrum = (0.085, 0.135, 0.195, 0.300, 0.340)
ROAD: Spectrum = (0.110, 0.140, 0.160, 0.230, 0.240)
CLOUD: Spectrum = (0.580, 0.570, 0.570, 0.600, 0.430)
"""Reflectance of bare soil, standing straw, a gravel road with its grassy verge, a thick cloud."""


@dataclass(frozen=True)
class Crop:
    """One crop type. Days count from 1 January; shares are of the ground seen from above."""

    name: str
    color: str
    weight: float
    """Share of the fields."""
    winter: float
    """Green share outside the season."""
    peak: float
    """Green share at the height of the season."""
    rise: float
    """Day when half the growth is done."""
    rise_rate: float
    """Steepness of growth per day."""
    fall: float
    """Day when half the green is gone."""
    fall_rate: float
    """Steepness of ripening per day."""
    harvest: float
    """Day of harvest; 366 where the stand stays."""
    leaf: Spectrum
    """Reflectance of a closed green stand."""
    straw: float = 0.7
    """Dry share between ripening and harvest, as a part of the green that is gone."""
    bloom: float = 0.0
    """Day of full bloom; 0 without visible flowers."""
    petals: Spectrum = (0.0, 0.0, 0.0, 0.0, 0.0)
    """What full bloom adds to the reflectance."""
    cuts: tuple[float, ...] = field(default=())
    """Days on which a meadow is mown."""


CROPS = (
    Crop("winter wheat", "#e6b800", 0.24, 0.28, 0.92, 98, 0.060, 184, 0.105, 212,
         (0.030, 0.066, 0.034, 0.43, 0.165)),
    Crop("winter barley", "#b07d2b", 0.10, 0.38, 0.90, 86, 0.060, 160, 0.100, 186,
         (0.034, 0.078, 0.040, 0.40, 0.185)),
    Crop("rapeseed", "#f4f000", 0.11, 0.46, 0.94, 84, 0.070, 174, 0.085, 200,
         (0.034, 0.074, 0.036, 0.47, 0.180), bloom=120,
         petals=(0.005, 0.100, 0.095, 0.060, 0.030)),
    Crop("maize", "#ff8c1a", 0.18, 0.03, 0.93, 167, 0.100, 256, 0.070, 274,
         (0.030, 0.070, 0.036, 0.42, 0.195)),
    Crop("sugar beet", "#c0396b", 0.09, 0.03, 0.95, 160, 0.085, 320, 0.050, 305,
         (0.032, 0.086, 0.036, 0.54, 0.205), straw=0.1),
    Crop("potato", "#7a5230", 0.07, 0.03, 0.88, 148, 0.110, 230, 0.090, 262,
         (0.036, 0.082, 0.042, 0.47, 0.215), straw=0.4),
    Crop("sunflower", "#7d4fc4", 0.05, 0.03, 0.84, 160, 0.100, 226, 0.095, 256,
         (0.040, 0.084, 0.050, 0.39, 0.220), bloom=196,
         petals=(0.000, 0.045, 0.055, 0.020, 0.010)),
    Crop("grassland", "#4caf50", 0.16, 0.52, 0.88, 92, 0.055, 296, 0.040, 366,
         (0.038, 0.084, 0.046, 0.38, 0.215), straw=0.35, cuts=(142, 196, 252)),
)  # fmt: skip
"""Code 1 is the first; weights sum to 1."""

LEGEND = Legend(tuple(LegendClass(code, c.name, c.color) for code, c in enumerate(CROPS, start=1)))
"""The classes of the synthetic truth: codes 1 to 8."""

LEAD = 120
"""Days kept before 1 January and after 31 December, so that shifted curves stay in the tables."""


def _logistic(days: NDArray[np.float64], middle: float, rate: float) -> NDArray[np.float64]:
    out: NDArray[np.float64] = 1 / (1 + np.exp(-rate * (days - middle)))
    return out


def _green(crop: Crop, days: NDArray[np.float64]) -> NDArray[np.float64]:
    season = _logistic(days, crop.rise, crop.rise_rate) - _logistic(days, crop.fall, crop.fall_rate)
    green = crop.winter + (crop.peak - crop.winter) * season
    for cut in crop.cuts:
        green *= 1 - 0.6 * (days >= cut) * np.exp(-np.maximum(days - cut, 0) / 14)
    if crop.harvest >= 366:
        return green
    # After the harvest a thin cover of volunteers and weeds is all that is green.
    after = _logistic(days, crop.harvest, 0.4)
    return green * (1 - after) + 0.08 * after * _logistic(days, crop.harvest + 30, 0.1)


def _dry(crop: Crop, days: NDArray[np.float64]) -> NDArray[np.float64]:
    ripe = crop.straw * crop.peak * _logistic(days, crop.fall, crop.fall_rate)
    after = _logistic(days, crop.harvest, 0.4)
    # Stubble stays for some weeks, then it is ploughed in.
    stubble = 0.35 * crop.straw * (1 - _logistic(days, crop.harvest + 40, 0.15))
    return ripe * (1 - after) + stubble * after


def _bloom(crop: Crop, days: NDArray[np.float64]) -> NDArray[np.float64]:
    if not crop.bloom:
        return np.zeros_like(days)
    out: NDArray[np.float64] = np.exp(-0.5 * ((days - crop.bloom) / 11) ** 2)
    return out


@lru_cache(maxsize=1)
def curves() -> NDArray[np.float32]:
    """Green, dry and bloom of each crop by day, ``float32[3, 8, LEAD + 366 + LEAD]``, 0 to 1.

    Day d (0 = 1 January) is at index ``LEAD + d``. Green plus dry never exceeds 1.
    """
    days = np.arange(-LEAD, 366 + LEAD, dtype=np.float64)
    table = np.array([[part(crop, days) for crop in CROPS] for part in (_green, _dry, _bloom)])
    table[1] = np.minimum(table[1], 1 - table[0])
    return table.astype(np.float32)


@lru_cache(maxsize=1)
def leaf_spectra() -> NDArray[np.float32]:
    """Green-leaf reflectance, ``float32[8, 5]``."""
    return np.array([crop.leaf for crop in CROPS], dtype=np.float32)


@lru_cache(maxsize=1)
def petal_spectra() -> NDArray[np.float32]:
    """What full bloom adds to the reflectance, ``float32[8, 5]``."""
    return np.array([crop.petals for crop in CROPS], dtype=np.float32)
