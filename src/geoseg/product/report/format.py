"""Numbers, dates and names as the report writes them: the same in HTML and in Markdown."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from typing import Any

NONE = "–"
"""Stands where there is no figure."""


def count(value: float | None) -> str:
    """Whole, with commas between the thousands."""
    return NONE if value is None else f"{value:,.0f}"


def percent(value: float | None, digits: int = 1) -> str:
    """Of a share, 0 to 1."""
    return NONE if value is None else f"{100 * value:.{digits}f} %"


def part(value: float | None, digits: int = 2) -> str:
    """Percent; what is neither nothing nor all never looks so."""
    if value is not None and 0 < value < 1:
        least = 10.0 ** -(digits + 2)
        value = min(max(value, least), 1 - least)
    return percent(value, digits)


def hectares(value: float | None) -> str:
    """Three to four figures that mean something."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


def seconds(value: float | None) -> str:
    """Seconds, minutes or hours."""
    if value is None:
        return NONE
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return (
        f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
    )


def pretty(value: Any) -> str:
    """JSON to read."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def moment(text: str | None) -> str:
    """An ISO time to the minute; any other text as it is."""
    try:
        found = dt.datetime.fromisoformat(text or "")
    except ValueError:
        return text or ""
    return f"{found:%Y-%m-%d %H:%M %Z}".strip()


def day(text: str | None) -> dt.date | None:
    """The date of an ISO text; None for any other."""
    try:
        return dt.date.fromisoformat((text or "")[:10])
    except ValueError:
        return None


def long_day(date: dt.date) -> str:
    """``5 March 2025``."""
    return f"{date.day} {date:%B %Y}"


def place(lon: float | None, lat: float | None) -> str:
    """Degrees with their hemispheres; nothing where they are not known."""
    if lon is None or lat is None:
        return ""
    return f"{abs(lat):.4f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.4f}° {'E' if lon >= 0 else 'W'}"


def shorten(text: str, most: int = 40) -> str:
    """At most ``most`` letters, for names within sentences."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def words(key: str) -> str:
    """A JSON key as words: ``mean_iou`` becomes ``mean iou``."""
    return key.replace("_", " ")


def listed(items: list[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def signed(value: float | None, digits: int = 1) -> str:
    """Percent of a share with its sign; a true minus, as wide as the plus."""
    if value is None:
        return NONE
    number = round(100 * value, digits) + 0.0
    return f"{number:+.{digits}f} %".replace("-", "−") if number else percent(0, digits)


def unbroken(text: str) -> str:
    """Numbers stay on one line with their units."""
    return re.sub(r"(?<=\d) (?=%|ha\b|hectares|pixels|days)", "\u00a0", text)


def markdown(text: Any) -> str:
    """Text that Markdown shows as it is, in a cell of a table too."""
    plain = " ".join(str(text).split())
    return re.sub(r"([\\`*_\[\]<>|#~$&])", r"\\\1", plain)


FILTERS = {
    "count": count,
    "percent": percent,
    "part": part,
    "hectares": hectares,
    "seconds": seconds,
    "pretty": pretty,
    "shorten": shorten,
    "place": place,
    "signed": signed,
    "unbroken": unbroken,
    "md": markdown,
}
"""As templates know them."""


_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
"""Letters that LaTeX writes by name; the others that mean something get a backslash."""


def citation(content: Mapping[str, Any]) -> dict[str, str]:
    """``text`` and ``bibtex`` of a report's content (see ``report.write_report``).

    Who publishes a map is not on record: both leave the author to whoever cites.
    """
    title = " ".join((content.get("title") or content["name"]).split())
    season = _season(content)
    made = f"Made with geoseg {content.get('geoseg') or ''}".strip()
    run = (content.get("run") or {}).get("fingerprint")
    note = f"{made}, run {run[:16]}" if run else made
    created = day(content.get("created"))
    year = str(created.year) if created else ""
    text = f"{title}. Crop-type map{f' from images of {season}' if season else ''}"
    entry = {
        "title": f"{{{_latex(title)}}}",
        "year": year,
        "howpublished": f"Crop-type map{f', images of {season}' if season else ''}",
        "note": _latex(note),
    }
    lines = [f"  {key:<12} = {{{value}}}" for key, value in entry.items() if value]
    key = re.sub(r"[^A-Za-z0-9]+", "-", f"{content['name']}-{year}").strip("-")
    return {
        "text": f"{text}. {note}{f', {year}' if year else ''}.",
        "bibtex": f"@misc{{{key},\n" + ",\n".join(lines) + "\n}",
    }


def _season(content: Mapping[str, Any]) -> str:
    """First and last date of the images."""
    dates = sorted(item["date"] for item in content.get("inputs") or [] if item.get("date"))
    return "" if not dates else dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"


def _latex(text: str) -> str:
    return re.sub(r"[\\~^&%$#_{}]", lambda m: _LATEX.get(m[0], "\\" + m[0]), text)
