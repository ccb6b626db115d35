"""Half a page of Markdown that says whether a map is sound: for the page of its flow run.

Works on the plain content of a report (see ``report.write_report``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from geoseg.product.report.format import count, hectares, markdown, part, percent

Content = Mapping[str, Any]


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
