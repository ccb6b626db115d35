"""What stands between the ground and the sensor on one date: clouds, their shadows, the swath."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from geoseg.grid import Window
from geoseg.synthetic import noise
from geoseg.synthetic.geometry import HalfPlane
from geoseg.synthetic.spec import SceneSpec

CLEAR, CLOUD, SHADOW, OUTSIDE = 0, 1, 2, 255
"""Values of a cloud mask."""

_STREAM = 100
"""First of the streams of random numbers used here."""

_CLOUD_SCALE = 120.0
"""Size of the largest clouds in pixels."""


@dataclass(frozen=True)
class Weather:
    """The state of the sky on one date, drawn from seed and date."""

    stream: int
    threshold: float
    """Clouds are where the noise exceeds this many standard deviations; infinite without clouds."""
    offset: tuple[float, float]
    """Rows and columns from a cloud to its shadow: away from the sun, so north-west of it."""
    swath: HalfPlane
    """What the sensor saw."""


@dataclass(frozen=True)
class Sky:
    """Clouds over one window; every array is ``[H, W]``."""

    cloud: NDArray[np.float32]
    """Opacity, 0 to 1."""
    shade: NDArray[np.float32]
    """Depth of the cloud shadow, 0 to 1."""
    mask: NDArray[np.uint8]
    """``CLEAR``, ``CLOUD``, ``SHADOW`` or ``OUTSIDE``, as a detector gives it: a little too wide."""


def weather(spec: SceneSpec, index: int) -> Weather:
    """The sky on the date with this number."""
    stream = noise.key(spec.seed, _STREAM, index)
    chance = [noise.uniform(stream, n) for n in range(5)]
    cover = spec.cloudiness * (0.2 + 1.6 * chance[0])
    # Two dates in five end short of the others: a neighbouring orbit saw the rest.
    cut = 0.05 if chance[1] < 0.6 else 0.08 + 0.25 * chance[2]
    return Weather(
        stream=stream,
        threshold=float(ndtri(1 - cover)),
        offset=(-12.0 - 20 * chance[3], -8.0 - 14 * chance[4]),
        swath=spec.swath(cut),
    )


def sky(state: Weather, window: Window) -> Sky:
    """Clouds, shadows and mask over a window."""
    stream = noise.key(state.stream, 9)
    over = noise.smooth(stream, window, _CLOUD_SCALE, 6) - np.float32(state.threshold)
    shadow = noise.smooth(stream, window, _CLOUD_SCALE, 6, state.offset)
    shadow -= np.float32(state.threshold)
    mask = np.full(window.shape, CLEAR, dtype=np.uint8)
    # Wider than what is drawn as cloud: a detector's buffer, which leaves only thin haze outside.
    mask[shadow > -0.08] = SHADOW
    mask[over > -0.08] = CLOUD
    mask[~inside(state.swath, window)] = OUTSIDE
    return Sky(_ramp(over, -0.12, 0.45), _ramp(shadow, -0.1, 0.25), mask)


def _ramp(value: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """0 below ``low``, 1 above ``high``, a straight line between."""
    out = (value - np.float32(low)) * np.float32(1 / (high - low))
    return np.clip(out, 0, 1, out=out)


def inside(half: HalfPlane, window: Window) -> NDArray[np.bool_]:
    """Pixels whose centre lies in a half-plane, ``bool[H, W]``."""
    return depth(half, window) >= 0


def depth(half: HalfPlane, window: Window) -> NDArray[np.float64]:
    """Distance of each pixel centre from the line, in pixels, positive inside, ``float64[H, W]``."""
    x = np.arange(window.col, window.col_stop) + 0.5
    y = np.arange(window.row, window.row_stop) + 0.5
    out: NDArray[np.float64] = half.nx * x[None, :] + (half.ny * y + half.c)[:, None]
    return out
