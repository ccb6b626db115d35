"""A map in three sentences of plain language, from the plain content of its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geoseg.product.report.format import count, day, hectares, listed, long_day, percent, shorten

Content = Mapping[str, Any]


def summary(content: Content) -> list[str]:
    """At most three sentences of plain language, with the main numbers."""
    sentences = (_extent(content), _largest(content), _accuracy(content))
    return [sentence for sentence in sentences if sentence]


def _extent(content: Content) -> str:
    areas = content.get("areas") or []
    if not areas:
        return ""
    size = sum(row["hectares"] for row in areas) if known_areas(areas) else None
    pixels = count(sum(row["pixels"] for row in areas))
    what = f"{pixels} pixels" if size is None else f"{hectares(size)} hectares"
    classes = f"one of {len(areas)} classes" if len(areas) > 1 else "the same class"
    return f"This map gives each place in {what} {classes}{_season(content)}."


def _season(content: Content) -> str:
    inputs = content.get("inputs") or []
    if not inputs:
        return ""
    images = f", from {len(inputs)} image{'' if len(inputs) == 1 else 's'}"
    days = sorted(found for item in inputs if (found := day(item.get("date"))))
    if not days:
        return images
    if days[0] == days[-1]:
        return f"{images} of {long_day(days[0])}"
    return f"{images} taken between {long_day(days[0])} and {long_day(days[-1])}"


def _largest(content: Content) -> str:
    rows = [row for row in content.get("areas") or [] if row["pixels"]]
    rows = sorted(rows, key=lambda row: -float(row["share"]))[:3]
    if not rows:
        return ""
    named = [
        f"{shorten(row['name'])} ({percent(row['share'])}"
        + (f", {hectares(row['hectares'])} ha)" if row.get("hectares") is not None else ")")
        for row in rows
    ]
    verb = "The largest classes are" if len(rows) > 1 else "All of it is"
    return f"{verb} {listed(named)}."


def _accuracy(content: Content) -> str:
    scores = test_scores(content)
    sure = (content.get("confidence") or {}).get("mean")
    own = "" if sure is None else f"the network's own confidence is {sure:.0f} % on average"
    if scores:
        right = f"On {count(scores['pixels'])} pixels whose labels training never saw, "
        return (
            right
            + f"{percent(scores['overall_accuracy'])} have the right class{own and '; ' + own}."
        )
    if not content.get("areas"):
        return ""
    return f"How often it is right has not been measured{own and '; ' + own + ', which is no accuracy'}."


def test_scores(content: Content) -> Mapping[str, Any] | None:
    """Scores on pixels that training never saw; None where there are none."""
    scores = (content.get("scores") or {}).get("test_scores") or {}
    has_scores = scores.get("pixels") and scores.get("overall_accuracy") is not None
    return scores if has_scores else None


def known_areas(areas: list[Mapping[str, Any]]) -> bool:
    """Whether areas are known, not only counts of pixels."""
    return all(row.get("hectares") is not None for row in areas)
