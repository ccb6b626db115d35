"""What is off with a map, plainly: warnings and notes that stand before all figures.

Works on the plain content of a report (see ``report.write_report``); what that lacks is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from geoseg.product.report.format import (
    count,
    day,
    hectares,
    listed,
    long_day,
    markdown,
    part,
    percent,
    shorten,
)

CHANCE = 0.05
"""A seam score that fewer places of the lattice than this reach is no accident."""

LOW_AREA = 0.1
"""Share of the area with low confidence from which on it is worth a warning."""

WEAK = 0.7
"""User's or producer's accuracy below which a class is named as weak."""

AGREEMENT = 0.999
"""Share of classes as in fp32 that bf16 should reach: the default of ``predict.agreement``."""

CLOUDED = 0.05
"""A date with less than this clear tells next to nothing."""

GAP = 45
"""Days between two images from which on a crop's growth may be missed, where it is also much longer
than usual in the season."""

DRIFT = 0.01
"""Difference between the areas of polygons and raster that is worth a word."""

Content = Mapping[str, Any]


Finding = tuple[str, str, str]
"""Level, what it is about, and the text."""


def findings(content: Content) -> list[dict[str, str]]:
    """What is off: ``level`` (``warning`` or ``note``), ``about`` and ``text``; warnings first."""
    sources: list[Callable[[Content], Iterator[Finding]]]
    sources = [_released, _gates, _completeness, _seam, _validation, _weak, _confidence, _precision]
    sources += [_labels, _clouds, _gaps, _place, _vectors]
    found = [
        {"level": level, "about": about, "text": text}
        for source in sources
        for level, about, text in source(content)
    ]
    return sorted(found, key=lambda item: item["level"] != "warning")


def _released(content: Content) -> Iterator[Finding]:
    told = content.get("released")
    if told:
        yield (
            "warning",
            "Released",
            f"This map is published though it fails {len(told['gates'])} of its gates "
            f"({', '.join(told['gates'])}): released at {told['at']} by '{told['by']}'.",
        )


def _gates(content: Content) -> Iterator[Finding]:
    for gate in content.get("gates") or []:
        if not gate["passed"]:
            yield "warning", f"Gate: {gate['name']}", f"{gate['why']}."


def _completeness(content: Content) -> Iterator[Finding]:
    whole = (content.get("quality") or {}).get("completeness") or {}
    missing = whole.get("planned", 0) - whole.get("blocks", 0)
    if missing:
        yield "warning", "Missing blocks", f"{missing} of {whole['planned']} blocks were given up."
    if whole.get("holes"):
        yield (
            "warning",
            "Holes",
            f"{count(whole['holes'])} pixels with data have no class; areas leave them out.",
        )


def _seam(content: Content) -> Iterator[Finding]:
    seam = (content.get("quality") or {}).get("seam") or {}
    score, chance = seam.get("score"), seam.get("chance")
    if score is not None and chance is not None and score > 1 and chance < CHANCE:
        yield (
            "warning",
            "Seams",
            f"The class changes {score:.2f} times as often across the borders of patches as elsewhere, "
            f"and only {part(chance, 1)} of all places the borders could have reach that: look for "
            "straight lines in the map, and predict again with a larger margin.",
        )


def _validation(content: Content) -> Iterator[Finding]:
    if content.get("areas") and not test_scores(content):
        yield (
            "warning",
            "No independent validation",
            "No labels were kept apart from training, so nothing here says how often the map is right. "
            "Confidence is the network's own opinion.",
        )
    elif (test_scores(content) or {}).get("source") == "test_split":
        yield (
            "note",
            "Validation by held-back labels",
            "The scores come from labels that were kept from training but collected with it: they tell "
            "how the map does where such labels exist, not everywhere.",
        )


def _weak(content: Content) -> Iterator[Finding]:
    weak = []
    for row in (test_scores(content) or {}).get("classes") or []:
        figures = [row.get("precision"), row.get("recall")]
        if row.get("pixels") and any(f is not None and f < WEAK for f in figures):
            weak.append(shorten(row["name"]))
    if weak:
        more = f" and {len(weak) - 6} more" if len(weak) > 6 else ""
        yield (
            "warning",
            "Weak classes",
            f"{', '.join(weak[:6])}{more}: user's or producer's accuracy is below {percent(WEAK, 0)}.",
        )


def _confidence(content: Content) -> Iterator[Finding]:
    confidence = content.get("confidence") or {}
    low = confidence.get("low_share") or 0
    if low > LOW_AREA:
        yield (
            "warning",
            "Low confidence",
            f"{percent(low)} of the area has less than {confidence['threshold']} % confidence.",
        )


def _precision(content: Content) -> Iterator[Finding]:
    plan = content.get("plan") or {}
    same, used = plan.get("agreement"), plan.get("precision")
    if used == "fp32" and same is not None:
        yield (
            "note",
            "Precision",
            f"The short number format (bf16) gave only {part(same)} of the pixels the same class, so "
            "the map was computed in full precision (fp32), which takes longer.",
        )
    elif used == "bf16" and same is not None and same < AGREEMENT:
        yield (
            "warning",
            "Precision",
            f"The map was computed in a short number format (bf16) that gives only {part(same)} of the "
            "pixels the class that full precision gives them.",
        )


def _labels(content: Content) -> Iterator[Finding]:
    labels = content.get("labels") or {}
    for each in labels.get("left_out") or []:
        first = f"row {each['row']}" + (f", {shorten(each['name'])}" if each["name"] else "")
        yield (
            "note",
            "Labels changed" if each["used"] else "Labels left out",
            f"{count(each['rows'])} row(s) of {labels['file']}: {each['reason']} (first {first}).",
        )


def _clouds(content: Content) -> Iterator[Finding]:
    dark = [
        shorten(str(item.get("date") or item["id"]))
        for item in content.get("inputs") or []
        if item.get("clear_share") is not None and item["clear_share"] < CLOUDED
    ]
    if dark:
        more = f" and {len(dark) - 6} more" if len(dark) > 6 else ""
        yield (
            "note",
            "Clouded dates",
            f"Less than {percent(CLOUDED, 0)} of the area is clear on {', '.join(dark[:6])}{more}.",
        )


def _gaps(content: Content) -> Iterator[Finding]:
    days = sorted({found for i in content.get("inputs") or [] if (found := day(i.get("date")))})
    gaps = [(later - first).days for first, later in pairwise(days)]
    if not gaps or max(gaps) <= max(GAP, 1.5 * sorted(gaps)[len(gaps) // 2]):
        return
    at = gaps.index(max(gaps))
    yield (
        "note",
        "Gap in the season",
        f"No image for {max(gaps)} days, from {long_day(days[at])} to {long_day(days[at + 1])}.",
    )


def _place(content: Content) -> Iterator[Finding]:
    if content.get("areas") and not known_areas(content["areas"]):
        yield "note", "No CRS", "The images lie nowhere on Earth, so areas are counted in pixels."


def _vectors(content: Content) -> Iterator[Finding]:
    rows = content.get("vectors") or []
    off = [row for row in rows if abs(row.get("difference_percent") or 0) > 100 * DRIFT]
    if off:
        worst = max(off, key=lambda row: abs(float(row["difference_percent"])))
        yield (
            "note",
            "Polygons",
            f"Simplified polygons differ from the raster by more than {percent(DRIFT, 0)} of the area in "
            f"{len(off)} of {len(rows)} classes, most in {shorten(worst['name'])} "
            f"({worst['difference_percent']:+.2f} %).",
        )


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


def quality_summary(content: Content) -> str:
    """Name, warnings, completeness and seam score, accuracy, areas."""
    parts = [
        f"# {markdown(content.get('title') or content['name'])}",
        " ".join(map(markdown, content.get("summary") or [])),
        "\n".join(_warnings(content)),
        "\n".join(_figures(content)),
        "\n".join(_areas(content)),
    ]
    return "\n\n".join(text for text in parts if text) + "\n"


def _warnings(content: Content) -> Iterator[str]:
    found = [item for item in content.get("findings") or [] if item["level"] == "warning"]
    if not found:
        yield "**No warnings.**"
    for item in found:
        yield f"- **Warning: {item['about']}.** {markdown(item['text'])}"


def _figures(content: Content) -> Iterator[str]:
    quality = content.get("quality") or {}
    whole, seam = quality.get("completeness") or {}, quality.get("seam") or {}
    yield "| | |"
    yield "| :--- | :--- |"
    if whole:
        yield (
            f"| Completeness | {part(whole.get('share'))} of the pixels with data have a class; "
            f"{count(whole['blocks'])} of {count(whole['planned'])} blocks |"
        )
    if seam.get("score") is not None:
        yield f"| Seam score | {seam['score']:.3f} (1: no more changes at patch borders than elsewhere) |"
    test_scores = (content.get("scores") or {}).get("test_scores") or {}
    if test_scores.get("overall_accuracy") is not None:
        yield (
            f"| Overall accuracy | {percent(test_scores['overall_accuracy'])} of "
            f"{count(test_scores['pixels'])} pixels that training never saw |"
        )
    confidence = (content.get("confidence") or {}).get("mean")
    if confidence is not None:
        yield f"| Mean confidence | {confidence:.1f} % |"


def _areas(content: Content) -> Iterator[str]:
    rows = sorted(content.get("areas") or [], key=lambda row: -float(row["share"]))
    if rows:
        yield "| Class | Hectares | Share | Pixels |"
        yield "| :--- | ---: | ---: | ---: |"
    for row in rows:
        yield (
            f"| {markdown(row['name'])} | {hectares(row.get('hectares'))} | "
            f"{percent(row['share'])} | {count(row['pixels'])} |"
        )
