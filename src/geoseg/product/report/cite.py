"""How to cite a map: as text and as BibTeX, with what identifies the run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from geoseg.product.report.format import day

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
