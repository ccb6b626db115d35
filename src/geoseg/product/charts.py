"""Numbers to picture coordinates for the report's charts. The template draws them as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 420, 190
"""Of a chart, in the units of its view box."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 10, 28
"""Room around the curves for the axes' numbers."""


@dataclass(frozen=True)
class Tick:
    """A number on an axis."""

    at: float
    """Place along the axis in view box units, or in percent of a ``bars.BarChart``."""
    text: str
    more: str = ""
    """Below the text."""


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    name: str
    points: str
    """``x,y x,y ...`` as an SVG polyline wants them."""


@dataclass(frozen=True)
class LineChart:
    """Curves over epochs, with their axes."""

    title: str
    curves: tuple[Curve, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def line_chart(
    title: str, history: Sequence[Mapping[str, Any]], keys: Mapping[str, str]
) -> LineChart | None:
    """A chart of values per epoch; ``keys`` maps a key of the history to the curve's name.

    Values that are missing or None leave a gap in no curve: it joins its neighbours. None where
    there are fewer than two epochs, or no value.
    """
    rows = [row for row in history if row.get("epoch") is not None]
    values = [float(row[key]) for row in rows for key in keys if row.get(key) is not None]
    if len(rows) < 2 or not values:
        return None
    low, step, high = _round_range(min(values), max(values))
    first, last = float(rows[0]["epoch"]), float(rows[-1]["epoch"])

    def x(epoch: float) -> float:
        return round(_LEFT + (epoch - first) / (last - first) * (WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        share = (value - low) / (high - low)
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)

    curves = []
    for key, name in keys.items():
        found = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
        if found:
            curves.append(Curve(name, " ".join(f"{x(e)},{y(float(v))}" for e, v in found)))
    count = round((high - low) / step)
    up = [Tick(y(low + i * step), f"{low + i * step:.6g}") for i in range(count + 1)]
    across = [Tick(x(epoch), f"{epoch:g}") for epoch in _epochs(first, last)]
    return LineChart(title, tuple(curves), tuple(across), tuple(up))


def _epochs(first: float, last: float) -> list[float]:
    """About five round epochs, the last one among them."""
    step = max(1.0, _round_up((last - first) / 5))
    count = int((last - first) / step)
    inner = [first + i * step for i in range(count + 1)]
    return [epoch for epoch in inner if last - epoch >= step / 2] + [last]


def _round_range(low: float, high: float) -> tuple[float, float, float]:
    """Round limits around two values, and the round step between the lines: low, step, high."""
    step = _round_up(max(high - low, abs(high) * 1e-3, 1e-9) / 4)
    return math.floor(low / step) * step, step, (math.floor(high / step) + 1) * step


def _round_up(value: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is not less."""
    power: float = 10.0 ** math.floor(math.log10(value))
    return min(m * power for m in (1, 2, 5, 10) if m * power >= value * (1 - 1e-9))
