"""Numbers to picture coordinates for the report's charts. The template draws them as SVG.

Lines in the units of a view box; bars (the confidence histogram and the season's timeline) in percent of
the chart's width and height: it stretches to any screen while its letters keep their size.
"""

from __future__ import annotations

import datetime as dt
import math
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from geoseg.product.pictures import RAMP
from geoseg.product.report.format import day, percent

WIDTH, HEIGHT = 420, 190
"""Of a chart, in the units of its view box."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 10, 28
"""Room around the curves for the axes' numbers."""


@dataclass(frozen=True)
class Tick:
    """A number on an axis."""

    at: float
    """Place along the axis in view box units, or in percent of a ``BarChart``."""
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
        values_by_epoch = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
        if values_by_epoch:
            curves.append(
                Curve(name, " ".join(f"{x(e)},{y(float(v))}" for e, v in values_by_epoch))
            )
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


STEP = 5
"""Percent of confidence that a bar of the histogram stands for."""


@dataclass(frozen=True, slots=True)
class Bar:
    """From the bottom of the chart up; all in percent of the chart."""

    left: float
    wide: float
    high: float
    text: str
    """What it says, in words."""
    color: str = ""
    """None: the chart's own."""


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars, and what is written beside them."""

    bars: tuple[Bar, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    """``at`` counts from the bottom."""
    gaps: tuple[Bar, ...] = ()
    """Stretches without a bar."""


def histogram(shares: Sequence[float], unit: int = STEP) -> BarChart:
    """Shares of the area by confidence (101 values) in bars of ``unit`` percent, 100 in the last."""
    counts = [sum(shares[low : low + unit]) for low in range(0, 100, unit)]
    counts[-1] += shares[100]
    top = next(t for t in (0.1, 0.2, 0.5, 1.0) if t >= max(counts) * (1 - 1e-9) or t == 1.0)
    bars = tuple(
        Bar(
            low + 0.4,
            unit - 0.8,
            round(100 * share / top, 2),
            f"{low} to {low + unit} %: {percent(share)} of the area",
            _ramp(low),
        )
        for low, share in zip(range(0, 100, unit), counts, strict=True)
    )
    up = tuple(Tick(100 * i / 4, f"{100 * top * i / 4:g} %") for i in (0, 2, 4))
    return BarChart(bars, tuple(Tick(x, f"{x} %") for x in (0, 25, 50, 75, 100)), up)


def _ramp(low: int) -> str:
    return list(RAMP.values())[bisect(list(RAMP), low) - 1]


def timeline(inputs: Sequence[Mapping[str, Any]], longest_gap: int) -> BarChart | None:
    """A bar per dated image, as high as its clear share, over the months of the season.

    ``inputs``: ``id``, ``date`` (ISO) and ``clear_share`` (0 to 1, None where it is not known: then a
    full bar). More than ``longest_gap`` days between images are marked. None where no date is known.
    """
    dated = sorted((taken, item) for item in inputs if (taken := day(item.get("date"))))
    if not dated:
        return None
    days = [taken for taken, _ in dated]
    first = days[0].replace(day=1)
    last = _next_month(days[-1])
    span = (last - first).days

    def x(date: dt.date) -> float:
        return round(100 * (date - first).days / span, 3)

    wide = round(min(2.2, max(0.25, 60 / len(dated))), 2)
    bars = tuple(
        Bar(
            round(min(max(0, x(taken) - wide / 2), 100 - wide), 3),
            wide,
            round(100 * (1.0 if item.get("clear_share") is None else item["clear_share"]), 1),
            f"{taken}: {percent(item.get('clear'), 0)} clear",
        )
        for taken, item in dated
    )
    gaps = tuple(
        Bar(x(a) + wide, x(b) - x(a) - 2 * wide, 100, f"{(b - a).days} days")
        for a, b in pairwise(days)
        if (b - a).days > longest_gap and x(b) - x(a) > 3 * wide
    )
    up = tuple(Tick(100 * i / 2, f"{50 * i} %") for i in (0, 1, 2))
    return BarChart(bars, tuple(Tick(x(m), *names) for m, *names in _months(first, last)), up, gaps)


def _next_month(date: dt.date) -> dt.date:
    return (date.replace(day=1) + dt.timedelta(days=32)).replace(day=1)


def _months(first: dt.date, last: dt.date) -> Iterator[tuple[dt.date, str, str]]:
    """At most a dozen months and, where one begins, the year; years alone where the season is long."""
    count = 12 * (last.year - first.year) + last.month - first.month
    step = next((s for s in (1, 2, 3, 6) if count <= 12 * s), 12 * math.ceil(count / 144))
    month = first
    while month < last:
        index = 12 * (month.year - first.year) + month.month - first.month
        if index % step == 0:
            begins = month == first or month.month <= step
            if step >= 12:
                yield month, f"{month:%Y}", ""
            else:
                yield month, f"{month:%b}", f"{month:%Y}" if begins else ""
        month = _next_month(month)
