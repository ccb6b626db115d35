"""Bars in percent of a chart's width and height: the confidence histogram and the season's timeline.

Percentages, not a view box: the chart stretches to any screen while its letters keep their size.
"""

from __future__ import annotations

import datetime as dt
import math
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from geoseg.product.charts import Tick
from geoseg.product.pictures import RAMP
from geoseg.product.report.format import day, percent

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
    dated = sorted((found, item) for item in inputs if (found := day(item.get("date"))))
    if not dated:
        return None
    days = [found for found, _ in dated]
    first = days[0].replace(day=1)
    last = _next_month(days[-1])
    span = (last - first).days

    def x(date: dt.date) -> float:
        return round(100 * (date - first).days / span, 3)

    wide = round(min(2.2, max(0.25, 60 / len(dated))), 2)
    bars = tuple(
        Bar(
            round(min(max(0, x(found) - wide / 2), 100 - wide), 3),
            wide,
            round(100 * (1.0 if item.get("clear_share") is None else item["clear_share"]), 1),
            f"{found}: {percent(item.get('clear'), 0)} clear",
        )
        for found, item in dated
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
