"""Any window of the synthetic scene: the ground once, then each date's image of it.

Pure: arrays from (spec, window, date). Every pixel depends on its own row and column only, never on
the window it is asked for, so blocks of any size make the same scene.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.legend import NODATA
from geoseg.synthetic import noise, phenology
from geoseg.synthetic.geometry import bounds, sides
from geoseg.synthetic.parcels import Field, fields
from geoseg.synthetic.sky import OUTSIDE, Sky, depth, inside, sky, weather
from geoseg.synthetic.spec import SceneSpec

_STREAM = 200
"""First of the streams of random numbers used here."""

SCALE = 10_000
"""Digital numbers per unit of reflectance."""


@dataclass(frozen=True)
class Ground:
    """What lies on the ground all year; every array is ``[H, W]``."""

    window: Window
    truth: NDArray[np.uint8]
    """Class code, 255 where no crop grows or no date sees."""
    crop: NDArray[np.int32]
    """Index of the crop drawn, 0 to 7 (0 where none)."""
    share: NDArray[np.float32]
    """Part of the pixel inside its field, 0 to 1; roads and strips fill the rest."""
    delay: NDArray[np.float32]
    """Development behind the crop's mean, in days."""
    vigour: NDArray[np.float32]
    """Green cover relative to the crop's mean."""
    soil: NDArray[np.float32]
    """Brightness of the soil relative to the mean."""


def ground(spec: SceneSpec, window: Window) -> Ground:
    """The ground under a window."""
    plots = tuple(fields(spec, window))
    slot, edge = _draw(plots, window)
    codes = np.array([p.crop for p in plots] + [1], dtype=np.int32)
    crop = codes[slot]
    truth = crop.astype(np.uint8)
    truth[(edge < 0) | ~inside(spec.seen, window)] = NODATA
    even = noise.smooth(noise.key(spec.seed, _STREAM), window, 16.0, 4)
    rough = noise.normals(noise.key(spec.seed, _STREAM + 1), window, 3)
    return Ground(
        window=window,
        truth=truth,
        crop=crop - 1,
        share=np.clip(edge + np.float32(0.5), 0, 1),
        delay=_of(plots, "delay")[slot] + np.float32(spec.unevenness) * rough[0] + 3 * even,
        vigour=_vigour(plots, slot, edge, 0.08 * even + spec.patchiness * rough[1]),
        soil=_of(plots, "soil")[slot] * (1 + np.float32(0.08) * (even + rough[2])),
    )


def _draw(
    plots: tuple[Field, ...], window: Window
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Number of the field at each pixel (-1: none), and the distance to its rim (least -0.5)."""
    slot = np.full(window.shape, -1, dtype=np.int32)
    edge = np.full(window.shape, -0.5, dtype=np.float32)
    for number, plot in enumerate(plots):
        left, top, right, bottom = (math.floor(v) for v in bounds(plot.outline))
        box = Window(top - 1, left - 1, bottom - top + 3, right - left + 3).clip(window)
        if not box.size:
            continue
        inner = np.full(box.shape, np.inf)
        for side in sides(plot.outline):
            np.minimum(inner, depth(side, box), out=inner)
        place = box.within(window)
        hit = inner > edge[place]
        edge[place][hit] = inner[hit]
        slot[place][hit] = number
    return slot, edge


def _of(plots: tuple[Field, ...], name: str) -> NDArray[np.float32]:
    """One property of each field; the last entry stands for no field."""
    neutral = {"delay": 0.0, "vigour": 1.0, "soil": 1.0, "headland": 1.0}[name]
    return np.array([getattr(p, name) for p in plots] + [neutral], dtype=np.float32)


def _vigour(
    plots: tuple[Field, ...],
    slot: NDArray[np.int32],
    edge: NDArray[np.float32],
    patches: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Field mean, patches and single pixels, and the sparser headland where machines turn."""
    out = _of(plots, "vigour")[slot] * (1 + patches)
    out *= np.where(edge < _of(plots, "headland")[slot], np.float32(0.75), np.float32(1))
    np.maximum(out, 0, out=out)
    return out


def image(spec: SceneSpec, place: Ground, index: int) -> tuple[NDArray[np.uint16], Sky]:
    """The image of one date, ``uint16[5, H, W]`` (reflectance x 10000, 0 = nodata), and its sky."""
    day = spec.days()[index].timetuple().tm_yday - 1
    state = weather(spec, index)
    over = sky(state, place.window)
    rough = noise.normals(noise.key(state.stream, _STREAM), place.window, 7)
    green, dry, bloom = _cover(place, day, rough[6])
    wet = np.float32(0.8 + 0.4 * noise.uniform(state.stream, _STREAM + 1))
    light = np.float32(1) + np.float32(spec.sensor_noise) * rough[5]
    out = np.empty((len(phenology.BANDS), *place.window.shape), dtype=np.uint16)
    for band in range(len(phenology.BANDS)):
        value = _reflectance(place, band, (green, dry, bloom), wet)
        value = _through(over, band, value) * light
        value += np.float32(spec.sensor_noise) * rough[band]
        np.clip(np.rint(value * SCALE), 1, 65535, out=value)
        value[over.mask == OUTSIDE] = 0
        out[band] = value
    return out, over


Cover = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Green share, dry share and bloom of each pixel."""


def _cover(place: Ground, day: int, rough: NDArray[np.float32]) -> Cover:
    table = phenology.curves()
    days = table.shape[-1]
    when = np.rint(np.float32(phenology.LEAD + day) - place.delay).astype(np.int32)
    at = np.clip(when, 0, days - 1) + place.crop * days
    green, dry, bloom = (np.take(part.reshape(-1), at) for part in table)
    # Dew, wind and viewing angle change from date to date, the stand itself does not.
    green *= place.vigour * (1 + np.float32(0.08) * rough)
    np.clip(green, 0, 1, out=green)
    np.minimum(dry, 1 - green, out=dry)
    return green, dry, bloom


def _reflectance(place: Ground, band: int, cover: Cover, wet: np.float32) -> NDArray[np.float32]:
    """Linear mixture of soil, leaf, straw and petals; roads and strips mix in at the rim."""
    green, dry, bloom = cover
    soil = place.soil * (np.float32(phenology.SOIL[band]) * wet)
    value = soil * (1 - green - dry)
    value += green * phenology.leaf_spectra()[place.crop, band]
    value += dry * np.float32(phenology.DRY[band])
    value += bloom * phenology.petal_spectra()[place.crop, band]
    value *= place.share
    value += (1 - place.share) * np.float32(phenology.ROAD[band])
    return value


def _through(sky_: Sky, band: int, value: NDArray[np.float32]) -> NDArray[np.float32]:
    """The ground seen through shadow and cloud; scattered light leaves shadows bluish."""
    dimming = np.float32((0.40, 0.47, 0.52, 0.60, 0.66)[band])
    value *= 1 - dimming * sky_.shade
    value += sky_.cloud * (np.float32(phenology.CLOUD[band]) - value)
    return value
